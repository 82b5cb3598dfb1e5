#!/usr/bin/env python3
"""Runs the examples in the descriptions of passes: pass_examples.py EFFC-OPT Passes.td...

An example is a ```mlir block under "Before:" and one under "After:" or "After `options`:". When the first is a whole
function (with the weights that it uses), the pass must turn it into the second; both are compared as effc-opt prints
them. Other examples abbreviate and are not run. Files that options name are looked for in the working directory."""

import re
import sys

from examples import run

PASS = re.compile(r'^def \w+ : Pass<"([\w-]+)".*?(?=^def |^class |\Z)', re.M | re.S)
PAIR = re.compile(r"Before:\s*```mlir\n(.*?)```\s*After(?: `([^`]*)`)?[^\n]*:\s*```mlir\n(.*?)```", re.S)


def check(opt, flag, before, options, after):
    """What is wrong with an example; empty when the pass does what it says."""
    code, expected, errors = run([opt], after)
    if code != 0:
        return f"the second block is not accepted\n{errors}"
    code, printed, errors = run([opt, f"--{flag}={options}" if options else f"--{flag}"], before)
    if code != 0:
        return f"the pass fails\n{errors}"
    return "" if printed == expected else f"the pass gives\n{printed}---\n{expected}"


def main():
    opt, files = sys.argv[1], sys.argv[2:]
    failed = passed = 0
    for path in files:
        with open(path) as file:
            text = file.read()
        for definition in PASS.finditer(text):
            for before, options, after in PAIR.findall(definition.group(0)):
                if "func.func" not in before:
                    continue
                wrong = check(opt, definition.group(1), before, options, after)
                print(f"FAIL {definition.group(1)}: {wrong}" if wrong else f"PASS {definition.group(1)}")
                passed, failed = passed + (not wrong), failed + bool(wrong)
    print(f"{passed} examples passed, {failed} failed")
    sys.exit(failed > 0 or passed == 0)


if __name__ == "__main__":
    main()
