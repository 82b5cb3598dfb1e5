#!/usr/bin/env python3
"""Writes docs/errors.md from include/effc/Support/ErrorCodes.def; with --check says whether the page is up to date
and whether every code that the sources use is listed."""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TITLES = {1: "Files and command line", 2: "Reading ONNX", 3: "Raising", 4: "Compression", 5: "Code generation",
          6: "Model files and running them", 7: "Text",
          8: "Exporting"}
ENTRY = re.compile(r'^EFF_ERROR\((\w+), (\d+), "([^"]*)", "([^"]*)"\)$', re.M)


def entries():
    text = (ROOT / "include/effc/Support/ErrorCodes.def").read_text()
    return [(int(number), name, meaning, hint) for name, number, meaning, hint in ENTRY.findall(text)]


def page():
    lines = ["# Errors", "", "```", "effc compile no-such-file.onnx", "```", "",
             "Every error says what, where, why and what to try, under a code that never changes. Exit status 1 means the",
             "input or the command line, 2 a fault of effc itself. Written by `utils/error-docs.py`.", ""]
    group = None
    for number, name, meaning, hint in entries():
        if number // 100 != group:
            group = number // 100
            lines += ["", f"## {TITLES[group]}", "", "| code | name | meaning | what to try |", "|---|---|---|---|"]
        lines.append(f"| EFF{number:04d} | {name} | {meaning} | {hint} |")
    return "\n".join(lines) + "\n"


def used_codes():
    files = subprocess.run(["git", "ls-files", "lib", "runtime", "tools", "include", "python"], cwd=ROOT,
                           capture_output=True, text=True, check=True).stdout.split()
    for name in files:
        if name.endswith((".cpp", ".h", ".py", ".c")):
            for code in re.findall(r'EFF(0\d{3})\b', (ROOT / name).read_text(errors="replace")):
                yield int(code), name


def main():
    target = ROOT / "docs/errors.md"
    if "--check" not in sys.argv[1:]:
        target.write_text(page())
        return 0
    problems = []
    numbers = [number for number, *_ in entries()]
    if numbers != sorted(set(numbers)):
        problems.append("ErrorCodes.def: numbers repeat or are out of order")
    if not target.exists() or target.read_text() != page():
        problems.append("docs/errors.md is out of date: run utils/error-docs.py")
    for code, name in sorted(set(used_codes())):
        # EFF0123 is the example that the texts use.
        if code != 123 and code not in numbers:
            problems.append(f"{name}: EFF{code:04d} is not in ErrorCodes.def")
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
