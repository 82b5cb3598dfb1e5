"""One module for each architecture; `FAMILIES` maps Hugging Face's `model_type` to its builder."""

from . import llama, mamba, mamba2, vit, vmamba
from .common import Family

FAMILIES = {
    "llama": Family(llama.build_llama, opset=23),
    "qwen2": Family(llama.build_qwen2, opset=23),
    "mamba": Family(mamba.build, opset=18),
    "mamba2": Family(mamba2.build, opset=18),
    "vit": Family(vit.build, opset=23),
    "vmamba": Family(vmamba.build, opset=18, layers=vmamba.layer_count),
}

__all__ = ["FAMILIES", "Family"]
