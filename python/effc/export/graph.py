"""Builds the ONNX graph. Weights are only described here; their data is streamed by the writer."""

import json
import re
from typing import Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import onnx
from onnx import TensorProto, helper

from .weights import Init, Weight, ZEROS

ONNX_TYPE = {"F32": TensorProto.FLOAT, "BF16": TensorProto.BFLOAT16, "F16": TensorProto.FLOAT16}
Dim = Union[int, str]


def scope_of(tensor: str) -> str:
    """The node scope of a tensor or module: `model.layers.0.mlp` is `/model/layers.0/mlp`."""
    return "/" + re.sub(r"\.(?!\d)", "/", tensor)


class GraphBuilder:
    """A graph under construction. Values are named after the node that makes them, nodes after the module they
    come from (`/model/layers.0/self_attn/q_proj/MatMul`), initializers after the checkpoint tensor."""

    def __init__(self, name: str, source, opset: int):
        self.name, self.source, self.opset = name, source, opset
        self.nodes: List[onnx.NodeProto] = []
        self.inputs: List[onnx.ValueInfoProto] = []
        self.outputs: List[onnx.ValueInfoProto] = []
        self.functions: List[onnx.FunctionProto] = []
        self.weights: Dict[str, Weight] = {}
        self.constants: Dict[str, onnx.TensorProto] = {}
        self._float: Dict[str, str] = {}

    # ---- values ------------------------------------------------------------------------------------------

    def input(self, name: str, dtype: int, shape: Sequence[Dim]) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))
        return name

    def output(self, name: str, dtype: int, shape: Sequence[Dim]) -> None:
        self.outputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))

    def logits(self, shape: Sequence[Dim]) -> None:
        """Declares the value `logits` as the first output, before the states."""
        self.outputs.insert(0, helper.make_tensor_value_info("logits", TensorProto.FLOAT, list(shape)))

    def constant(self, value, dtype) -> str:
        """An initializer inside the model file; equal constants are one."""
        array = np.asarray(value, dtype)
        text = json.dumps(array.tolist(), separators=(",", ":"))
        name = f"const/{array.dtype}{text}" if array.ndim else f"const/{array.dtype}({text})"
        return self.table(name, array) if name not in self.constants else name

    def table(self, name: str, array: np.ndarray) -> str:
        """A computed initializer under a name of its own."""
        onnx_type = helper.mapping.NP_TYPE_TO_TENSOR_TYPE[array.dtype]
        self.constants[name] = helper.make_tensor(name, onnx_type, array.shape, array.tobytes(), raw=True)
        return name

    def ints(self, *values: int) -> str:
        return self.constant(list(values), np.int64)

    def scalar(self, value: float) -> str:
        return self.constant(value, np.float32)

    def weight(self, name: str, shape: Sequence[int], init: Init, recurrent: bool = False) -> str:
        """An initializer that holds the tensor `name` of the checkpoint unchanged."""
        if name not in self.weights:
            self.weights[name] = self.source.weight(name, tuple(shape), init, recurrent)
        return name

    def weight_f32(self, name: str, shape: Sequence[int], init: Init, recurrent: bool = False) -> str:
        """The same in float32, through a Cast where the checkpoint has another type."""
        self.weight(name, shape, init, recurrent)
        if self.weights[name].dtype == "F32":
            return name
        if name not in self._float:
            self._float[name] = self.node("Cast", [name], scope_of(name), to=TensorProto.FLOAT)
        return self._float[name]

    # ---- nodes -------------------------------------------------------------------------------------------

    def node(self, op: str, inputs: Sequence[str], scope: str, outputs: Optional[Sequence[str]] = None,
             domain: str = "", suffix: str = "", **attributes):
        """Appends a node named `scope/op`; returns its output, or all of them where `outputs` names several."""
        name = f"{scope}/{op}{suffix}"
        if outputs is None:
            outputs = [f"{name}_output_0"]
        self.nodes.append(helper.make_node(op, list(inputs), list(outputs), name=name, domain=domain, **attributes))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def linear(self, x: str, tensor: str, n: int, k: int, init: Init, bias: bool = False,
               bias_init: Init = ZEROS, output: Optional[str] = None, scope: Optional[str] = None) -> str:
        """x Wᵀ + b with the checkpoint's W [n, k]; `output` names the result where it leaves the graph."""
        scope = scope or scope_of(tensor)
        weight = self.weight_f32(f"{tensor}.weight", (n, k), init)
        columns = self.node("Transpose", [weight], scope, perm=[1, 0])
        product = self.node("MatMul", [x, columns], scope, outputs=[output] if output and not bias else None)
        if not bias:
            return product
        addend = self.weight_f32(f"{tensor}.bias", (n,), bias_init)
        return self.node("Add", [product, addend], scope, outputs=[output] if output else None)

    def embedding(self, ids: str, tensor: str, rows: int, width: int, init: Init) -> str:
        """Gathers rows in the type that is stored and widens only those."""
        scope = scope_of(tensor)
        table = self.weight(f"{tensor}.weight", (rows, width), init)
        gathered = self.node("Gather", [table, ids], scope, axis=0)
        if self.weights[table].dtype == "F32":
            return gathered
        return self.node("Cast", [gathered], scope, to=TensorProto.FLOAT)

    def silu(self, x: str, scope: str) -> str:
        return self.node("Mul", [x, self.node("Sigmoid", [x], scope)], scope)

    def split(self, x: str, sizes: Sequence[int], scope: str, axis: int = -1) -> Tuple[str, ...]:
        outputs = [f"{scope}/Split_output_{i}" for i in range(len(sizes))]
        return self.node("Split", [x, self.ints(*sizes)], scope, outputs=outputs, axis=axis)

    # ---- the whole ---------------------------------------------------------------------------------------

    def model(self, initializers: Sequence[onnx.TensorProto], metadata: Dict[str, str]) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs,
                                  [*initializers, *self.constants.values()])
        imports = [helper.make_opsetid("", self.opset)]
        domains = sorted({f.domain for f in self.functions})
        imports += [helper.make_opsetid(domain, 1) for domain in domains]
        model = helper.make_model(graph, opset_imports=imports, functions=self.functions, producer_name="effc.export")
        # IR 8 is the first with functions; opset 23 wants IR 10.
        model.ir_version = 8 if self.opset <= 18 else 10
        helper.set_model_props(model, metadata)
        return model
