#!/usr/bin/env python3
"""Runs the examples in TableGen descriptions: examples.py EFFC-OPT FILE.td...

An example is a ```mlir block under *Example* of an op, or a line "Example: `...`" of a type or attribute. Each must
parse, verify and survive a round trip. Values and symbols that an example uses but does not define are supplied: the
parser's own complaint about a value's type says which type it has.
"""

import re
import subprocess
import sys

OP = re.compile(r"^def (\w+) : .*?(?=^def |^class |\Z)", re.M | re.S)
BLOCK = re.compile(r"\*Example\*\s*```mlir\n(.*?)```", re.S)
INLINE = re.compile(r"^ *Example: `(.*)`$", re.M)
DEFINED = re.compile(r"^\s*((?:%[\w:]+(?:, )?)+) = |(%\w+) ?: \w+(?=[,)])", re.M)
SYMBOL_USE = re.compile(r"eff\.use @([\w.]+) : (!eff\.(\w+)<.*>)")
SYMBOL_DEF = re.compile(r"^ *\w+\.\w+ @([\w.]+)", re.M)
WRONG_TYPE = re.compile(r"use of value '(%\w+)' expects different type than prior uses: '(.*)' vs '")


def run(opt, text):
    done = subprocess.run([opt, "-"], input=text, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def wrap_op(example, types):
    """A module in which the example can stand; `types` are those of the values it does not define."""
    defined = {name.split(":")[0] for a, b in DEFINED.findall(example) for name in (a or b).split(", ")}
    used = list(dict.fromkeys(re.findall(r"%\w+", example)))
    free = [name for name in used if name not in defined]
    declared = set(SYMBOL_DEF.findall(example))
    module = [f"  eff.{kind} @{name} : {type}" for name, type, kind in SYMBOL_USE.findall(example) if name not in declared]
    if SYMBOL_DEF.search(example) and not free:
        return "module {\n" + "\n".join(module) + example + "}\n"
    if "yield" in example and "epilogue" not in example:
        module.append("  func.func @example(%x: tensor<1x1x8xf32>, %w: !eff.weight<8x8, f32>) {\n"
                      "    %y = eff.linear %x, %w epilogue {\n    ^bb0(%s: f32):\n" + example +
                      "    } : tensor<1x1x8xf32>, !eff.weight<8x8, f32> -> tensor<1x1x8xf32>\n    return\n  }")
    else:
        arguments = ", ".join(f"{name}: {types.get(name, 'none')}" for name in free)
        module.append(f"  func.func @example({arguments}) {{\n{example}    return\n  }}")
    return "module {\n" + "\n".join(module) + "\n}\n"


def check(opt, name, make):
    """Runs `make(types)` until no type is missing; true if it is accepted and prints the same after a round trip."""
    types = {}
    while True:
        text = make(types)
        code, printed, errors = run(opt, text)
        missing = WRONG_TYPE.search(errors)
        if code == 0 or not missing or missing.group(1) in types:
            break
        types[missing.group(1)] = missing.group(2)
    if code != 0:
        print(f"FAIL {name}: not accepted\n{text}{errors}")
        return False
    code, again, errors = run(opt, printed)
    if code != 0 or again != printed:
        print(f"FAIL {name}: no round trip\n{printed}---\n{again}{errors}")
        return False
    print(f"PASS {name}")
    return True


def main():
    opt, files = sys.argv[1], sys.argv[2:]
    failed = passed = 0
    for path in files:
        with open(path) as file:
            text = file.read()
        for definition in OP.finditer(text):
            name, body = definition.group(1), definition.group(0)
            makers = [lambda types, e=e: wrap_op(e, types) for e in BLOCK.findall(body)]
            for example in INLINE.findall(body):
                attribute = f"func.func private @example() attributes {{value = {example}}}\n"
                makers.append(lambda types, a=attribute: a)
            if re.search(r"_(\w*Op)\b", name) and "assemblyFormat" in body and not makers:
                print(f"FAIL {name}: has no example")
                failed += 1
            for make in makers:
                ok = check(opt, name, make)
                passed, failed = passed + ok, failed + (not ok)
    print(f"{passed} examples passed, {failed} failed")
    sys.exit(failed > 0 or passed == 0)


if __name__ == "__main__":
    main()
