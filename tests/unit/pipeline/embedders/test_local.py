import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ragline.common.config import ConfigError
from ragline.pipeline.embedders import local
from ragline.pipeline.embedders.local import LocalEmbedder
from ragline.stores.protocols import Vectors

TEXTS = [
    "How long is parental leave?",
    "Each parent receives 26 weeks of leave when a child is born.",
    "The torque of the spindle exceeds 100 per cent.",
    "",
    "a\ud800b",
    "word " * 1000,
]


def embed_all(embedder: LocalEmbedder, texts: list[str]) -> Vectors:
    batches = list(embedder.stream(texts))
    starts = [batch.start for batch in batches]
    assert starts == list(np.cumsum([0, *(len(batch.vectors) for batch in batches)])[:-1]), "slices without a gap"
    return np.vstack([batch.vectors for batch in batches])


def test_vectors_have_unit_length(minilm: LocalEmbedder) -> None:
    vectors = embed_all(minilm, TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How long is parental leave?", "For how many weeks may mothers and fathers stay at home with a baby?"),
        ("The invoice has to be paid within a month.", "Bills are due in 30 days."),
        ("The machine is too hot.", "The device overheats."),
    ],
)
def test_paraphrases_are_nearer_than_other_subjects(minilm: LocalEmbedder, one: str, other: str) -> None:
    first, second, far = embed_all(minilm, [one, other, "Whales sing under water."])
    assert first @ second > 0.4
    assert first @ second > first @ far + 0.3


def test_known_similarity_is_reproduced(minilm: LocalEmbedder) -> None:
    # The figures of the model's own page for its example sentences.
    sentences = ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    vectors = embed_all(minilm, sentences)
    np.testing.assert_allclose(vectors[0] @ vectors[1:].T, [0.695, 0.943, 0.257], atol=2e-3)


def test_batch_gives_what_single_texts_give(minilm: LocalEmbedder) -> None:
    texts = [f"{'long ' * (7 * number % 60)} text number {number}" for number in range(70)]
    single = np.stack([minilm.embed_query(text) for text in texts])
    np.testing.assert_allclose(embed_all(minilm, texts), single, atol=1e-4)


def test_text_counts_up_to_its_256th_token(minilm: LocalEmbedder) -> None:
    head = "word " * 254
    np.testing.assert_allclose(minilm.embed_query(head + "tail"), minilm.embed_query(head), atol=1e-5)
    assert minilm.embed_query("word " * 200 + "tail") @ minilm.embed_query("word " * 200) < 0.9999


def test_tokens_are_counted_without_padding_and_up_to_the_bound(minilm: LocalEmbedder) -> None:
    # Each text has a mark at both ends.
    (batch,) = minilm.stream(["word", "word word word", "word " * 400])
    assert batch.tokens == 3 + 5 + 256


def test_nothing_to_embed_gives_no_batch(minilm: LocalEmbedder) -> None:
    assert list(minilm.stream([])) == []


def test_a_stop_ends_the_stream_after_the_batch(minilm: LocalEmbedder) -> None:
    texts = [f"text {number}" for number in range(100)]
    answers = iter([False, True])
    assert [batch.start for batch in minilm.stream(texts, lambda: next(answers))] == [0, 32]
    assert [batch.start for batch in minilm.stream(texts[:40], lambda: True)] == [0]


def test_threads_get_the_vectors_of_their_own_texts(minilm: LocalEmbedder) -> None:
    groups = [[f"group {group} text {number} {'x ' * number}" for number in range(20)] for group in range(8)]
    expected = [embed_all(minilm, group) for group in groups]
    together = Barrier(len(groups))

    def run(group: list[str]) -> Vectors:
        together.wait()
        return embed_all(minilm, group)

    with ThreadPoolExecutor(len(groups)) as pool:
        for result, vectors in zip(pool.map(run, groups), expected, strict=True):
            np.testing.assert_allclose(result, vectors, atol=1e-4)


def test_model_is_loaded_once_and_not_before_it_is_needed(minilm_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[Path] = []
    load = local._load

    def counted(model_dir: Path, threads: int) -> local._Model:
        loads.append(model_dir)
        return load(model_dir, threads)

    monkeypatch.setattr(local, "_load", counted)
    embedder = LocalEmbedder(minilm_dir, space="s", threads=1)
    assert loads == []
    together = Barrier(6)

    def warm() -> None:
        together.wait()
        embedder.warm()

    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(warm) for _ in range(6)]:
            future.result()
    embedder.embed_query("text")
    assert loads == [minilm_dir]


