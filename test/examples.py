#!/usr/bin/env python3
"""Runs the examples in TableGen descriptions: examples.py EFFC-OPT [--frame FILE.mlir]... FILE.td...

An example is a ```mlir block under *Example* of an op, or "Example: `...`" of a type or attribute. Each must
parse, verify and survive a round trip. A block is put into a module, into a function, or into one of the frames, at
the line EXAMPLE; the first that takes it counts. Values that an example uses but does not define become arguments of
the function (the parser's own complaint about a value says which type it has), or what a frame's line
"DEFINE: $name = ..." makes ($index counts them).
"""

import re
import subprocess
import sys

DEFINITION = re.compile(r"^def (\w+) : .*?(?=^def |^class |\Z)", re.M | re.S)
BLOCK = re.compile(r"\*Example\*\s*```mlir\n(.*?)```", re.S)
INLINE = re.compile(r"(?:^ *Example: |\*Example\* )`([^`]*)`", re.M)
DEFINED = re.compile(r"^\s*((?:%[\w:]+(?:, )?)+) = |(%\w+): \w+", re.M)
SYMBOL_USE = re.compile(r"eff\.use @([\w.]+) : (!eff\.(\w+)<.*>)")
SYMBOL_DEF = re.compile(r"^ *\w+\.\w+ @([\w.]+)", re.M)
WRONG_TYPE = re.compile(r"use of value '(%\w+)' expects different type than prior uses: '(.*)' vs '")
MODULE = "EXAMPLE\n"
FUNCTION = "func.func @example(ARGUMENTS) {\nEXAMPLE\nreturn\n}\n"


def run(command, text):
    done = subprocess.run([*command, "-"], input=text, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def fill(frame, example, types):
    """The frame with the example in it; `types` are those of the values that become arguments."""
    defined = {name.split(":")[0] for a, b in DEFINED.findall(example) for name in (a or b).split(", ")}
    free = [name for name in dict.fromkeys(re.findall(r"%\w+", example)) if name not in defined]
    declared = set(SYMBOL_DEF.findall(example + frame))
    symbols = [f"eff.{kind} @{name} : {type}\n" for name, type, kind in SYMBOL_USE.findall(example) if name not in declared]
    text = frame.replace("ARGUMENTS", ", ".join(f"{name}: {types.get(name, 'none')}" for name in free))
    line = re.search(r"^ *DEFINE: (.*)\n", text, re.M)
    if line:
        given = set(re.findall(r"%\w+", frame.replace(line.group(0), "")))
        made = [line.group(1).replace("$name", name).replace("$index", str(index))
                for index, name in enumerate(name for name in free if name not in given)]
        text = text.replace(line.group(0), "".join(f"{one}\n" for one in made))
    return "".join(symbols) + text.replace("EXAMPLE", example)


def accept(opt, frame, example):
    """The printed module, the errors and the text, after finding the types of arguments."""
    types = {}
    while True:
        text = fill(frame, example, types)
        code, printed, errors = run([opt], text)
        missing = WRONG_TYPE.search(errors)
        if code == 0 or not missing or missing.group(1) in types:
            return (printed if code == 0 else None), errors, text
        types[missing.group(1)] = missing.group(2)


def check(opt, name, frames, example):
    """Whether one of the frames takes the example and the module prints the same after a round trip."""
    complaints = ""
    for frame in frames:
        printed, errors, text = accept(opt, frame, example)
        if printed is None:
            complaints += f"--- in\n{text}{errors}"
            continue
        code, again, errors = run([opt], printed)
        if code != 0 or again != printed:
            print(f"FAIL {name}: no round trip\n{printed}---\n{again}{errors}")
            return False
        print(f"PASS {name}")
        return True
    print(f"FAIL {name}: not accepted\n{complaints}")
    return False


def main():
    opt, arguments = sys.argv[1], sys.argv[2:]
    frames, files = [MODULE, FUNCTION], []
    while arguments:
        argument = arguments.pop(0)
        if argument == "--frame":
            with open(arguments.pop(0)) as file:
                frames.append(re.sub(r"^ *//.*\n", "", file.read(), flags=re.M))
        else:
            files.append(argument)
    failed = passed = 0
    for path in files:
        with open(path) as file:
            text = file.read()
        for definition in DEFINITION.finditer(text):
            name, body = definition.group(1), definition.group(0)
            blocks = BLOCK.findall(body)
            inline = [f"func.func private @example() attributes {{value = {example}}}\n" for example in INLINE.findall(body)]
            if name.endswith("Op") and "assemblyFormat" in body and not blocks:
                print(f"FAIL {name}: has no example")
                failed += 1
            for example in blocks + inline:
                ok = check(opt, name, frames, example)
                passed, failed = passed + ok, failed + (not ok)
    print(f"{passed} examples passed, {failed} failed")
    sys.exit(failed > 0 or passed == 0)


if __name__ == "__main__":
    main()
