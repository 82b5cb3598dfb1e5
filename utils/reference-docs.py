#!/usr/bin/env python3
"""Writes docs/reference from the TableGen descriptions of dialects and passes; with --check says which pages are not up
to date. reference-docs.py [--check] MLIR-TBLGEN MLIR-INCLUDE-DIRECTORY"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs/reference"
# A page starts with a command that shows what it is about.
DIALECTS = {
    "onnx": ("ONNX/OnnxOps.td", "effc compile model.onnx --stop-after=onnx"),
    "eff": ("Eff/EffOps.td", "effc compile model.onnx --stop-after=eff"),
    "plan": ("Plan/PlanOps.td", "effc compile model.onnx --stop-after=plan"),
}
NOTE = "Written by `utils/reference-docs.py` from `{}`; do not edit.\n"


def tblgen(tool, include, generator, path, *options):
    command = [tool, generator, *options, f"-I{ROOT / 'include'}", f"-I{include}", str(path)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    text = re.sub(r"^<!--.*?-->\n+", "", text)
    text = text.replace("[TOC]\n\n", "")
    # The C++ class behind a name is not what a reader of IR looks for.
    text = re.sub(r"^(### `[\w.]+`) \(::.*\)$", r"\1", text, flags=re.M)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in text.split("\n"))).strip() + "\n"


def pages(tool, include):
    """Yields the name and text of each page."""
    for name, (source, command) in DIALECTS.items():
        path = ROOT / "include/effc/Dialect" / source
        text = tblgen(tool, include, "-gen-dialect-doc", path, f"-dialect={name}")
        title, rest = text.split("\n", 1)
        source = path.relative_to(ROOT).parent
        yield f"{name}.md", f"{title}\n\n```\n{command}\n```\n\n{NOTE.format(source)}{rest}"
    text = "# Passes\n\n```\neffc-opt --help | grep eff-\n```\n\n" + NOTE.format("include/effc/**/Passes.td")
    for path in sorted((ROOT / "include/effc").glob("**/Passes.td")):
        folder = path.parent.relative_to(ROOT / "include/effc")
        body = tblgen(tool, include, "-gen-pass-doc", path)
        text += f"\n## {folder}\n\n{body}"
    yield "passes.md", text


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--check"]
    if len(arguments) != 2:
        print(__doc__)
        return 2
    check = "--check" in sys.argv[1:]
    stale = []
    for name, text in pages(*arguments):
        page = TARGET / name
        if page.exists() and page.read_text() == text:
            continue
        stale.append(name)
        if not check:
            TARGET.mkdir(parents=True, exist_ok=True)
            page.write_text(text)
    for name in stale:
        print(f"docs/reference/{name} is not up to date: ./x docs" if check else f"wrote docs/reference/{name}")
    if check and not stale:
        print("all pages are up to date")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
