#!/usr/bin/env python3
"""The house rules that a compiler does not hold. One check a sub-command, each with a planted fault.

house_rules.py ROOT includes   arrows of #include "folder/..." run one way
house_rules.py ROOT mirror     tests/<folder>/x_test.cc stands for <folder>/x.cc or x.h
house_rules.py ROOT lengths    files and lines stay short enough to read
house_rules.py ROOT libraries  third-party headers stay in the rooms that own them
house_rules.py ROOT words      no machine path in the tree
house_rules.py ROOT format     clang-format 14 would change nothing (clean, and said, where it is not installed)
house_rules.py ROOT self       every check above fails on a planted fault
"""
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDERS = {
    "modelcards": set(),
    "planner": {"modelcards"},
    "kernels": {"modelcards"},
    "executor": {"modelcards", "planner", "kernels"},
    "reports": {"modelcards", "planner", "executor"},
    "cli": {"modelcards", "planner", "kernels", "executor", "reports"},
}
# kernels see only these of modelcards; the executor sees only these of the planner.
NARROW = {
    ("kernels", "modelcards"): {"units.h", "dtype.h", "error.h"},
    ("executor", "planner"): {"decisions.h", "kv_mix.h", "weight_mix.h", "ledger.h", "latency.h"},
    ("reports", "executor"): {"measurement.h", "trace.h"},
}
# The dry clock alone may ask the latency model; calibrate builds the same operations to fit it.
LATENCY_USERS = re.compile(r"executor/(backend_dry|dry_|calibrate)")
LIBRARIES = {
    r"yaml-cpp/": r"^modelcards/yaml\.cc$",
    r"nlohmann/": r"^(modelcards/.*json.*|reports/.*|cli/.*)$",
    r"CLI/": r"^cli/",
    r"Eigen/": r"^kernels/cpu/",
    r"pcre2": r"^executor/",
}
SOURCES = ("*.h", "*.cc", "*.cu", "*.cuh")


def sources(root, folders):
    for folder in folders:
        for pattern in SOURCES:
            yield from sorted((root / folder).rglob(pattern))


def includes(root):
    for path in sources(root, FOLDERS):
        name = path.relative_to(root).as_posix()
        folder = name.split("/")[0]
        own = name.removesuffix(".cc") + ".h"
        first = re.search(r"^#include\s*[<\"](.+?)[>\"]", path.read_text(), re.MULTILINE)
        if name.endswith(".cc") and (root / own).exists() and (not first or first[1] != own):
            yield f"{name}: its first include is its own header, which so compiles alone"
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = re.match(r'\s*#include "(\w+)/([\w./]+)"', line)
            if not found or found[1] not in FOLDERS:
                continue
            other, header = found[1], found[2]
            if other != folder and other not in FOLDERS[folder]:
                yield f"{name}:{number}: {folder} may not include {other}"
            narrow = NARROW.get((folder, other))
            if narrow is not None and header not in narrow:
                yield f"{name}:{number}: {folder} sees only {sorted(narrow)} of {other}, not {header}"
            if (folder, other, header) == ("executor", "planner", "latency.h") and not LATENCY_USERS.match(name):
                yield f"{name}:{number}: the executor sees no prediction; only the dry clock asks the latency model"


def mirror(root):
    for path in sorted((root / "tests").rglob("*_test.cc")):
        relative = path.relative_to(root / "tests")
        if relative.parts[0] not in FOLDERS:
            continue
        noun = relative.as_posix()[: -len("_test.cc")]
        if not any((root / (noun + end)).exists() for end in (".cc", ".h", ".cu", ".cuh")) and not list(
            (root / noun).parent.glob(Path(noun).name + "*.cc")
        ):
            yield f"tests/{relative}: there is no {noun}.cc or .h"


LONGEST_FILE, LONGEST_LINE = 400, 100
LONGEST_FUNCTION = {"tests": 100, "bench": 100}  # tables of cases; elsewhere 60


