"""effc explain: the decisions that a model file keeps."""
import hashlib
import json
import re
import shlex
import struct
import unittest

from effc_tools import EXAMPLES, ROOT, SCRATCH, compiled, run


def explain(path, *flags):
    return json.loads(run("explain", path, "--json", *flags).stdout)


MAGIC = b"EFMODEL\x1a"


def fnv(data):
    value = 0xcbf29ce484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001b3 & (1 << 64) - 1
    return value


def with_manifest(source, target, old, new):
    """A model file whose manifest has other words of the same length, with the hashes that it needs (effrt.h)."""
    data = source.read_bytes()
    at = data.index(MAGIC)
    while True:  # eff_model begins with the same word
        size, length, known = struct.unpack_from("<IQQ", data, at + 12)
        if size < 256 and fnv(data[at:at + size - 8]) == struct.unpack_from("<Q", data, at + size - 8)[0]:
            break
        at = data.index(MAGIC, at + 1)
    start = data.index(b'{"')
    while fnv(data[start:start + length]) != known:
        start = data.index(b'{"', start + 1)
    changed = data[start:start + length].replace(old, new)
    data = data[:start] + changed + data[start + length:]
    header = bytearray(data[at:at + size])
    struct.pack_into("<Q", header, 24, fnv(changed))
    struct.pack_into("<Q", header, size - 8, fnv(header[:size - 8]))
    target.write_bytes(data[:at] + bytes(header) + data[at + size:])
    return target


class Explanations(unittest.TestCase):
    def test_every_quantised_weight_has_its_sizes_and_a_reason(self):
        for name in ("llama-tiny", "mamba-tiny", "mamba2-tiny"):
            with self.subTest(name):
                path = compiled(name, "--quant=w4a16")
                report = explain(path)
                weights = {w["name"]: w for w in json.loads(run("inspect", path, "--json").stdout)["weights"]}
                small = [layer for layer in report["layers"] if layer["format"].startswith("int")]
                self.assertGreaterEqual(len(small), 9)
                for layer in small:
                    self.assertEqual(layer["bytes"], weights[layer["name"]]["bytes"])
                    self.assertLess(layer["bytes"], 0.6 * layer["bytes_before"], layer["name"])
                    self.assertEqual(layer["format_before"], "bf16")
                    self.assertTrue(layer["reason"])

    def test_the_file_keeps_what_the_compiler_said(self):
        path = SCRATCH / "said.eff"
        said = json.loads(run("compile", EXAMPLES / "mamba2-tiny.onnx", "-o", path, "--quant", "w8a16", "--json", "-q").stdout)
        kept = explain(path)["decisions"]
        self.assertGreater(len(kept), 20)
        key = lambda d: (d["pass"], d["name"], d["where"], d["kind"], sorted(d["values"].items()))
        self.assertEqual(sorted({json.dumps(key(d)) for d in said["decisions"]}), sorted(json.dumps(key(d)) for d in kept))
        self.assertIn("eff-quantize", {d["pass"] for d in kept})

    def test_decisions_do_not_depend_on_threads(self):
        hashes = set()
        for jobs in (1, 2, 3):
            path = SCRATCH / "jobs.eff"
            run("compile", EXAMPLES / "llama-tiny.onnx", "-o", path, "--quant", "w4a16", "-q", "-j", jobs)
            hashes.add(hashlib.sha256(path.read_bytes()).hexdigest())
        self.assertEqual(len(hashes), 1)

    def test_text(self):
        path = compiled("mamba2-tiny", "--quant=w4a16")
        text = run("explain", path).stdout
        self.assertIn("backbone.layers.0.mixer.in_proj.weight", text)
        self.assertIn("FormatChosen", text)
        self.assertNotIn("BytesBefore=", text)
        short = run("explain", path, "--top", 1).stdout
        self.assertIn("more (--top 0)", short)
        one = run("explain", path, "--pass", "eff-quantize", "--all").stdout
        self.assertIn("BytesBefore=", one)
        self.assertNotIn("plan-memory", one)

    def test_verbose_compilation_prints_them(self):
        result = run("compile", EXAMPLES / "mamba2-tiny.onnx", "-o", SCRATCH / "verbose.eff", "--quant", "w8a16", "-v", "-q")
        self.assertIn("FormatChosen", result.stderr)

    def test_a_file_without_decisions(self):
        path = with_manifest(compiled("mamba2-tiny"), SCRATCH / "old.eff", b'"decisions"', b'"unknown__"')
        report = explain(path)
        self.assertEqual(report["decisions"], [])
        self.assertGreaterEqual(len(report["layers"]), 9)
        self.assertIn("keeps no decisions", run("explain", path).stdout)

    def test_damaged_decisions_are_left_out(self):
        path = with_manifest(compiled("mamba2-tiny"), SCRATCH / "damaged.eff", b'"rows"', b'"sows"')
        self.assertEqual(explain(path)["decisions"], [])

    def test_refusals(self):
        path = compiled("mamba2-tiny")
        for code, *words in ((102, path, "--pass", "no-pass"), (101, SCRATCH / "none.eff"), (601, EXAMPLES / "README.md")):
            result = run("explain", *words, check=False)
            self.assertEqual(result.returncode, 1)
            self.assertIn(f"error EFF{code:04d}: ", result.stderr)

    def test_the_page_has_a_command_that_works(self):
        page = (ROOT / "docs/explain.md").read_text()
        path = compiled("mamba2-tiny", "--quant=w4a16")
        commands = [c for block in re.findall(r"```\n(.*?)```", page, re.S) for c in block.splitlines() if c.startswith("build/")]
        self.assertTrue(commands)
        for command in commands:
            words = [str(path) if w == "mamba2.eff" else w for w in shlex.split(command)]
            self.assertIn("FormatChosen", run(*words[1:]).stdout)


if __name__ == "__main__":
    unittest.main()
