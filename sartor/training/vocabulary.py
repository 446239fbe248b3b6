"""A tokenizer with fewer words, and which rows of an encoder's word vectors stay with them.

Kept are the words that given texts use, what the tokenizer itself needs, every single character, and so many of the
first words of the vocabulary (which BERT's lists by frequency); any other word is then read in pieces. Works on
`tokenizer.json` of kinds WordPiece, WordLevel and Unigram. Knows no weights.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError

MARKS = ("##", "▁", "Ġ")
"""What stands before a piece of a word, or before its first."""
IDS = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id", "mask_token_id", "unk_token_id")


@dataclass(frozen=True)
class Trimmed:
    """A smaller vocabulary."""

    spec: dict[str, Any]
    """The new `tokenizer.json`."""
    kept: list[int]
    """Old numbers of the tokens, by their new ones."""

    def config(self, before: Mapping[str, Any]) -> dict[str, Any]:
        """What changes in a model's `config.json`."""
        places = self._places
        moved = {name: places[before[name]] for name in IDS if before.get(name) in places}
        return {"vocab_size": len(self.kept), **moved}

    @property
    def _places(self) -> dict[int, int]:
        return {old: new for new, old in enumerate(self.kept)}

    def write(self, folder: Path) -> None:
        """Write the tokenizer's files over those that lie in a folder."""
        (folder / "tokenizer.json").write_text(json.dumps(self.spec, ensure_ascii=False), encoding="utf-8")
        if (folder / "vocab.txt").is_file():
            names = _names(self.spec["model"])
            lines = [name for name, _ in sorted(names.items(), key=lambda one: one[1])]
            (folder / "vocab.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        told = folder / "tokenizer_config.json"
        if told.is_file():
            config = json.loads(told.read_text(encoding="utf-8"))
            added = config.get("added_tokens_decoder", {})
            places = self._places
            config |= {"added_tokens_decoder": {str(places[int(k)]): v for k, v in added.items() if int(k) in places}}
            told.write_text(json.dumps(config, indent=2, ensure_ascii=False), encoding="utf-8")


def trim(folder: Path, texts: Sequence[str], *, first: int, least: int = 1) -> Trimmed:
    """The vocabulary that a task needs.

    Args:
        folder: holds `tokenizer.json`.
        texts: of the task.
        first: ordinary words from the head of the vocabulary that stay, whether a text has them or not.
        least: texts that must have a word, for it to stay.

    Raises:
        AskError: the tokenizer is of a kind that can't be trimmed.
    """
    spec = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    kind = spec["model"].get("type")
    if kind not in ("WordPiece", "WordLevel", "Unigram"):
        raise AskError(
            f"A vocabulary was to be trimmed and its tokenizer is of kind {kind}, whose words are made by merges that "
            "need each other: only WordPiece, WordLevel and Unigram can be trimmed. Take a variant on such a base.",
            code="vocabulary_not_trimmable",
            param="candidates.of",
        )
    names = _names(spec["model"])
    kept = _used(folder, texts, least) | _needed(spec, names) | _letters(names) | _first(names, first)
    order = sorted(kept)
    return Trimmed(_rewritten(spec, order), order)


def _names(model: Mapping[str, Any]) -> dict[str, int]:
    if model["type"] == "Unigram":
        return {name: place for place, (name, _) in enumerate(model["vocab"])}
    return dict(model["vocab"])


def _used(folder: Path, texts: Sequence[str], least: int) -> set[int]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    counts: dict[int, int] = {}
    for found in tokenizer.encode_batch_fast(list(texts)):
        for token in set(found.ids):
            counts[token] = counts.get(token, 0) + 1
    return {token for token, count in counts.items() if count >= least}


def _needed(spec: Mapping[str, Any], names: Mapping[str, int]) -> set[int]:
    """Special tokens, and everything up to the pad token: some architectures count positions from its number."""
    added = {int(token["id"]) for token in spec.get("added_tokens") or ()}
    unknown = spec["model"].get("unk_token")
    found = added | ({names[unknown]} if unknown in names else set())
    if "unk_id" in spec["model"] and spec["model"]["unk_id"] is not None:
        found.add(int(spec["model"]["unk_id"]))
    pads = [int(token["id"]) for token in spec.get("added_tokens") or () if "pad" in str(token["content"]).lower()]
    return found | set(range(max(pads, default=-1) + 1))


def _letters(names: Mapping[str, int]) -> set[int]:
    """Single characters, so that every word can be read in some pieces."""
    return {place for name, place in names.items() if len(_bare(name)) <= 1}


def _bare(name: str) -> str:
    for mark in MARKS:
        if name.startswith(mark) and len(name) > len(mark):
            return name.removeprefix(mark)
    return name


def _first(names: Mapping[str, int], count: int) -> set[int]:
    ordinary = [place for name, place in names.items() if len(_bare(name)) > 1 and not name.startswith(("[", "<"))]
    return set(sorted(ordinary)[:count])


def _rewritten(spec: dict[str, Any], order: Sequence[int]) -> dict[str, Any]:
    places = {old: new for new, old in enumerate(order)}
    model = dict(spec["model"])
    if model["type"] == "Unigram":
        model["vocab"] = [model["vocab"][old] for old in order]
        model["unk_id"] = None if model.get("unk_id") is None else places[model["unk_id"]]
    else:
        model["vocab"] = {name: places[old] for name, old in model["vocab"].items() if old in places}
    added = [{**token, "id": places[token["id"]]} for token in spec.get("added_tokens") or ()]
    after = _moved(spec.get("post_processor"), places)
    padding = spec.get("padding")
    padding = {**padding, "pad_id": places[padding["pad_id"]]} if padding else padding
    return {**spec, "model": model, "added_tokens": added, "post_processor": after, "padding": padding}


def _moved(after: Any, places: Mapping[int, int]) -> Any:
    """A post-processor with the new numbers of its tokens."""
    if not isinstance(after, dict):
        return after
    if after.get("type") == "Sequence":
        return {**after, "processors": [_moved(one, places) for one in after["processors"]]}
    if after.get("type") == "TemplateProcessing":
        special = {k: {**v, "ids": _all(v["ids"], places)} for k, v in after["special_tokens"].items()}
        return {**after, "special_tokens": special}
    pairs = {key: [after[key][0], places[after[key][1]]] for key in ("sep", "cls") if key in after}
    return {**after, **pairs}


def _all(ids: Iterable[int], places: Mapping[int, int]) -> list[int]:
    return [places[token] for token in ids]
