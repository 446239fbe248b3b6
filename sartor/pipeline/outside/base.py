"""The base that an adapter stands on: in the export's folder, or fetched from a hub, and always the right one."""

import hashlib
from pathlib import Path
from typing import Any


def base_folder(folder: Path, said: dict[str, Any]) -> Path:
    """The base's folder, its weights compared with those that the adapter was trained on."""
    home: Path = folder / said["path"]
    if not home.is_dir():
        if not said["hub_id"]:
            raise SystemExit(f"The base '{said['name']}' is not here: put its folder at {home}.")
        from huggingface_hub import snapshot_download

        kinds = ["*.safetensors", "*.json", "*.txt"]
        home = Path(snapshot_download(said["hub_id"], revision=said["revision"] or None, allow_patterns=kinds))
    for name, wanted in said["files"].items():
        found = _sha256(home / name) if name.endswith(".safetensors") else wanted
        if found != wanted:
            raise SystemExit(
                f"This adapter was trained on '{said['name']}' ({name} {wanted[:12]}), and {home} holds another base "
                f"({found[:12]}). Put the right one there."
            )
    return home


def _sha256(path: Path) -> str:
    if not path.is_file():
        return "no such file"
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
