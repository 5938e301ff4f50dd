#!/usr/bin/env python3
"""Runs kernel tests under many schedules and counts, kernel by kernel, under how many each ran.

schedules.py PROGRAM --schedules 1000 [--filter SUITE.Case*:...] [--every-instance]

Fails when a test fails or when a kernel that is compiled into the program ran under fewer. Kernels are counted by
name; how many of a template's instances (formats, group sizes, head dimensions) ran that often stands beside it.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict

KERNEL = re.compile(r"([0-9a-f]+) [tTwW] (?:void )?.*?::(\w+_kernel)(<.*>)?\(")


def kernels(program):
    """Address in the program -> (name of the kernel, arguments of its template), one entry an instance."""
    table = subprocess.run(["nm", "-C", "--defined-only", program], capture_output=True, text=True, check=True).stdout
    found = (KERNEL.match(line) for line in table.splitlines() if "{lambda" not in line and "launch" not in line)
    return {int(m.group(1), 16): (m.group(2), m.group(3) or "") for m in found if m}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--filter", default="*")
    parser.add_argument("--every-instance", action="store_true", help="fail when an instance of a template never ran")
    options = parser.parse_args()
    names = kernels(options.program)
    if not names:
        sys.exit(f"{options.program} has no symbols of kernels: was it stripped?")
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "launches")
        status = subprocess.run(
            [options.program, "--gtest_filter=" + options.filter, "--gtest_brief=1"],
            env=dict(os.environ, VRAMPLAN_SCHEDULES=str(options.schedules), VRAMPLAN_LAUNCHES=log)).returncode
        ran = dict((int(a, 16), int(n)) for a, n in (line.split() for line in open(log)))
    instances, enough = defaultdict(int), defaultdict(list)
    for address, (name, _) in names.items():
        instances[name] += 1
        enough[name].append(ran.get(address, 0))
    missed = [name for name in instances if max(enough[name]) < options.schedules]
    for name in sorted(instances):
        full = sum(n >= options.schedules for n in enough[name])
        print(f"{name:34} {max(enough[name]):6} schedules, {full} of {instances[name]} instances"
              + ("   TOO FEW" if name in missed else ""))
    total = sum(n >= options.schedules for many in enough.values() for n in many)
    print(f"{len(instances)} kernels, {len(missed)} under fewer than {options.schedules} schedules; "
          f"{total} of {len(names)} instances ran under all")
    unseen = [name + arguments for address, (name, arguments) in sorted(names.items()) if address not in ran]
    if options.every_instance and unseen:
        print(f"{len(unseen)} instances never ran:", *unseen, sep="\n  ")
    sys.exit(status or bool(missed) or (options.every_instance and bool(unseen)))


if __name__ == "__main__":
    main()
