"""What can be wrong at the door: exports that have no such form, models that must not come in."""

import json
import sys
from pathlib import Path

from golden_house import House, Said


def _write(house: House, name: str, text: str) -> None:
    (house.folder / name).parent.mkdir(exist_ok=True)
    house.write(name, text)


def export_to_an_unknown_target(house: House) -> Said:
    return house.sartor("export", "triage@v1", "out", "--to", "onyx")


def export_of_an_unknown_task(house: House) -> Said:
    return house.sartor("export", "triagee", "out")


def export_without_such_a_form(house: House) -> Said:
    return house.sartor("export", "triage@v1", "out", "--to", "peft")


def export_over_something(house: House) -> Said:
    _write(house, "out/notes.txt", "mine\n")
    return house.sartor("export", "triage@v1", "out")


def export_with_an_unknown_setting(house: House) -> Said:
    return house.sartor("export", "triage@v1", "out", "--to", "hf", "--set", "dtypes=float32")


def export_without_its_extra(house: House) -> Said:
    """As where the package is not installed: importing it fails."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "gguf"}
    for name in before:
        del sys.modules[name]
    sys.modules["gguf"] = None  # type: ignore[assignment]
    try:
        return house.sartor("export", "triage@v1", "out", "--to", "gguf")
    finally:
        del sys.modules["gguf"]
        sys.modules.update(before)


def _model(house: House, header: dict[str, object], size: int, config: str = "{}") -> Said:
    raw = json.dumps(header).encode()
    _write(house, "theirs/config.json", config)
    Path(house.folder / "theirs" / "model.safetensors").write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(size))
    return house.sartor("import", "theirs", "--name", "theirs")


def tensor(*at: int) -> dict[str, object]:
    return {"dtype": "F32", "shape": [2], "data_offsets": list(at)}


def import_of_overlapping_tensors(house: House) -> Said:
    return _model(house, {"a": tensor(0, 8), "b": tensor(4, 12)}, 12)


def import_of_tensors_beyond_the_end(house: House) -> Said:
    return _model(house, {"a": tensor(0, 8), "b": tensor(8, 16)}, 8)


def import_of_code(house: House) -> Said:
    return _model(house, {"a": tensor(0, 8)}, 8, '{"auto_map": {"AutoModel": "evil.Model"}}')


def import_of_pickles(house: House) -> Said:
    _write(house, "theirs/config.json", "{}")
    _write(house, "theirs/pytorch_model.bin", "no weights\n")
    return house.sartor("import", "theirs", "--name", "theirs")


def import_of_an_mlflow_model_that_runs_code(house: House) -> Said:
    _write(
        house, "theirs/MLmodel", "flavors: {python_function: {loader_module: evil, python_model: python_model.pkl}}\n"
    )
    _write(house, "theirs/python_model.pkl", "no model\n")
    return house.sartor("import", "theirs", "--name", "theirs")


def import_of_gguf_of_an_unknown_architecture(house: House) -> Said:
    from gguf import GGUFWriter

    writer = GGUFWriter(house.folder / "theirs.gguf", "nextgen")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return house.sartor("import", "theirs.gguf", "--name", "theirs")


def import_of_an_adapter_without_a_base(house: House) -> Said:
    raw = json.dumps({"a": tensor(0, 8)}).encode()
    _write(
        house,
        "theirs/adapter_config.json",
        '{"peft_type": "LORA", "r": 1, "base_model_name_or_path": "org/their-base"}',
    )
    weights = house.folder / "theirs" / "adapter_model.safetensors"
    weights.write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(8))
    return house.sartor("import", "theirs", "--name", "theirs")


def import_of_nothing(house: House) -> Said:
    return house.sartor("import", "nowhere", "--name", "theirs")


CASES = {
    name: case
    for name, case in vars().copy().items()
    if getattr(case, "__module__", "") == __name__ and not name.startswith("_") and name != "tensor"
}
