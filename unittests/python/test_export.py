"""What an exported file holds: weights bit for bit, names, shapes, metadata, side files."""

import json
import os
import unittest

import numpy as np
import onnx

import onnx_eval
from checkpoints import (CONFIGS, DATA, ROOT, TOKENIZER, as_float, bf16_bits, old_vit_name, random_tensors, shapes,
                         write_checkpoint)
from exporting import ExportTest

ONNX_TYPES = {"F32": 1, "F16": 10, "BF16": 16}


def signature(values) -> dict:
    return {v.name: (v.type.tensor_type.elem_type,
                     [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]) for v in values}


class WeightTest(ExportTest):
    def assert_equals_checkpoint(self, path, tensors):
        """Every tensor of the checkpoint is an initializer of the same name, type, shape and bytes."""
        model = onnx.load(str(path), load_external_data=False)
        found = {t.name: t for t in model.graph.initializer}
        for name, (dtype, shape, data) in tensors.items():
            tensor = found.pop(name)
            self.assertEqual(tensor.data_type, ONNX_TYPES[dtype], name)
            self.assertEqual(tuple(tensor.dims), tuple(shape), name)
            self.assertEqual(onnx_eval.tensor_bytes(tensor, str(path.parent)), data, name)
        for name in found:
            self.assertTrue(name.startswith("const/") or name == "model.rotary_emb.inv_freq", name)
        return model


