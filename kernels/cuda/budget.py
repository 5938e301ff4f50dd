#!/usr/bin/env python3
"""What every CUDA kernel takes of a multiprocessor, held against kernels/cuda/budget.csv.

budget.py check BUILD_DIR[,BUILD_DIR] BUDGET.csv    spills, local memory or a number that is not the budget's: exit 1
budget.py update BUILD_DIR[,BUILD_DIR] BUDGET.csv   writes the budget; its diff is what a reviewer reads
budget.py self                                      the check fails on planted faults

Reads what `ptxas -v` said when the kernels were compiled (<object>.ptxas). Registers and shared bytes must be
equal when the compiler is that of the budget; another compiler is held to zero spills and zero local memory.
"""
import csv
import re
import subprocess
import sys
from pathlib import Path

FIELDS = ["kernel", "arch", "registers", "shared_bytes", "spill_bytes", "local_bytes"]
DTYPES = ("f32 f16 bf16 f8_e4m3 i8 i32 q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k").split()
HEADER = Path(__file__).resolve().parents[2] / "modelcards/dtype.h"


def dtypes():
    """Names of the enumerators, in their order; those from q8_k on as the header spells them."""
    enumerators = re.findall(r"^  k(\w+),", HEADER.read_text().split("};")[0], re.MULTILINE)
    return DTYPES + enumerators[len(DTYPES):]


def demangle(names):
    text = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    plain, names = [], dtypes()
    for line in text.splitlines():
        line = re.sub(r"^void ", "", line)
        line = re.sub(r"vramplan::cuda::on_device::", "", line)
        line = re.sub(r"\(vramplan::DType\)(\d+)", lambda m: names[int(m[1])], line)
        line = re.sub(r"\((bool|int|unsigned int)\)", "", line)
        plain.append(re.sub(r"\(.*\)$", "", line).replace(", ", ";"))
    return plain


def parse(text):
    """Rows out of one report: (mangled name, arch, registers, shared, spills, local)."""
    entry = None
    for line in text.splitlines():
        if found := re.search(r"Compiling entry function '(\S+)' for '(\S+)'", line):
            entry = [found[1], found[2], None, 0, 0, 0]
        elif found := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            if entry:
                entry[5], entry[4] = int(found[1]), int(found[2]) + int(found[3])
        elif entry and (found := re.search(r"Used (\d+) registers", line)):
            shared = re.search(r"(\d+) bytes smem", line)
            entry[2], entry[3] = int(found[1]), int(shared[1]) if shared else 0
            yield tuple(entry)
            entry = None


def observed(build):
    reports = sorted(path for part in build.split(",") for path in Path(part).rglob("*.cu.o.ptxas"))
    rows = sorted({row for path in reports for row in parse(path.read_text(errors="replace"))})
    names = demangle([row[0] for row in rows])
    return {(name, row[1]): row[2:] for name, row in zip(names, rows)}


def compiler():
    nvcc = "nvcc" if len(sys.argv) < 5 else sys.argv[4]
    text = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(r"V([\d.]+)", text)[1]


def compare(rows, budget, same_compiler):
    """Findings in words. Architectures without a budget are held to no spills and no local memory."""
    for key, (registers, shared, spill, local) in rows.items():
        if spill or local:
            yield f"{key[0]} {key[1]}: {spill} bytes spilled, {local} bytes of local memory"
        if not same_compiler or not any(k[1] == key[1] for k in budget):
            continue
        if key not in budget:
            yield f"{key[0]} {key[1]}: not in the budget"
        elif budget[key][:2] != (registers, shared):
            yield f"{key[0]} {key[1]}: {registers} registers, {shared} shared bytes; the budget says {budget[key][:2]}"
    if same_compiler:
        built = {key[1] for key in rows}
        for key in budget:
            if key[1] in built and key not in rows:
                yield f"{key[0]} {key[1]}: in the budget, not built"


def read_budget(path):
    lines = Path(path).read_text().splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    budget = {(r["kernel"], r["arch"]): tuple(int(r[f]) for f in FIELDS[2:]) for r in rows}
    return lines[0].split()[-1], budget


def self_check():
    report = ("ptxas info    : Compiling entry function '_Z1av' for 'sm_90a'\n"
              "    8 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads\n"
              "ptxas info    : Used 40 registers, used 1 barriers, 1056 bytes smem\n")
    assert list(parse(report)) == [("_Z1av", "sm_90a", 40, 1056, 8, 8)]
    good = {("a", "sm_90a"): (40, 0, 0, 0)}
    assert not list(compare(good, good, True))
    assert list(compare({("a", "sm_90a"): (40, 0, 4, 0)}, good, False)), "a spill went unseen"
    assert list(compare({("a", "sm_90a"): (41, 0, 0, 0)}, good, True)), "a register went unseen"
    assert list(compare({("b", "sm_90a"): (1, 0, 0, 0)}, good, True)), "a new kernel went unseen"
    assert not list(compare({("a", "sm_90a"): (41, 0, 0, 0)}, good, False))
    print("budget: every planted fault was seen")


def main():
    if sys.argv[1] == "self":
        return self_check()
    rows = observed(sys.argv[2])
    if not rows:
        sys.exit("no report of ptxas in the build: build vramplan_cuda first")
    if sys.argv[1] == "update":
        with open(sys.argv[3], "w") as file:
            file.write(f"# What kernels take of a multiprocessor, by ptxas of nvcc {compiler()}\n")
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(FIELDS)
            writer.writerows([*key, *value] for key, value in sorted(rows.items()))
        return
    version, budget = read_budget(sys.argv[3])
    findings = list(compare(rows, budget, version == compiler()))
    print("\n".join(findings) or f"{len(rows)} kernels inside their budget")
    sys.exit(1 if findings else 0)


main()
