"""effc bench: its figures and their shares of the roofline."""
import json
import unittest

from effc_tools import compiled, run


class Bench(unittest.TestCase):
    def lines(self, *flags):
        out = run("bench", compiled("llama-tiny", *flags), "-p", "16", "-n", "4", "-r", 1, "--json").stdout
        return {line["test"]: line for line in map(json.loads, out.splitlines())}

    def test_operations_on_bytes_have_a_roof_of_their_own(self):
        for format, least in (("w8a8-dynamic", 0.8), ("w8a16", 0), ("bf16", 0)):
            for name, line in self.lines(f"--quant={format}").items():
                with self.subTest(format=format, test=name):
                    integers, all_ = line["integer_ops_per_second"], line["flops_per_second"]
                    self.assertGreater(all_, 0)
                    self.assertLessEqual(integers, all_)
                    # Linears do most of the arithmetic of a model.
                    self.assertGreaterEqual(integers / all_, least)
                    self.assertEqual(integers > 0, least > 0)
                    share = (all_ - integers) / line["roof_flops_per_second"] + integers / line["roof_integer_ops_per_second"]
                    self.assertAlmostEqual(line["share_of_flops"], share, delta=1e-6 * share)

    def test_fields_of_llama_bench(self):
        line = self.lines("--quant=bf16")["tg4"]
        for field in ("n_prompt", "n_gen", "n_depth", "n_threads", "avg_ns", "samples_ns", "avg_ts", "stddev_ts", "samples_ts",
                      "model_size", "model_n_params", "cpu_info", "test_time"):
            self.assertIn(field, line)
        self.assertEqual((line["n_prompt"], line["n_gen"], len(line["samples_ns"])), (0, 4, 1))


if __name__ == "__main__":
    unittest.main()
