"""Brings a model at one commit from a Hugging Face hub, or a mirror of one. Knows nothing of the catalogue.

Only files of allowed names are asked for: never pickles or scripts.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sartor.core.errors import UpstreamError
from sartor.core.progress import Progress
from sartor.hub.entry import HuggingFace
from sartor.hub.safety import ALLOWED

IGNORED = ("onnx/*", "openvino/*", ".*")
"""The same weights in other clothes."""


def download(home: HuggingFace, folder: Path, cache: Path, progress: Progress) -> None:
    """Leave the repository's allowed files in `folder`; half downloads stay in `cache` and are gone on with.

    Raises:
        UpstreamError: the hub cannot be reached, or has no such repository or commit.
    """
    from httpx2 import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    progress(f"fetch {home.repo}", 0, 1)
    try:
        with _online():
            found = snapshot_download(
                home.repo,
                revision=home.revision,
                endpoint=home.endpoint,
                cache_dir=cache / "hub",
                allow_patterns=list(ALLOWED),
                ignore_patterns=list(IGNORED),
                token=False,
            )
    except (OSError, HTTPError) as error:
        lasting = isinstance(error, RepositoryNotFoundError | RevisionNotFoundError)
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        advice = "Check the name and the commit" if lasting else "Check the network and run again"
        raise UpstreamError(
            f"Tried to fetch '{home.repo}' at {home.revision} from {home.endpoint}: {reason}. "
            f"{advice}, or use a copy that you have: 'folder:/path/to/model'.",
            retryable=not lasting,
            code="base_unreachable",
        ) from error
    shutil.copytree(found, folder, dirs_exist_ok=True)
    progress(f"fetch {home.repo}", 1, 1)


@contextmanager
def _online() -> Iterator[None]:
    """Let the library reach a hub, here alone: everywhere else this process is told to stay offline."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = False
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