class Weights(WeightTest):
    def test_every_family_and_layout_keeps_every_bit(self):
        layouts = ("single", "index", "of", "dotted")
        for kind, config in CONFIGS.items():
            for layout in layouts:
                with self.subTest(kind=kind, layout=layout):
                    tensors = random_tensors(config)
                    ckpt = write_checkpoint(self.dir / f"{kind}-{layout}", config, tensors, layout)
                    self.assert_equals_checkpoint(self.export(ckpt, name=f"{kind}-{layout}.onnx"), tensors)

    def test_layouts_give_the_same_graph(self):
        config, tensors = CONFIGS["mamba2"], random_tensors(CONFIGS["mamba2"])
        graphs = []
        for layout in ("single", "index"):
            ckpt = write_checkpoint(self.dir / layout / "model", config, tensors, layout)
            path = self.export(ckpt, name="m.onnx")
            graphs.append((path.read_bytes(), (self.out / "m.onnx.data").read_bytes()))
        self.assertEqual(graphs[0], graphs[1])

    def test_offsets_are_aligned_disjoint_and_cover_the_file(self):
        config = CONFIGS["llama"]
        path = self.export(write_checkpoint(self.dir / "c", config, random_tensors(config)))
        spans = []
        for tensor in onnx.load(str(path), load_external_data=False).graph.initializer:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                entry = {e.key: e.value for e in tensor.external_data}
                self.assertEqual(entry["location"], "m.onnx.data")
                spans.append((int(entry["offset"]), int(entry["length"])))
        self.assertEqual(len(spans), len(shapes(config)))
        end = 0
        for offset, length in sorted(spans):
            self.assertEqual(offset % 64, 0)
            self.assertTrue(end <= offset < end + 64)
            end = offset + length
        self.assertEqual(end, os.path.getsize(self.out / "m.onnx.data"))

    def test_inline_has_no_side_file_and_the_same_weights(self):
        config, tensors = CONFIGS["mamba"], random_tensors(CONFIGS["mamba"])
        path = self.export(write_checkpoint(self.dir / "c", config, tensors), "--inline")
        self.assertEqual([p.name for p in self.out.iterdir()], ["m.onnx"])
        self.assert_equals_checkpoint(path, tensors)

    def test_f16_is_kept(self):
        config, tensors = CONFIGS["llama"], random_tensors(CONFIGS["llama"], "F16")
        self.assert_equals_checkpoint(self.export(write_checkpoint(self.dir / "c", config, tensors)), tensors)

    def test_f32_widens_exactly(self):
        config = CONFIGS["mamba2"]
        for stored in ("BF16", "F16"):
            tensors = random_tensors(config, stored)
            path = self.export(write_checkpoint(self.dir / stored, config, tensors), "--dtype", "f32")
            wide = {n: ("F32", t[1], as_float(t).tobytes()) for n, t in tensors.items()}
            model = self.assert_equals_checkpoint(path, wide)
            self.assertNotIn("Cast", [n.op_type for n in model.graph.node])

    def test_bf16_rounds_to_nearest_even_and_leaves_recurrences(self):
        config = CONFIGS["mamba"]
        tensors = random_tensors(config, "F32")
        name = "backbone.layers.0.mixer.in_proj.weight"
        values = as_float(tensors[name]).copy()
        hard = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0xBF808000, 0x7F7FFFFF, 0x7FC00001, 0x7F800001, 0xFF800000,
                         0x00000001, 0x80000000], np.uint32).view(np.float32)
        values.flat[:hard.size] = hard
        tensors[name] = ("F32", tensors[name][1], values.tobytes())
        path = self.export(write_checkpoint(self.dir / "c", config, tensors), "--dtype", "bf16")
        found = {t.name: t for t in onnx.load(str(path), load_external_data=False).graph.initializer}
        for tensor, (_, _, data) in tensors.items():
            if tensor.rsplit(".", 1)[-1] in ("A_log", "D"):
                self.assertEqual(onnx_eval.tensor_bytes(found[tensor], str(self.out)), data, tensor)
                continue
            bits = np.frombuffer(onnx_eval.tensor_bytes(found[tensor], str(self.out)), np.uint16)
            exact = np.frombuffer(data, np.float32)
            plain = np.isfinite(exact) & (np.abs(exact) < 1e38)
            np.testing.assert_array_equal(bits[plain], bf16_bits(exact[plain]), tensor)
        bits = np.frombuffer(onnx_eval.tensor_bytes(found[name], str(self.out)), np.uint16)[:hard.size].tolist()
        self.assertEqual([hex(b) for b in bits[:5] + bits[7:]],
                         ["0x3f80", "0x3f82", "0x3f81", "0xbf80", "0x7f80", "0xff80", "0x0", "0x8000"])
        for nan in bits[5:7]:
            self.assertTrue(nan & 0x7F80 == 0x7F80 and nan & 0x7F, hex(nan))

    def test_tied_head_is_the_embedding_itself(self):
        config = CONFIGS["qwen2"]
        tensors = random_tensors(config)
        model = self.assert_equals_checkpoint(self.export(write_checkpoint(self.dir / "c", config, tensors)), tensors)
        users = [n.op_type for n in model.graph.node if "model.embed_tokens.weight" in n.input]
        self.assertEqual(users, ["Gather", "Cast"])

    def test_head_without_the_config_key_follows_the_checkpoint(self):
        for tied in (True, False):
            config = dict(CONFIGS["mamba"], tie_word_embeddings=tied)
            tensors = random_tensors(config)
            del config["tie_word_embeddings"]
            path = self.export(write_checkpoint(self.dir / str(tied), config, tensors), name=f"{tied}.onnx")
            self.assert_equals_checkpoint(path, tensors)

    def test_tied_checkpoint_may_store_the_head_too(self):
        config = CONFIGS["qwen2"]
        tensors = random_tensors(config)
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
        path = self.export(write_checkpoint(self.dir / "c", config, tensors))
        names = [t.name for t in onnx.load(str(path), load_external_data=False).graph.initializer]
        self.assertNotIn("lm_head.weight", names)

    def test_vit_with_the_names_of_earlier_releases(self):
        config = CONFIGS["vit"]
        tensors = {old_vit_name(n): t for n, t in random_tensors(config).items()}
        tensors["vit.pooler.dense.bias"] = ("F32", (1,), bytes(4))
        path = self.export(write_checkpoint(self.dir / "c", config, tensors))
        del tensors["vit.pooler.dense.bias"]
        self.assert_equals_checkpoint(path, tensors)