def lengths(root):
    for path in sources(root, list(FOLDERS) + ["tests", "bench"]):
        lines = path.read_text().splitlines()
        name = path.relative_to(root).as_posix()
        longest = LONGEST_FUNCTION.get(name.split("/")[0], 60)
        if len(lines) > LONGEST_FILE:
            yield f"{name}: {len(lines)} lines, the limit is {LONGEST_FILE}"
        opened = None  # the first line of a function's body
        for number, line in enumerate(lines, 1):
            if len(line) > LONGEST_LINE:
                yield f"{name}:{number}: {len(line)} columns, the limit is {LONGEST_LINE}"
            if line.endswith(") {") or line.endswith(") const {") or line.endswith(") noexcept {"):
                opened = number + 1 if opened is None else opened
            if line == "}":
                if opened is not None and number - opened > longest:
                    yield f"{name}:{opened}: a function of {number - opened} lines, the limit is {longest}"
                opened = None
            if line == "};":
                opened = None


def libraries(root):
    for path in sources(root, FOLDERS):
        name = path.relative_to(root).as_posix()
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for header, allowed in LIBRARIES.items():
                if re.match(r"\s*#include <" + header, line) and not re.match(allowed, name):
                    yield f"{name}:{number}: {header} belongs to {allowed}"


def words(root):
    banned = re.compile(r"(?<![\w.])/(work|opt/ref|root)/")
    for folder in list(FOLDERS) + ["tests", "bench", "scripts", "cmake"]:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in {".h", ".cc", ".py", ".sh", ".md", ".cmake", ".txt", ".yaml", ".json"}:
                continue
            if path.name == "house_rules.py":
                continue
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                if banned.search(line):
                    yield f"{path.relative_to(root)}:{number}: a path of one machine"


def formatter():
    """clang-format 14; other versions break lines elsewhere."""
    for name in ("clang-format-14", "clang-format"):
        if shutil.which(name) and "version 14" in subprocess.run([name, "--version"], capture_output=True, text=True).stdout:
            return name
    return None


def format_(root):
    program = formatter()
    if program is None:
        print("format: not checked, clang-format 14 is not installed")
        return
    files = [str(path) for path in sources(root, list(FOLDERS) + ["tests", "bench"])]
    style = Path(__file__).resolve().parents[2] / ".clang-format"
    done = subprocess.run([program, f"--style=file:{style}", "--dry-run", *files], capture_output=True, text=True)
    for line in done.stderr.splitlines():
        if "warning:" in line or "error:" in line:
            yield line.replace(str(root) + "/", "")


CHECKS = {"format": format_, "includes": includes, "mirror": mirror, "lengths": lengths, "libraries": libraries, "words": words}
PLANTED = {
    "format": ("planner/bad.cc", "int  x ;\n"),
    "includes": ("planner/bad.cc", '#include "executor/engine.h"\n'),
    "includes of its own header": ("planner/twin.cc", "#include <vector>\n"),
    "mirror": ("tests/planner/ghost_test.cc", "\n"),
    "lengths": ("planner/long.cc", "\n" * 401),
    "lengths of lines": ("planner/wide.cc", "// " + "x" * 98 + "\n"),
    "lengths of functions": ("planner/long.cc", "void f() {\n" + "  g();\n" * 61 + "}\n"),
    "libraries": ("planner/bad.cc", "#include <yaml-cpp/yaml.h>\n"),
    "words": ("planner/bad.cc", '"/' + 'work/x"\n'),
}


def planted_faults():
    for name, (file, text) in PLANTED.items():
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory)
            (root / file).parent.mkdir(parents=True)
            (root / file).write_text(text)
            if "twin" in file:
                (root / file).with_suffix(".h").touch()
            if name == "format" and formatter() is None:
                continue
            if not list(CHECKS[name.split()[0]](root)):
                yield f"{name}: a planted fault in {file} went unseen"


def main():
    root, check = Path(sys.argv[1]), sys.argv[2]
    findings = list(planted_faults() if check == "self" else CHECKS[check](root))
    print("\n".join(findings) or f"{check}: clean")
    sys.exit(1 if findings else 0)


main()
