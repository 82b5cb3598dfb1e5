"""Every input that cannot be exported: exit status 1, one clear text with a code, nothing written."""

import json
import os
import re
import resource
import struct
import unittest
import unittest.mock

from checkpoints import CONFIGS, ROOT, TOKENIZER, random_tensors, write_checkpoint
from exporting import ExportTest

from effc.export.errors import CODES


class Refusals(ExportTest):
    def checkpoint(self, kind="llama", layout="single", drop=(), tensors=None, **changes):
        config = {k: v for k, v in dict(CONFIGS[kind], **changes).items() if k not in drop}
        self.count = getattr(self, "count", 0) + 1
        tensors = tensors or random_tensors(CONFIGS[kind])
        return write_checkpoint(self.dir / f"{kind}{self.count}", config, tensors, layout)

    # ---- the checkpoint as a whole

    def test_no_such_directory(self):
        self.assert_refused("EFF0101", self.dir / "absent", says=("no such directory",))

    def test_no_config(self):
        ckpt = self.checkpoint()
        (ckpt / "config.json").unlink()
        self.assert_refused("EFF0801", ckpt, says=("config.json",))

    def test_no_safetensors_names_what_is_there(self):
        ckpt = self.checkpoint()
        (ckpt / "model.safetensors").rename(ckpt / "pytorch_model.bin")
        self.assert_refused("EFF0801", ckpt, says=("pytorch_model.bin", "safe_serialization"))

    def test_missing_shard(self):
        for layout in ("index", "of"):
            ckpt = self.checkpoint(layout=layout)
            (ckpt / "model-00002-of-00003.safetensors").unlink()
            self.assert_refused("EFF0806", ckpt, says=("model-00002-of-00003.safetensors",))
        ckpt = self.checkpoint(layout="dotted")
        (ckpt / f"{ckpt.name}.1.safetensors").unlink()
        self.assert_refused("EFF0806", ckpt, says=(f"{ckpt.name}.1.safetensors",))

    def test_index_outside_the_directory(self):
        ckpt = self.checkpoint(layout="index")
        index = {"weight_map": {"model.norm.weight": "../model.safetensors"}}
        (ckpt / "model.safetensors.index.json").write_text(json.dumps(index))
        self.assert_refused("EFF0802", ckpt, says=("outside",))

    def test_tensor_twice(self):
        ckpt = self.checkpoint(layout="of")
        (ckpt / "model-00002-of-00003.safetensors").write_bytes(
            (ckpt / "model-00001-of-00003.safetensors").read_bytes())
        self.assert_refused("EFF0807", ckpt, says=("exists twice",))

    # ---- configuration

    def test_missing_key_is_named(self):
        required = {"llama": ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                              "num_attention_heads", "rms_norm_eps"],
                    "mamba": ["vocab_size", "hidden_size", "state_size", "num_hidden_layers"],
                    "mamba2": ["num_heads", "head_dim", "state_size"], "vit": ["image_size", "patch_size"]}
        for kind, keys in required.items():
            for key in [*keys, "model_type"]:
                with self.subTest(kind=kind, key=key):
                    self.assert_refused("EFF0802", self.checkpoint(kind, drop=(key,)), says=(f"'{key}'", "config.json"))

    def test_wrong_values(self):
        for kind, changes, says in (
                ("llama", {"hidden_size": "24"}, "hidden_size"),
                ("llama", {"num_hidden_layers": 0}, "num_hidden_layers"),
                ("llama", {"hidden_size": True}, "hidden_size"), ("llama", {"rms_norm_eps": -1.0}, "rms_norm_eps"),
                ("llama", {"num_key_value_heads": 4}, "multiple"), ("llama", {"head_dim": 7}, "odd"),
                ("mamba2", {"num_heads": 5}, "head_dim"), ("mamba2", {"n_groups": 3}, "n_groups"),
                ("mamba2", {"norm_group_size": 7}, "norm_group_size"), ("mamba", {"use_bias": 1}, "use_bias"),
                ("vit", {"patch_size": 3}, "patch_size")):
            with self.subTest(kind=kind, changes=changes):
                self.assert_refused("EFF0802", self.checkpoint(kind, **changes), says=(says,))

    def test_config_is_not_json(self):
        ckpt = self.checkpoint()
        for text in (b"{", b"[1]", b"\xff\xfe", b"[" * 100000):
            (ckpt / "config.json").write_bytes(text)
            self.assert_refused("EFF0802", ckpt, says=("config.json",))

    def test_unknown_model_type(self):
        self.assert_refused("EFF0803", self.checkpoint(model_type="gpt_neo"), says=("gpt_neo", "llama", "mamba2"))
        self.assert_refused("EFF0803", self.checkpoint(model_type="lama"), says=("is 'llama' meant?",))

    def test_unsupported_options(self):
        for kind, changes in (("llama", {"hidden_act": "relu"}), ("mamba", {"hidden_act": "gelu"}),
                              ("llama", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}),
                              ("llama", {"partial_rotary_factor": 0.5}),
                              ("qwen2", {"use_sliding_window": True, "max_window_layers": 1}),
                              ("vit", {"hidden_act": "silu"}), ("mamba2", {"time_step_limit": [1.0, 0.0]})):
            with self.subTest(kind=kind, changes=changes):
                self.assert_refused("EFF0804", self.checkpoint(kind, **changes))

    # ---- weights

    def test_missing_tensor(self):
        tensors = random_tensors(CONFIGS["llama"])
        del tensors["model.layers.1.mlp.up_proj.weight"]
        self.assert_refused("EFF0806", self.checkpoint(tensors=tensors), says=("model.layers.1.mlp.up_proj.weight",))

    def test_wrong_shape(self):
        self.assert_refused("EFF0807", self.checkpoint(intermediate_size=41),
                            says=("mlp.gate_proj.weight", "[40, 24]", "[41, 24]"))

    def test_unused_tensors(self):
        tensors = dict(random_tensors(CONFIGS["llama"]))
        tensors["model.layers.0.self_attn.q_norm.weight"] = ("F32", (8,), bytes(32))
        ckpt = self.checkpoint(tensors=tensors)
        self.assert_refused("EFF0809", ckpt, says=("q_norm", "--ignore-extra"))
        self.export(ckpt, "--ignore-extra")

    def test_rotary_tables_of_old_checkpoints_are_no_surprise(self):
        tensors = dict(random_tensors(CONFIGS["llama"]))
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = ("F32", (4,), bytes(16))
        self.export(self.checkpoint(tensors=tensors))

    def test_unsupported_element_type(self):
        for dtype, width in (("I8", 1), ("F8_E4M3", 1), ("F64", 8)):
            tensors = random_tensors(CONFIGS["llama"])
            tensors["model.norm.weight"] = (dtype, (24,), bytes(24 * width))
            self.assert_refused("EFF0808", self.checkpoint(tensors=tensors), says=("model.norm.weight", dtype))

    def test_unknown_element_type(self):
        tensors = random_tensors(CONFIGS["llama"])
        tensors["model.norm.weight"] = ("F7", (24,), bytes(24))
        self.assert_refused("EFF0808", self.checkpoint(tensors=tensors), says=("F7",))

    def test_truncated_anywhere(self):
        ckpt = self.checkpoint("mamba")
        file = ckpt / "model.safetensors"
        whole = file.read_bytes()
        header = 8 + struct.unpack("<Q", whole[:8])[0]
        for size in (0, 5, 8, header - 1, header, header + 100, len(whole) - 1):
            with self.subTest(size=size):
                file.write_bytes(whole[:size])
                self.assert_refused("EFF0805", ckpt, says=("model.safetensors",))
        file.write_bytes(whole + b"x")
        self.assert_refused("EFF0805", ckpt)

    def test_damaged_header(self):
        ckpt = self.checkpoint("mamba")
        file = ckpt / "model.safetensors"

        def header(value) -> bytes:
            text = value if isinstance(value, bytes) else json.dumps(value).encode()
            return struct.pack("<Q", len(text)) + text

        entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
        for data in (header(b"{") + bytes(8), header([]), header({"a": []}) + bytes(8),
                     header({"a": dict(entry, shape=[-2])}) + bytes(8),
                     header({"a": dict(entry, shape="x")}) + bytes(8),
                     header({"a": dict(entry, data_offsets=[8, 0])}) + bytes(8),
                     header({"a": dict(entry, data_offsets=[0])}) + bytes(8),
                     header({"a": dict(entry, data_offsets=[8, 16])}) + bytes(16),
                     header({"a": dict(entry, shape=[2**40, 2**40])}) + bytes(8),
                     header({"a": entry, "b": entry}) + bytes(8), struct.pack("<Q", 2**63) + bytes(8)):
            with self.subTest(data=data[:60]):
                file.write_bytes(data)
                self.assert_refused("EFF0805", ckpt)

    # ---- output and use

    def test_output_in_a_missing_directory(self):
        self.assert_refused("EFF0103", self.checkpoint(), output="no/such/m.onnx", says=("does not exist",))

    def test_output_is_a_directory(self):
        ckpt = self.checkpoint()
        (self.dir / "d.onnx").mkdir()
        status, _, err = self.run_command(ckpt, "-o", self.dir / "d.onnx")
        self.assertEqual((status, err[:14]), (1, "error EFF0103:"))
        self.assertEqual(list((self.dir / "d.onnx").iterdir()), [])

    def test_failure_while_writing_leaves_nothing(self):
        """The weight file shrinks after its header was read: the data written so far disappears."""
        from effc.export import ExportError, export
        ckpt = self.checkpoint("mamba")
        file = ckpt / "model.safetensors"

        def shrink(tensors, done, total):
            os.truncate(file, 2000)

        with self.assertRaises(ExportError) as caught:
            export(str(ckpt), str(self.out / "m.onnx"), progress=shrink)
        self.assertEqual(caught.exception.code, "EFF0805")
        self.assertEqual(list(self.out.iterdir()), [])

    def test_full_disk(self):
        """Too little room is seen before anything is written; a write that fails all the same leaves nothing."""
        ckpt = self.checkpoint()
        with unittest.mock.patch("shutil.disk_usage", return_value=unittest.mock.Mock(free=1000)):
            self.assert_refused("EFF0103", ckpt, says=("No space left", "free some space"))
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        try:
            self.assert_refused("EFF0103", ckpt, says=("File too large",))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    def test_interruption_leaves_nothing(self):
        from effc.export import export

        def interrupt(tensors, done, total):
            raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            export(str(self.checkpoint()), str(self.out / "m.onnx"), progress=interrupt)
        self.assertEqual(list(self.out.iterdir()), [])

    def test_earlier_output_survives_a_failure(self):
        path = self.export(self.checkpoint())
        before = path.read_bytes(), (self.out / "m.onnx.data").read_bytes()
        status, _, _ = self.run_command(self.checkpoint(hidden_act="relu"), "-o", path)
        self.assertEqual(status, 1)
        self.assertEqual(before, (path.read_bytes(), (self.out / "m.onnx.data").read_bytes()))

    def test_tokenizer(self):
        ckpt = self.checkpoint()
        self.assert_refused("EFF0101", ckpt, "--tokenizer", self.dir / "absent.json")
        self.assert_refused("EFF0701", ckpt, "--tokenizer", self.write_json("x.json", {"a": 1}))
        large = dict(TOKENIZER, added_tokens=[{"id": 37, "content": "x"}])
        self.assert_refused("EFF0701", ckpt, "--tokenizer", self.write_json("l.json", large), says=("37",))

    def test_wrong_use(self):
        ckpt = self.checkpoint()
        for arguments in ((), (ckpt, "--random", "x.json"), (ckpt, "--dtype", "int3"), (ckpt, "--seed", "x"),
                          (ckpt, "extra")):
            self.assert_refused("EFF0102", *arguments)
        self.assert_refused("EFF0102", ckpt, "--inlin", says=("try: --inline",))
        self.assert_refused("EFF0102", ckpt, output="m.bin", says=(".onnx",))
        status, _, err = self.run_command(ckpt)
        self.assertEqual((status, err.splitlines()[0]), (1, "error EFF0102: no output given"))


class Codes(unittest.TestCase):
    def test_codes_are_those_of_the_project(self):
        text = (ROOT / "include/effc/Support/ErrorCodes.def").read_text()
        known = {f"EFF{int(n):04d}": name for name, n in re.findall(r"^EFF_ERROR\((\w+), (\d+),", text, re.M)}
        self.assertEqual(CODES, {code: known.get(code) for code in CODES})


if __name__ == "__main__":
    unittest.main()
