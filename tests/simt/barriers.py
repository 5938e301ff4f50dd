#!/usr/bin/env python3
"""Removes every barrier and every copy wait of the kernels once and expects a kernel test to fail.

barriers.py SOURCE BUILD [--file sample.cuh] [--line N] [--schedules 12] [--jobs 1]

Each mutant is one source line commented out; the .cu files that include it are compiled in front of the built
ones and the tests of those kernels run. A mutant that no test sees fails the run, unless its line says why it
cannot be seen (EQUIVALENT below).
"""
import argparse
import concurrent.futures
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

MEETING = re.compile(r"^\s*(__syncthreads|__syncwarp|dev::copy_wait<\d+>|dev::cluster_\w+"
                     r"|dev::barrier_wait|dev::named_sync|dev::named_arrive|dev::products_wait<\d+>|give_back)\(")
# (file, text of the line) -> why removing it changes nothing that can be observed here.
WGMMA = "attention_prefill_wgmma.cuh"
EQUIVALENT = {
    (WGMMA, "dev::named_sync(kTurnBarrier + own.group, 256);"): "turns of the warpgroups are for speed alone",
    (WGMMA, "dev::named_sync(kOwnBarrier + own.group, 128);"): "the first turn is a meeting of the same threads",
    (WGMMA, "__syncwarp();"): "bytes may come before they are expected; the order spares the counter a negative value",
}


def includes(path, root, seen):
    """The headers of kernels/cuda that `path` includes, at any depth."""
    for name in re.findall(r'#include "(kernels/cuda/[\w.]+)"', path.read_text()):
        if name not in seen:
            seen.add(name)
            includes(root / name, root, seen)
    return seen


def mutants(root, only_file, only_line):
    for path in sorted((root / "kernels/cuda").glob("*.cuh")):
        if only_file and path.name != only_file:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            known = (path.name, line.strip()) in EQUIVALENT
            if MEETING.match(line) and not known and (only_line is None or number == only_line):
                yield path, number


def tests_of(units):
    """The test suites of these kernel files: attention_decode_mma.cu is tested by AttentionDecode."""
    suites = set()
    for unit in units:
        noun = re.sub(r"_(mma|wgmma|gemm|gemv|quant)$", "", unit.stem)
        suites.add("".join(part.capitalize() for part in noun.split("_")) + "*")
    return ":".join(sorted(suites))


class Builder:
    def __init__(self, root, build, schedules):
        self.root, self.build, self.schedules = root, build, schedules
        commands = json.loads((build / "compile_commands.json").read_text())
        self.compile = {Path(c["file"]).name: c for c in commands
                        if c["file"].endswith(".cu") and "simt_kernels.dir" in c.get("output", c["command"])}
        link = subprocess.run(["ninja", "-C", str(build), "-t", "commands", "cuda_kernels_tests"],
                              capture_output=True, text=True, check=True).stdout.splitlines()[-1]
        self.link = link.split("&&")[1].strip()

    def run(self, path, number):
        """Empty when a test failed, else what went unseen."""
        lines = path.read_text().splitlines()
        what = f"{path.name}:{number} {lines[number - 1].strip()}"
        lines[number - 1] = "(void)0;  // " + lines[number - 1]
        units = [u for u in sorted((self.root / "kernels/cuda").glob("*.cu"))
                 if path.relative_to(self.root).as_posix() in includes(u, self.root, set())]
        with tempfile.TemporaryDirectory() as directory:
            mutated = Path(directory) / "kernels/cuda" / path.name
            mutated.parent.mkdir(parents=True)
            mutated.write_text("\n".join(lines) + "\n")
            objects = []
            for unit in units:
                command = shlex.split(self.compile[unit.name]["command"])
                command = command[1:] if "ccache" in command[0] else command
                objects.append(f"{directory}/{unit.stem}.o")
                command[command.index("-o") + 1] = objects[-1]
                command[1:1] = ["-I", directory, "-O1", "-fno-tree-vectorize"]
                subprocess.run([c for c in command if c != "-O3"], cwd=self.compile[unit.name]["directory"],
                               check=True)
            binary = f"{directory}/tests"
            link = shlex.split(self.link)
            link[link.index("-o") + 1] = binary
            link.insert(link.index(binary) + 1, " ".join(objects))
            at = link.index(" ".join(objects))
            link[at:at + 1] = objects
            subprocess.run(link, cwd=self.build, check=True)
            environment = dict(os.environ, VRAMPLAN_SCHEDULES=str(self.schedules))
            done = subprocess.run([binary, "--gtest_brief=1", "--gtest_fail_fast", f"--gtest_filter={tests_of(units)}"],
                                  capture_output=True, text=True, env=environment)
        if done.returncode != 0:
            first = [l for l in done.stdout.splitlines() if "Failure" in l or "kernel " in l or "what():" in l]
            print(f"caught   {what}   ({first[0].strip()[:90] if first else done.returncode})", flush=True)
            return ""
        print(f"UNSEEN   {what}", flush=True)
        return what


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("source", type=Path)
    arguments.add_argument("build", type=Path)
    arguments.add_argument("--file")
    arguments.add_argument("--line", type=int)
    arguments.add_argument("--schedules", type=int, default=4)
    arguments.add_argument("--jobs", type=int, default=1)
    a = arguments.parse_args()
    builder = Builder(a.source.resolve(), a.build.resolve(), a.schedules)
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        all_of_them = list(mutants(a.source.resolve(), a.file, a.line))
        unseen = [w for w in pool.map(lambda m: builder.run(*m), all_of_them) if w]
    print(f"{len(all_of_them)} barriers and waits removed in turn, {len(unseen)} unseen")
    sys.exit(1 if unseen or not all_of_them else 0)


main()
