"""Reading a variant's files: safetensors and JSON only, with errors that name the file and what it should hold."""

import json
from pathlib import Path
from typing import Any

from sartor.core.errors import StoreError
from sartor.core.predict import Floats


def read_json(folder: Path, name: str) -> Any:
    """The JSON value in a file of a variant.

    Raises:
        StoreError: the file is missing or no JSON.
    """
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _broken(folder, name, error) from error


def read_arrays(folder: Path, name: str, *wanted: str) -> list[Floats]:
    """The arrays of these names in a safetensors file of a variant, in the order asked.

    Raises:
        StoreError: the file or an array is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        held = load_file(folder / name)
        return [held[key] for key in wanted]
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise _broken(folder, name, error) from error


def _broken(folder: Path, name: str, error: Exception) -> StoreError:
    return StoreError(
        f"Loading a model failed: '{name}' in {folder} is missing or damaged ({type(error).__name__}: {error}). "
        "Verify it with 'sartor verify', or make the variant again.",
        code="variant_damaged",
    )
