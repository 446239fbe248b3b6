"""The contract of every engine on the shelf, and what each computes, held against an independent computation."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving_house import LABELS, TEXTS, write_blend, write_encoder, write_head

from sartor.core.errors import AskError, NotFoundError, StoreError
from sartor.serving.blas import ONE_BLAS_THREAD
from sartor.serving.engine import ENGINES, Engine, Mixer, open_engine

Make = Callable[[Path, int], Path]


CHOOSING = ("blend", "encoder", "linear", "static")
"""Engines whose answers are labels; those of exported graphs and of written answers have tests of their own."""
WRITING = ("gguf", "lm", "rules", "tagger", "upstream")


@pytest.fixture(params=CHOOSING)
def stocked(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Engine | Mixer]:
    """Each engine that chooses, holding variants 'a' and 'b'."""
    name = request.param
    base = None if name in ("linear", "blend") else request.getfixturevalue(f"{name}_base")
    engine = open_engine(name, base)
    for key, seed in (("a", 1), ("b", 2)):
        if name == "linear":
            folder = request.getfixturevalue("tiny_linear").folder
        elif name == "blend":
            folder = write_blend(tmp_path / key, [seed, 1], "probability")
        else:
            folder = write_head(tmp_path / key, seed=seed)
        engine.add(key, folder)
    return name, engine


def test_the_shelf_holds_these_engines() -> None:
    assert set(ENGINES.names()) >= {*CHOOSING, *WRITING, "onnx"}


def test_an_engine_is_an_engine_or_a_mixer_and_lets_go_of_any_key(stocked: tuple[str, Any]) -> None:
    name, engine = stocked
    assert isinstance(engine, Mixer) == (name == "blend")
    assert isinstance(engine, Engine) == (name != "blend")
    engine.drop("never held")
    engine.drop("a")
    with pytest.raises(KeyError):
        engine.roles("a") if name == "blend" else engine.score([("a", "card")])


def test_a_mixed_batch_says_what_each_question_says_alone(stocked: tuple[str, Any]) -> None:
    name, engine = stocked
    if isinstance(engine, Mixer):
        assert not hasattr(engine, "score")  # a blend reads no text
        return
    work = [("ab"[i % 2], text) for i, text in enumerate([*TEXTS, *TEXTS, "", "unknown words only", TEXTS[0]])]
    mixed = engine.score(work)
    assert len(mixed) == len(work)
    for pair, scored in zip(work, mixed, strict=True):
        (alone,) = engine.score([pair])
        assert scored.logits.shape == (3,)
        np.testing.assert_allclose(scored.logits, alone.logits, atol=2e-5)
        assert (scored.novelty is None) == (name == "linear")
        if scored.novelty is not None:
            assert scored.novelty == pytest.approx(alone.novelty, abs=2e-5)


def test_embeddings_have_length_one_or_are_refused_in_words(stocked: tuple[str, Any]) -> None:
    name, engine = stocked
    if name in ("static", "encoder"):
        vectors = engine.embed(TEXTS)
        assert vectors.shape == (len(TEXTS), 16)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
        assert engine.embed([]).shape == (0, 16)
    elif name == "linear":
        with pytest.raises(AskError, match="no embeddings"):
            engine.embed(TEXTS)


def test_linear_is_scikit_learns_decision_function(tiny_linear: Any) -> None:
    from scipy.sparse import hstack

    engine = open_engine("linear")
    engine.add("v", tiny_linear.folder)
    texts = [*TEXTS, "", "Where is my CARD?"]
    wanted = tiny_linear.classifier.decision_function(hstack([v.transform(texts) for v in tiny_linear.vectorizers]))
    found = np.array([scored.logits for scored in engine.score([("v", text) for text in texts])])
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_static_is_model2vec(static_base: Path) -> None:
    model2vec = pytest.importorskip("model2vec")
    texts = [*TEXTS, "unknown my words", "nothing known", ""]
    wanted = model2vec.StaticModel.from_pretrained(static_base).encode(texts).astype(np.float32)
    # model2vec rounds its result to the float16 of its vectors
    np.testing.assert_allclose(open_engine("static", static_base).embed(texts), wanted, atol=1e-3)


@pytest.mark.parametrize("kind", ["base", "tuned", "adapter"])
def test_encoder_is_mean_pooling_in_transformers(kind: str, encoder_base: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from transformers import AutoModel

    folder = write_head(tmp_path / "v", seed=3)
    trunk = AutoModel.from_pretrained(encoder_base)
    if kind == "tuned":
        write_encoder(folder / "encoder", seed=9)
        trunk = AutoModel.from_pretrained(folder / "encoder")
    if kind == "adapter":
        trunk = write_adapter(trunk, folder / "adapter")
    engine = open_engine("encoder", encoder_base)
    engine.add("v", folder)
    texts = [*TEXTS, " ".join(["card"] * 300)]
    found = engine.score([("v", text) for text in texts])
    head = load_head(folder)
    for text, scored in zip(texts, found, strict=True):
        vector = pooled(torch, trunk.eval(), encoder_base, text)
        np.testing.assert_allclose(scored.logits, head["weight"] @ vector + head["bias"], atol=1e-4)
        unit = head["centroids"] / np.linalg.norm(head["centroids"], axis=1, keepdims=True)
        assert scored.novelty == pytest.approx(1.0 - float((unit @ vector).max()), abs=1e-4)


def write_adapter(trunk: Any, folder: Path) -> Any:
    """A LoRA adapter with weights that do something."""
    torch = pytest.importorskip("torch")
    peft = pytest.importorskip("peft")
    with pytest.warns(FutureWarning, match="is_gradient_checkpointing"):
        model = peft.get_peft_model(trunk, peft.LoraConfig(r=2, target_modules=["query", "value"]))
    torch.manual_seed(5)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight)
    model.save_pretrained(folder)
    return model


def load_head(folder: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    held: dict[str, Any] = load_file(folder / "head.safetensors")
    return held


def pooled(torch: Any, trunk: Any, base: Path, text: str) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.enable_truncation(128)
    ids = tokenizer.encode(text).ids
    assert len(ids) <= 128
    with torch.inference_mode():
        mean = trunk(input_ids=torch.tensor([ids]))[0][0].mean(0)
    return (mean / mean.norm()).numpy()


def test_heads_share_their_base_beside_a_tuned_variant(encoder_base: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    engine: Any = open_engine("encoder", encoder_base)
    engine.add("plain", write_head(tmp_path / "plain", seed=3))
    tuned = write_head(tmp_path / "tuned", seed=3)
    write_encoder(tuned / "encoder", seed=9)
    engine.add("tuned", tuned)
    seen: list[list[str]] = []

    def embed(texts: Any) -> Any:
        seen.append(list(texts))
        return engine.embed(texts)

    plain, other, again = engine.score([("plain", "my card"), ("tuned", "my card"), ("plain", "my card")], embed=embed)
    assert seen == [["my card"]]  # once for the base; a tuned encoder never takes the base's embeddings
    np.testing.assert_allclose(plain.logits, again.logits)
    assert np.abs(plain.logits - other.logits).max() > 1e-3


def test_a_tuned_variant_needs_no_base(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    folder = write_head(tmp_path / "v", seed=3)
    write_encoder(folder / "encoder", seed=9)
    engine: Any = open_engine("encoder")
    engine.add("v", folder)
    assert len(engine.score([("v", "my card")])) == 1
    with pytest.raises(AskError, match="folder of its base"):
        engine.add("w", write_head(tmp_path / "w", seed=4))


@pytest.mark.parametrize("mix", ["probability", "logarithmic"])
def test_blend_is_the_opinion_pool(mix: str, tmp_path: Path) -> None:
    engine: Any = open_engine("blend")
    engine.add("v", write_blend(tmp_path / "v", [0.7, 0.3], mix))
    assert engine.roles("v") == ("first", "second")
    p, q = np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]]), np.array([[0.1, 0.8, 0.1], [1.0, 0.0, 0.0]])
    found = np.exp(engine.mix("v", {"first": p, "second": q}))
    wanted = 0.7 * p + 0.3 * q if mix == "probability" else np.maximum(p, 1e-12) ** 0.7 * np.maximum(q, 1e-12) ** 0.3
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


@pytest.mark.parametrize(
    ("engine", "file", "content"),
    [
        ("linear", "linear.safetensors", None),
        ("linear", "linear.safetensors", b"not a safetensors file"),
        ("linear", "vectorizer.json", b"{"),
        ("linear", "vectorizer.json", b'{"kind": "bag", "parts": []}'),
        (
            "linear",
            "vectorizer.json",
            b'{"kind":"tfidf","parts":[{"analyzer":"word","ngram":[1,1],"vocabulary":{"a":0}}]}',
        ),
        ("static", "head.safetensors", b"\xff" * 40),
        ("blend", "blend.json", b'{"parts": [], "mix": "probability"}'),
        ("blend", "blend.json", b'{"parts": [{"role": "first", "weight": NaN}], "mix": "probability"}'),
    ],
)
def test_a_damaged_file_is_named(
    engine: str, file: str, content: bytes | None, tiny_linear: Any, static_base: Path, tmp_path: Path
) -> None:
    for source in tiny_linear.folder.iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    (tmp_path / file).unlink(missing_ok=True)
    if content is not None:
        (tmp_path / file).write_bytes(content)
    opened = open_engine(engine, static_base if engine == "static" else None)
    with pytest.raises(StoreError) as caught:
        opened.add("v", tmp_path)
    assert str(tmp_path) in caught.value.message
    assert caught.value.code == "variant_damaged"


def test_a_head_whose_shapes_disagree_is_refused(static_base: Path, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    arrays = {"weight": np.zeros((3, 16)), "bias": np.zeros(2), "centroids": np.zeros((3, 16))}
    save_file(arrays, tmp_path / "head.safetensors")
    with pytest.raises(StoreError, match=r"weight \(3, 16\), bias \(2,\)"):
        open_engine("static", static_base).add("v", tmp_path)


def test_an_unknown_engine_lists_the_known_ones() -> None:
    with pytest.raises(NotFoundError, match=r"Known: blend, encoder, .*linear, "):
        open_engine("liner")


def test_linear_and_static_answer_without_torch_or_scikit_learn(
    tiny_linear: Any, static_base: Path, tmp_path: Path
) -> None:
    head = write_head(tmp_path / "h")
    code = f"""