class Interface(ExportTest):
    def model(self, kind, **changes):
        config = dict(CONFIGS[kind], **changes)
        path = self.export(write_checkpoint(self.dir / kind, config, random_tensors(config)))
        return onnx.load(str(path), load_external_data=False)

    def test_llama_names_and_shapes(self):
        model = self.model("llama")
        inputs, outputs = {}, {"logits": (1, ["batch", "seq", 37])}
        inputs["input_ids"] = inputs["position_ids"] = (7, ["batch", "seq"])
        for i in range(2):
            for part in ("key", "value"):
                inputs[f"past_key_values.{i}.{part}"] = (1, ["batch", 2, "past", 8])
                outputs[f"present.{i}.{part}"] = (1, ["batch", 2, "past + seq", 8])
        self.assertEqual(signature(model.graph.input), inputs)
        self.assertEqual(signature(model.graph.output), outputs)
        self.assertEqual(model.graph.output[0].name, "logits")
        self.assertEqual([(o.domain, o.version) for o in model.opset_import], [("", 23)])
        ops = {n.op_type for n in model.graph.node}
        self.assertLessEqual({"Attention", "RotaryEmbedding", "RMSNormalization"}, ops)

    def test_qwen2_has_biases_on_q_k_v_only(self):
        model = self.model("qwen2")
        adds = [n.name for n in model.graph.node if n.op_type == "Add" and "layers.0/self_attn" in n.name]
        self.assertEqual(adds, [f"/model/layers.0/self_attn/{p}_proj/Add" for p in "qkv"])

    def test_mamba_names_and_shapes(self):
        for kind, conv, ssm in (("mamba", 24, [24, 5]), ("mamba2", 24 + 2 * 2 * 6, [4, 6, 6])):
            with self.subTest(kind=kind):
                model = self.model(kind)
                inputs, outputs = signature(model.graph.input), signature(model.graph.output)
                self.assertEqual(inputs.pop("input_ids"), (7, ["batch", "seq"]))
                self.assertEqual(outputs.pop("logits"), (1, ["batch", "seq", CONFIGS[kind]["vocab_size"]]))
                states = {f"states.{i}.conv_state": (1, ["batch", conv, 3]) for i in range(2)}
                states.update({f"states.{i}.ssm_state": (1, ["batch", *ssm]) for i in range(2)})
                self.assertEqual(inputs, {f"past_{k}": v for k, v in states.items()})
                self.assertEqual(outputs, {f"present_{k}": v for k, v in states.items()})
                self.assertEqual([(o.domain, o.version) for o in model.opset_import], [("", 18), ("ai.effc", 1)])

    def test_effc_calls_have_bodies_and_all_inputs(self):
        wanted = {"mamba": {"CausalConv1d": 2, "SelectiveScan": 2},
                  "mamba2": {"CausalConv1d": 2, "SSDScan": 2, "GatedRMSNorm": 2}}
        for kind, calls in wanted.items():
            model = self.model(kind)
            bodies = {f.name: f for f in model.functions}
            found = {}
            for node in model.graph.node:
                if node.domain == "ai.effc":
                    found[node.op_type] = found.get(node.op_type, 0) + 1
                    body = bodies[node.op_type]
                    self.assertEqual(len(node.input), len(body.input))
                    self.assertTrue(all(node.input))
                    self.assertEqual({a.name for a in node.attribute}, set(body.attribute))
            self.assertEqual(found, calls)
            self.assertEqual(set(bodies), set(calls))

    def test_vit_names_and_shapes(self):
        model = self.model("vit")
        self.assertEqual(signature(model.graph.input), {"pixel_values": (1, ["batch", 3, 8, 8])})
        self.assertEqual(signature(model.graph.output), {"logits": (1, ["batch", 5])})

    def test_values_are_defined_once_and_before_use(self):
        for kind in CONFIGS:
            model = self.model(kind)
            known = {v.name for v in model.graph.input} | {t.name for t in model.graph.initializer} | {""}
            self.assertEqual(len(known), len(model.graph.input) + len(model.graph.initializer) + 1)
            names = [n.name for n in model.graph.node]
            self.assertEqual(len(names), len(set(names)))
            for node in model.graph.node:
                self.assertLessEqual(set(node.input), known, node.name)
                self.assertFalse(set(node.output) & known, node.name)
                known.update(node.output)
            self.assertLessEqual({v.name for v in model.graph.output}, known)
            used = {i for n in model.graph.node for i in n.input}
            self.assertLessEqual({t.name for t in model.graph.initializer}, used)


class Metadata(ExportTest):
    def test_config_and_length_travel_with_the_model(self):
        config = CONFIGS["llama"]
        ckpt = write_checkpoint(self.dir / "c", config, random_tensors(config))
        (ckpt / "generation_config.json").write_text('{"eos_token_id": [3, 4]}')
        (ckpt / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
        props = {p.key: p.value for p in onnx.load(str(self.export(ckpt))).metadata_props}
        self.assertEqual(json.loads(props["effc.config"]), config)
        self.assertEqual(props["effc.seq_len"], "64")
        self.assertEqual(json.loads(props["effc.generation_config"]), {"eos_token_id": [3, 4]})
        self.assertEqual(props["effc.chat_template"], "{{ messages }}")

    def test_wrapped_config_gives_the_length(self):
        config = CONFIGS["mamba"]
        ckpt = write_checkpoint(self.dir / "c", config, random_tensors(config), "dotted")
        props = {p.key: p.value for p in onnx.load(str(self.export(ckpt))).metadata_props}
        self.assertEqual(json.loads(props["effc.config"]), config)
        self.assertEqual(props["effc.seq_len"], "48")

    def test_infinity_becomes_strict_json(self):
        config = CONFIGS["mamba2"]
        props = {p.key: p.value for p in onnx.load(str(self.export(
            write_checkpoint(self.dir / "c", config, random_tensors(config))))).metadata_props}
        limits = json.loads(props["effc.config"], parse_constant=self.fail)["time_step_limit"]
        self.assertEqual(limits, [0.0, float(np.finfo(np.float32).max)])

    def test_image_normalisation(self):
        config = CONFIGS["vit"]
        ckpt = write_checkpoint(self.dir / "c", config, random_tensors(config))
        (ckpt / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.4, 0.3], "image_std": [1, 2, 3]}')
        props = {p.key: p.value for p in onnx.load(str(self.export(ckpt))).metadata_props}
        self.assertEqual(json.loads(props["effc.image_mean"]), [0.5, 0.4, 0.3])
        self.assertEqual(json.loads(props["effc.image_std"]), [1, 2, 3])

    def test_tokenizer_is_copied(self):
        config = CONFIGS["qwen2"]
        ckpt = write_checkpoint(self.dir / "c", config, random_tensors(config))
        text = json.dumps(TOKENIZER)
        (ckpt / "tokenizer.json").write_text(text)
        self.export(ckpt, name="own.onnx")
        self.assertEqual((self.out / "own.tokenizer.json").read_text(), text)
        other = self.write_json("t.json", dict(TOKENIZER, version="2.0"))
        self.export(ckpt, "--tokenizer", other, name="given.onnx")
        self.assertEqual((self.out / "given.tokenizer.json").read_bytes(), other.read_bytes())


