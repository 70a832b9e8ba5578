from pathlib import Path

import onnx


def test_graph_is_valid_and_takes_any_number_of_texts(minilm_dir: Path) -> None:
    model = onnx.load(minilm_dir / "model.onnx")
    onnx.checker.check_model(model)
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    axes = ["texts", "tokens"]
    assert shapes == {"ids": axes, "mask": axes, "sentence_embedding": ["texts", 384]}
