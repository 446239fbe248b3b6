"""Contract of the catalogue: whatever stands on the shelf is complete; names describe bases as documented."""

import re
from pathlib import Path

import pytest
from hub_wheels import model_folder

from sartor.core.errors import AskError, NotFoundError
from sartor.core.licence import KNOWN
from sartor.core.task import NAME
from sartor.hub.archive import safe
from sartor.hub.catalogue_reading import CATALOGUE, described, entries, entry
from sartor.hub.entry import Distilled, Entry, Folder, HuggingFace, Package, Recorded

ENTRIES = entries()


def test_the_shelf_holds_what_was_promised() -> None:
    assert {"hosted", "minilm", "mpnet", "smollm2", "static"} <= set(CATALOGUE)
    assert len(ENTRIES) >= 16
    assert {e.tier for e in ENTRIES} == {"small", "medium", "large", "hosted"}
    assert len({e.name for e in ENTRIES}) == len(ENTRIES)
    assert all(CATALOGUE.summary(family) for family in CATALOGUE)


@pytest.mark.parametrize("found", ENTRIES, ids=lambda e: e.name)
def test_an_entry_is_complete(found: Entry) -> None:
    assert NAME.fullmatch(found.name)
    assert found.licence in KNOWN
    assert found.engine in ("static", "encoder", "lm", "gguf", "hosted", "recorded")
    assert entry(found.name) == found
    assert found.body()["home"]["kind"] == type(found.home).__name__
    match found.home:
        case Package(wheels, inside, files, parts):
            digests = [w.sha256 for w in wheels] + list(files.values())
            assert all(re.fullmatch("[0-9a-f]{64}", d) for d in digests)
            assert len(set(digests)) == len(digests)
            assert inside.endswith("/")
            assert all(safe(name) for name in files)
            assert bool(parts) == (len(wheels) > 1)
        case Distilled(base, dimension):
            assert isinstance(entry(base).home, Package)
            assert found.facts["dimension"] == dimension
    if found.tier != "hosted":
        assert {"about", "dimension", "parameters", "max_tokens", "languages", "adapter_targets"} <= set(found.facts)


def test_an_unknown_base_names_the_nearest_and_the_forms() -> None:
    with pytest.raises(NotFoundError, match=r"Did you mean 'minilm'.*folder:/path.*hf:org/name@commit"):
        entry("minlm")


def test_a_folder_describes_itself(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    found = entry(f"folder:{folder}")
    assert found.home == Folder(str(folder))
    assert (found.engine, found.tier, found.licence) == ("encoder", "small", "Apache-2.0")
    assert (found.facts["parameters"], found.facts["dimension"], found.facts["max_tokens"]) == (10, 3, 16)
    (folder / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    (folder / "README.md").write_text("license: mit, but not in the front matter")
    assert (entry(f"folder:{folder}").engine, entry(f"folder:{folder}").licence) == ("lm", "")
    (folder / "config.json").write_text('{"model_type": "model2vec", "hidden_dim": 3}')
    assert entry(f"folder:{folder}").engine == "static"


def test_a_hub_name_must_be_pinned_to_a_commit(tmp_path: Path) -> None:
    commit = "a" * 40
    found = entry(f"hf:org/name@{commit}")
    assert found.home == HuggingFace("org/name", commit)
    assert described(found, model_folder(tmp_path)).licence == "Apache-2.0"
    for bad in (
        "hf:org/name",
        "hf:org/name@main",
        f"hf:name@{commit}",
        f"hf:a/b/c@{commit}",
        f"hf:org/name@{commit[1:]}",
    ):
        with pytest.raises(AskError, match="40 digits"):
            entry(bad)


def test_recorded_answers_are_a_base_too() -> None:
    found = entry("recorded:gpt4@gpt-4")
    assert (found.home, found.engine, found.licence) == (Recorded("gpt4", "gpt-4"), "recorded", "hosted-model-terms")
    assert entry("recorded:answer").home == Recorded("answer")
    with pytest.raises(AskError, match="recorded:column"):
        entry("recorded:")


def test_a_described_catalogue_entry_stays_as_it_is(tmp_path: Path) -> None:
    assert described(entry("minilm"), model_folder(tmp_path)) == entry("minilm")