class Command(ExportTest):
    def test_help_teaches(self):
        with self.assertRaises(SystemExit) as end:
            self.run_command("--help")
        self.assertEqual(end.exception.code, 0)

    def test_summary_is_on_stderr_and_quiet_silences_it(self):
        config = CONFIGS["mamba"]
        ckpt = write_checkpoint(self.dir / "c", config, random_tensors(config))
        _, out, err = self.run_command(ckpt, "-o", self.out / "m.onnx")
        self.assertEqual(out, "")
        self.assertIn("2 layers of mamba", err)
        self.assertIn("try:  effc compile", err)
        self.assertEqual(self.run_command(ckpt, "-o", self.out / "m.onnx", "-q"), (0, "", ""))

    def test_all_exports_what_it_can(self):
        root = self.dir / "models"
        for kind in ("mamba", "llama"):
            write_checkpoint(root / kind, CONFIGS[kind], random_tensors(CONFIGS[kind]), "dotted")
        write_checkpoint(root / "odd", {"model_type": "retnet"}, {})
        (root / "notes").mkdir()
        (root / "tokenizer-31.json").write_text(json.dumps(TOKENIZER))
        status, _, err = self.run_command("--all", root, "-o", self.out / "all")
        self.assertEqual(status, 0, err)
        self.assertIn("2 exported, 1 skipped", err)
        self.assertEqual(sorted(p.name for p in (self.out / "all").iterdir()),
                         ["llama.onnx", "llama.onnx.data", "mamba.onnx", "mamba.onnx.data", "mamba.tokenizer.json"])

    def test_the_same_input_gives_the_same_bytes(self):
        config = CONFIGS["vit"]
        ckpt = write_checkpoint(self.dir / "c", config, random_tensors(config))
        first = self.export(ckpt, "--inline", name="a.onnx").read_bytes()
        self.assertEqual(first, self.export(ckpt, "--inline", name="b.onnx").read_bytes())


@unittest.skipUnless((DATA / "models").is_dir(), f"no trained models in {DATA} (EFFC_TEST_DATA)")
class TrainedModels(WeightTest):
    def test_real_checkpoints_keep_every_bit(self):
        from effc.export.checkpoint import open_checkpoint
        for name in ("llama-tiny", "mamba-tiny", "mamba2-tiny", "vit-cifar", "mamba2-16m"):
            with self.subTest(name=name):
                stored = open_checkpoint(str(DATA / "models" / name)).tensors
                tensors = {n: (t.dtype, t.shape, b"".join(t.chunks())) for n, t in stored.items()}
                self.assert_equals_checkpoint(self.export(DATA / "models" / name, name=name + ".onnx"), tensors)

    def test_example_models_are_what_the_exporter_writes(self):
        examples = ROOT / "examples/models"
        for name, vocab in (("llama-tiny", 1024), ("mamba-tiny", 1024), ("mamba2-tiny", 1024), ("mamba2-16m", 8192)):
            inline = () if name == "mamba2-16m" else ("--inline",)
            self.export(DATA / "models" / name, *inline, "--tokenizer", DATA / f"models/tokenizer-{vocab}.json",
                        name=name + ".onnx")
            for file in sorted(self.out.glob(name + ".*")):
                self.assertEqual(file.read_bytes(), (examples / file.name).read_bytes(), file.name)


if __name__ == "__main__":
    unittest.main()
