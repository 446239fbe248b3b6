"""Distilling a real, tiny encoder: the same bytes twice, nothing of this machine in them, and a model that embeds."""

import json
from pathlib import Path

import numpy as np
import pytest

from sartor.hub.distil import distil
from sartor.hub.entry import Distilled, Entry
from sartor.hub.fetch import fetch
from sartor.hub.measure import measure, resident_bytes
from sartor.hub.safety import check

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained BERT of two layers with a vocabulary of 200 words."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("skeletoken")
    folder = tmp_path_factory.mktemp("encoder")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{i}" for i in range(195))]
    (folder / "vocab.txt").write_text("\n".join(words))
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(vocab_size=200, **sizes)).save_pretrained(folder)
    vocabulary = {word: i for i, word in enumerate(words)}
    transformers.BertTokenizer(vocab=vocabulary).save_pretrained(folder)
    return folder


def test_the_same_encoder_gives_the_same_bytes(
    encoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[int, int]] = []
    for name in ("one", "two"):
        distil(encoder, tmp_path / name, 16, title="tiny", progress=lambda _, done, total: told.append((done, total)))
    files = {p.name: p.read_bytes() for p in (tmp_path / "one").iterdir()}
    assert files == {p.name: p.read_bytes() for p in (tmp_path / "two").iterdir()}
    assert set(files) >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert not [name for name, data in files.items() if str(tmp_path).encode() in data or str(encoder).encode() in data]
    assert json.loads(files["config.json"])["tokenizer_name"] == "tiny"
    assert told[-1][0] == told[-1][1] > 100
    assert capfd.readouterr().err == ""
    check(tmp_path / "one")


def test_a_distilled_base_is_fetched_by_making_it_and_can_be_measured(encoder: Path, tmp_path: Path) -> None:
    from model2vec import StaticModel

    found = Entry("static-tiny", "small", "static", "MIT", Distilled("tiny", 16))
    fetch(found, tmp_path / "static", cache=tmp_path, base_of={"tiny": encoder}.__getitem__)
    before = resident_bytes()
    model = StaticModel.from_pretrained(tmp_path / "static")
    assert model.encode(["word1 word2"]).shape == (1, 16)
    card = measure(model.encode, tmp_path / "static", threads=1, resident_before=before)
    vectors = model.embedding.shape
    assert card["parameters"] == vectors[0] * vectors[1]
    assert card["bytes"] > card["parameters"]
    assert card["batch_32"]["sentences_per_second"] > card["batch_1"]["sentences_per_second"] > 0
    assert card["machine"]["threads"] == 1
    assert card["machine"]["cores"] >= 1


def test_the_card_says_what_a_batch_takes(tmp_path: Path) -> None:
    import time

    def slow(texts: list[str]) -> np.ndarray:
        time.sleep(0.002 * len(texts))
        return np.zeros((len(texts), 2), dtype=np.float32)

    card = measure(slow, tmp_path, threads=1)
    for size in (1, 32):
        figures = card[f"batch_{size}"]
        assert figures["milliseconds"] >= 2 * size
        assert figures["sentences_per_second"] == pytest.approx(1000 * size / figures["milliseconds"], rel=0.01)
    assert card["memory_bytes"] is None
    assert card["parameters"] is None
