"""The ONNX graph of all-MiniLM-L6-v2 around the plain weights; needed where it is built, not where it runs."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ragline.common.config import ConfigError

__all__ = ["GraphBuilder", "convert"]

_OPSET = 20
"""First operator set with Gelu as one operator."""

_IR_VERSION = 10
"""File format of ONNX 1.16; every onnxruntime since 1.18 reads it."""

_MASKED = -1e4
"""Added to the attention scores of padding: exp() of it is 0 in float32, and no sum of it overflows."""

_Weights = Mapping[str, npt.NDArray[Any]]


def convert(source: Path) -> tuple[bytes, bytes]:
    """The model and the tokenizer as files.

    Parameters
    ----------
    source
        Folder with the weights, their configuration and the tokenizer.

    Raises
    ------
    ConfigError
        Something in it is missing or damaged.
    """
    try:
        config = json.loads((source / "config.json").read_bytes())
        model = _MiniLM.of(load_file(source / "model.safetensors"), config).model()
        return model.SerializeToString(), (source / "tokenizer.json").read_bytes()
    except (FileNotFoundError, KeyError, SafetensorError, ValueError) as error:
        msg = f"The weights in {source} are damaged: {error}"
        raise ConfigError(msg) from error


class GraphBuilder:
    """Collects the nodes and weights of an ONNX graph; every method returns the name of a tensor.

    Parameters
    ----------
    weights
        Tensors by name; a weight enters the graph when it is first used.
    epsilon
        Added to the variance by `layer_norm`.
    """

    def __init__(self, weights: _Weights, *, epsilon: float) -> None:
        self._weights = weights
        self._epsilon = epsilon
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}

    def build(
        self, name: str, *, inputs: Mapping[str, list[str]], output: str, shape: list[str | int]
    ) -> onnx.ModelProto:
        """The finished model.

        Parameters
        ----------
        inputs
            Names of the dimensions of each int64 input.
        output
            Name of the tensor that is the float32 result.
        """
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info(key, TensorProto.INT64, dims) for key, dims in inputs.items()],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
            list(self._initializers.values()),
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)

    def constant(self, value: npt.NDArray[Any], name: str = "") -> str:
        """A fixed tensor."""
        name = name or f"constant_{len(self._initializers)}"
        if name not in self._initializers:
            self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def indices(self, *values: int) -> str:
        """A fixed list of int64, as shapes and axes are given."""
        return self.constant(np.array(values, np.int64), "indices_" + "_".join(map(str, values)))

    def layer_norm(self, tensor: str, prefix: str) -> str:
        """Layer normalisation over the last axis."""
        gain, bias = self.weight(f"{prefix}.weight"), self.weight(f"{prefix}.bias")
        return self.op("LayerNormalization", tensor, gain, bias, epsilon=self._epsilon, axis=-1)

    def linear(self, tensor: str, prefix: str) -> str:
        """A dense layer; PyTorch keeps its matrix transposed."""
        matrix = self.constant(self._weights[f"{prefix}.weight"].T, f"{prefix}.weight.transposed")
        return self.op("Add", self.op("MatMul", tensor, matrix), self.weight(f"{prefix}.bias"))

    def op(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:  # noqa: ANN401 - what ONNX takes
        """One operator with one result."""
        output = output or f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def scalar(self, value: float) -> str:
        """A fixed float32."""
        return self.constant(np.array(value, np.float32))

    def weight(self, name: str) -> str:
        """A tensor of the model file."""
        return self.constant(self._weights[name], name)


class _MiniLM:
    """Adds the parts of the model to a graph, in the order data flows."""

    def __init__(self, graph: GraphBuilder, *, layers: int, heads: int, hidden: int) -> None:
        self._graph = graph
        self._layers = layers
        self._heads = heads
        self._hidden = hidden

    @classmethod
    def of(cls, weights: _Weights, config: Mapping[str, Any]) -> Self:
        return cls(
            GraphBuilder(weights, epsilon=config["layer_norm_eps"]),
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            hidden=config["hidden_size"],
        )

    def model(self) -> onnx.ModelProto:
        graph = self._graph
        present = graph.op("Cast", "mask", to=TensorProto.FLOAT)
        bias = self._attention_bias(present)
        tokens = self._embeddings()
        for layer in range(self._layers):
            prefix = f"encoder.layer.{layer}"
            tokens = self._attention(tokens, bias, f"{prefix}.attention")
            tokens = self._feed_forward(tokens, prefix)
        embedding = self._mean(tokens, present)
        axes = ["texts", "tokens"]
        inputs = {"ids": axes, "mask": axes}
        return graph.build("all-MiniLM-L6-v2", inputs=inputs, output=embedding, shape=["texts", self._hidden])

    def _attention_bias(self, present: str) -> str:
        graph = self._graph
        absent = graph.op("Sub", graph.scalar(1.0), graph.op("Unsqueeze", present, graph.indices(1, 2)))
        return graph.op("Mul", absent, graph.scalar(_MASKED))

    def _embeddings(self) -> str:
        graph = self._graph
        count = graph.op("Shape", "ids", start=1, end=2)
        table = graph.weight("embeddings.position_embeddings.weight")
        positions = graph.op("Slice", table, graph.indices(0), count, graph.indices(0))
        words = graph.op("Gather", graph.weight("embeddings.word_embeddings.weight"), "ids")
        # Every token of a single text has type 0.
        types = graph.op("Gather", graph.weight("embeddings.token_type_embeddings.weight"), graph.indices(0))
        return graph.layer_norm(graph.op("Add", words, graph.op("Add", positions, types)), "embeddings.LayerNorm")

    def _attention(self, tokens: str, bias: str, prefix: str) -> str:
        graph = self._graph
        size = self._hidden // self._heads
        query = self._per_head(tokens, f"{prefix}.self.query", [0, 2, 1, 3])
        key = self._per_head(tokens, f"{prefix}.self.key", [0, 2, 3, 1])
        value = self._per_head(tokens, f"{prefix}.self.value", [0, 2, 1, 3])
        scores = graph.op("Div", graph.op("MatMul", query, key), graph.scalar(math.sqrt(size)))
        shares = graph.op("Softmax", graph.op("Add", scores, bias), axis=-1)
        context = graph.op("Transpose", graph.op("MatMul", shares, value), perm=[0, 2, 1, 3])
        joined = graph.op("Reshape", context, graph.indices(0, 0, self._hidden))
        return self._add_and_norm(joined, tokens, f"{prefix}.output")

    def _per_head(self, tokens: str, prefix: str, order: list[int]) -> str:
        graph = self._graph
        shape = graph.indices(0, 0, self._heads, self._hidden // self._heads)
        return graph.op("Transpose", graph.op("Reshape", graph.linear(tokens, prefix), shape), perm=order)

    def _feed_forward(self, tokens: str, prefix: str) -> str:
        wide = self._graph.op("Gelu", self._graph.linear(tokens, f"{prefix}.intermediate.dense"))
        return self._add_and_norm(wide, tokens, f"{prefix}.output")

    def _add_and_norm(self, tensor: str, residual: str, prefix: str) -> str:
        total = self._graph.op("Add", self._graph.linear(tensor, f"{prefix}.dense"), residual)
        return self._graph.layer_norm(total, f"{prefix}.LayerNorm")

    def _mean(self, tokens: str, present: str) -> str:
        graph = self._graph
        weights = graph.op("Unsqueeze", present, graph.indices(2))
        total = graph.op("ReduceSum", graph.op("Mul", tokens, weights), graph.indices(1), keepdims=0)
        mean = graph.op("Div", total, graph.op("ReduceSum", weights, graph.indices(1), keepdims=0))
        return graph.op("LpNormalization", mean, output="sentence_embedding", axis=1, p=2)