import json, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from sartor.serving.engine import open_engine
from sartor.serving.fleet import Fleet
from sartor.serving.predictor import VariantPredictor
linear, static = open_engine("linear"), open_engine("static", Path({str(static_base)!r}))
linear.add("v", Path({str(tiny_linear.folder)!r}))
static.add("v", Path({str(head)!r}))
said = [len(e.score([("v", "my card is lost")])[0].logits) for e in (linear, static)]
heavy = sorted({{"torch", "transformers", "sklearn", "scipy", "model2vec", "pandas"}} & set(sys.modules))
print(json.dumps([said, heavy]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[len(LABELS), len(LABELS)], []]


def test_the_cpu_time_of_static_embeddings_is_all_spent_in_the_asking_thread(static_base: Path) -> None:
    """Else answers would be cheaper on paper than they are: a library's own threads are not on the asker's clock."""
    engine: Any = open_engine("static", static_base)
    engine.embed(TEXTS)
    thread, process = time.thread_time(), time.process_time()
    engine.embed(["where is my card and the money " * 8] * 2000)
    thread, process = time.thread_time() - thread, time.process_time() - process
    assert thread > 0.8 * process


def test_scoring_leaves_the_number_of_blas_threads_as_it_was(static_base: Path, tmp_path: Path) -> None:
    from threadpoolctl import threadpool_info, threadpool_limits

    def blas() -> list[int]:
        return [found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"]

    engine: Any = open_engine("static", static_base)
    engine.add("v", write_head(tmp_path / "v"))
    with threadpool_limits(2, user_api="blas"):
        before = blas()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: engine.score([("v", text) for text in TEXTS]), range(40)))
        assert blas() == before
        with ONE_BLAS_THREAD, ONE_BLAS_THREAD:
            assert set(blas()) == {1}
        assert blas() == before


def test_a_broken_tokenizer_is_named(static_base: Path, tmp_path: Path) -> None:
    for source in static_base.iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(StoreError, match=r"'tokenizer\.json' in "):
        open_engine("static", tmp_path)
