"""Configuration of the lit tests."""

import os
import shutil
import sys

import lit.formats

config.name = "effc"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.effc_obj_root, "test")

path = [os.path.join(config.effc_obj_root, "bin"), config.llvm_tools_dir, config.environment.get("PATH", "")]
config.environment["PATH"] = os.pathsep.join(path)
config.environment["PYTHONPATH"] = os.path.join(config.effc_src_root, "python")
config.environment["PYTHONDONTWRITEBYTECODE"] = "1"

# Data that is not in the repository; tests that need it say REQUIRES: test-data.
test_data = os.environ.get("EFFC_TEST_DATA") or config.effc_test_data
config.environment["EFFC_TEST_DATA"] = test_data
if os.path.isdir(test_data):
    config.available_features.add("test-data")

config.substitutions += [
    ("%python", f'"{sys.executable}"'),
    ("%source_root", config.effc_src_root),
    ("%mlir_include", config.mlir_include),
    ("%test_data", test_data),
]

# What the processor can do: avx512f, avx512_vnni, avx512_bf16, amx_tile, ... as the kernel names them.
if os.path.exists("/proc/cpuinfo"):
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("flags"):
                config.available_features.update(line.split(":", 1)[1].split())
                break

# Tools that are built; a tool that is not makes its tests UNSUPPORTED.
for tool in ["effc", "effc-opt", "effc-lsp-server", "effc-reduce"]:
    if shutil.which(tool, path=config.environment["PATH"]):
        config.available_features.add(tool)
