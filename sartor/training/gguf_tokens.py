"""Puts a tokenizer into a GGUF file: words, merges, special tokens, chat template.

Byte-level BPE only, in the ways of splitting that llama.cpp knows by name; any other is refused, since a model that
reads its input in other pieces than it was taught answers worse and nobody sees why.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError

NORMAL, UNKNOWN, CONTROL, OWN, UNUSED = 1, 2, 3, 4, 5
"""llama.cpp's types of tokens; OWN: added, and not special."""


def add_tokens(writer: Any, folder: Path, size: int, title: str) -> None:
    """Describe the tokenizer of a model's folder.

    Args:
        size: rows of the word embeddings; ids beyond the tokenizer's are marked as unused.

    Raises:
        AskError: its tokenizer is not of a kind that can be written.
    """
    kept = _read(folder, "tokenizer.json", title)
    settings = _read(folder, "tokenizer_config.json", title)
    model = kept["model"]
    if model.get("type") != "BPE" or model.get("byte_fallback") or kept.get("normalizer"):
        raise _refused(title, f"it is a {model.get('type')} tokenizer, and only byte-level BPE is written here")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_splitting(kept.get("pre_tokenizer"), title))
    words, types = _words(kept, size)
    writer.add_token_list(words)
    writer.add_token_types(types)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in model["merges"]])
    places = {word: place for place, word in enumerate(words)}
    for name, add in (
        ("bos_token", writer.add_bos_token_id),
        ("eos_token", writer.add_eos_token_id),
        ("unk_token", writer.add_unk_token_id),
        ("pad_token", writer.add_pad_token_id),
    ):
        if (word := _word(settings.get(name))) in places:
            add(places[word])
    writer.add_add_bos_token(False)  # noqa: FBT003 - gguf's signature; prompts bring their own special tokens
    writer.add_add_space_prefix(False)  # noqa: FBT003
    if template := _template(folder, settings):
        writer.add_chat_template(template)


def _read(folder: Path, name: str, title: str) -> Any:
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _refused(title, f"its {name} is missing or damaged ({error})") from error


def _splitting(steps: Any, title: str) -> str:
    """llama.cpp's name for how the tokenizer splits text before it looks for words."""
    steps = steps or {}
    inner = steps.get("pretokenizers", [steps] if steps else [])
    kinds = [step.get("type") for step in inner]
    last = inner[-1] if inner else {}
    byte_level = last.get("type") == "ByteLevel" and last.get("use_regex", True) and not last.get("add_prefix_space")
    if kinds == ["ByteLevel"] and byte_level:
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and byte_level and inner[0].get("individual_digits"):
        return "smollm"
    raise _refused(
        title,
        f"it splits text by {', '.join(map(str, kinds)) or 'nothing'}; "
        "written here are ByteLevel, and single Digits with ByteLevel",
    )


def _words(kept: Mapping[str, Any], size: int) -> tuple[list[str], list[int]]:
    words = [f"[unused{place}]" for place in range(size)]
    types = [UNUSED] * size
    for word, place in kept["model"]["vocab"].items():
        if place < size:
            words[place], types[place] = word, NORMAL
    for added in kept.get("added_tokens", ()):
        if added["id"] < size:
            words[added["id"]] = added["content"]
            types[added["id"]] = CONTROL if added.get("special") else OWN
    return words, types


def _word(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")


def _template(folder: Path, settings: Mapping[str, Any]) -> str:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    found = settings.get("chat_template")
    return found if isinstance(found, str) else ""


def _refused(title: str, why: str) -> AskError:
    return AskError(
        f"The tokenizer of '{title}' can't be written as GGUF: {why}. Serve the model through the engine 'lm'.",
        code="unknown_tokenizer",
        param="candidates.of",
    )