@pytest.mark.parametrize("missing", ["model.onnx", "tokenizer.json"])
def test_missing_file_is_named(minilm_dir: Path, tmp_path: Path, missing: str) -> None:
    shutil.copytree(minilm_dir, tmp_path / "model")
    (tmp_path / "model" / missing).unlink()
    with pytest.raises(ConfigError, match=missing):
        LocalEmbedder(tmp_path / "model", space="s", threads=1)


@pytest.mark.parametrize("damaged", ["model.onnx", "tokenizer.json"])
def test_damaged_file_is_a_config_error(minilm_dir: Path, tmp_path: Path, damaged: str) -> None:
    shutil.copytree(minilm_dir, tmp_path / "model")
    (tmp_path / "model" / damaged).write_bytes(b"no model")
    embedder = LocalEmbedder(tmp_path / "model", space="s", threads=1)
    with pytest.raises(ConfigError, match="cannot be loaded"):
        embedder.warm()


Export = Callable[..., LocalEmbedder]


@pytest.fixture
def export(minilm_dir: Path, tmp_path: Path) -> Export:
    """An embedder of a tiny model with these inputs and outputs: each token's state is (id, type, 1)."""

    def make(*, inputs: list[str], outputs: list[str], kind: int = TensorProto.INT64) -> LocalEmbedder:
        nodes = [
            helper.make_node("Cast", [inputs[0]], ["id"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["id", "zero"], ["none"]),
            helper.make_node("Add", ["none", "one"], ["ones"]),
            helper.make_node("Unsqueeze", ["id", "last"], ["a"]),
            helper.make_node("Unsqueeze", ["none", "last"], ["b"]),
            helper.make_node("Unsqueeze", ["ones", "last"], ["c"]),
            helper.make_node("Concat", ["a", "b", "c"], ["last_hidden_state"], axis=2),
            helper.make_node("ReduceMax", ["last_hidden_state", "middle"], ["pooler_output"], keepdims=0),
            helper.make_node("ReduceMin", ["last_hidden_state", "middle"], ["sentence_embedding"], keepdims=0),
        ]
        constants = [
            helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
            helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
            helper.make_tensor("last", TensorProto.INT64, [1], [2]),
            helper.make_tensor("middle", TensorProto.INT64, [1], [1]),
        ]
        shapes: dict[str, list[str | int]] = {
            "last_hidden_state": ["b", "n", 3],
            "pooler_output": ["b", 3],
            "sentence_embedding": ["b", 3],
            "id": ["b"],
        }
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info(name, kind, ["b", "n"]) for name in inputs],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in outputs],
            constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        onnx.save(model, tmp_path / "model.onnx")
        shutil.copy(minilm_dir / "tokenizer.json", tmp_path)
        return LocalEmbedder(tmp_path, space="s", threads=1)

    return make


def mean_of_tokens(*ids: int) -> Vectors:
    vector = np.array([np.mean(ids), 0, 1])
    unit: Vectors = vector / np.linalg.norm(vector)
    return unit


# The tokens of "hello" and "hello world" with the marks around them.
HELLO, HELLO_WORLD = (101, 7592, 102), (101, 7592, 2088, 102)


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32])
def test_states_of_an_exported_model_are_averaged_without_padding(export: Export, kind: int) -> None:
    names = ["input_ids", "attention_mask", "token_type_ids"]
    embedder = export(inputs=names, outputs=["pooler_output", "last_hidden_state"], kind=kind)
    vectors = embed_all(embedder, ["hello world", "hello"])
    np.testing.assert_allclose(vectors, [mean_of_tokens(*HELLO_WORLD), mean_of_tokens(*HELLO)], atol=1e-6)


def test_sentence_embedding_of_an_exported_model_is_taken_as_it_is(export: Export) -> None:
    embedder = export(inputs=["input_ids", "attention_mask"], outputs=["last_hidden_state", "sentence_embedding"])
    np.testing.assert_allclose(embedder.embed_query("hello"), mean_of_tokens(101), atol=1e-6)


def test_unknown_input_is_named(export: Export) -> None:
    embedder = export(inputs=["input_ids", "pixel_values"], outputs=["last_hidden_state"])
    with pytest.raises(ConfigError, match="pixel_values"):
        embedder.warm()


def test_model_without_embedding_is_refused(export: Export) -> None:
    embedder = export(inputs=["input_ids"], outputs=["pooler_output"])
    with pytest.raises(ConfigError, match="no embedding"):
        embedder.warm()
