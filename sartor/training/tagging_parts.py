"""Taggers that are already made: what they say of a text, for a student to learn, and several of them as one.

Knows no losses.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sartor.core.errors import AskError
from sartor.core.predict import Floats
from sartor.core.tagbook import TagBook
from sartor.core.tagging import Scheme
from sartor.training.encoder import load
from sartor.training.job import Part
from sartor.training.tagging import Tagger, ready

VERSION = 1
FILE = "tagger.json"


def write(folder: Path, book: TagBook, most: int, members: Sequence[str] = ("",)) -> None:
    """Write `tagger.json`.

    Args:
        most: tokens of a text that are looked at.
        members: folders, within this one, of the encoders whose chances are averaged; '' is this one itself.
    """
    body = {"version": VERSION, "most": most, "members": list(members), "book": book.body()}
    text = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


class Teacher:
    """A made tagger, to be asked without gradients."""

    def __init__(self, part: Part) -> None:
        """Look at it; its encoders are loaded when it is asked, one at a time.

        Raises:
            AskError: the part is no tagger.
        """
        self._folder, self._body = _opened(part)
        self.book = TagBook.read(self._body["book"])

    def chances(self, texts: Sequence[str], scheme: Scheme) -> list[Floats]:
        """(words, tags) of each text in the tags of another scheme; what only one of both knows is left out."""
        own, total = _columns(self.book.scheme, scheme), None
        seen = [self.book.see(text) for text in texts]
        for name in self._body["members"]:
            member = _member(self._folder / name, int(self._body["most"]))
            found = member.chances([ready(member.encoder, one) for one in seen])
            total = found if total is None else [a + b for a, b in zip(total, found, strict=True)]
        mapped = []
        for one in total or []:
            chances = np.zeros((len(one), scheme.size), dtype=np.float32)
            chances[:, own[1]] = one[:, own[0]]
            chances[:, 0] += 1e-9
            mapped.append(chances / chances.sum(axis=1, keepdims=True))
        return mapped


def join(parts: Sequence[Part], folder: Path) -> dict[str, Any]:
    """Make one tagger of several: the mean of their chances. Writes its files and returns what is to be told.

    Raises:
        AskError: a part is no tagger, or they don't look for the same fields in the same way.
    """
    opened = [_opened(part) for part in parts]
    first = opened[0][1]["book"]
    for part, (_, body) in zip(parts[1:], opened[1:], strict=True):
        if body["book"] != first:
            raise AskError(
                f"Taggers {parts[0].title!r} and {part.title!r} can't be joined: they were made of other rows, for "
                "other fields or with another 'context'. Make both in one task with the same 'context'.",
                param="candidates.of",
                code="parts_do_not_fit",
            )
    members = []
    for place, (home, body) in enumerate(opened):
        for name in body["members"]:
            members.append(f"members/{place}{name.replace('members/', '-')}")
            for held in ("encoder", "head.safetensors"):
                source, target = home / name / held, folder / members[-1] / held
                target.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
    write(folder, TagBook.read(first), min(int(body["most"]) for _, body in opened), members)
    return {"joined": [part.title for part in parts], "members": len(members)}


def _opened(part: Part) -> tuple[Path, Any]:
    if part.engine != "tagger" or part.folder is None:
        raise AskError(
            f"Recipe 'tagger' learns from other taggers, and {part.title!r} is none (recipe '{part.recipe}'). "
            "Name a candidate of recipe 'tagger' under 'of'.",
            param="candidates.of",
            code="parts_do_not_fit",
        )
    return part.folder, json.loads((part.folder / FILE).read_text(encoding="utf-8"))


def _member(folder: Path, most: int) -> Tagger:
    from safetensors.torch import load_file

    encoder = load(folder / "encoder")
    encoder.tokenizer.enable_truncation(most)
    tensors = load_file(folder / "head.safetensors")
    tags, seen = tensors["weight"].shape
    head = torch.nn.Linear(seen, tags)
    head.load_state_dict(tensors)
    return Tagger(encoder, head)


def _columns(own: Scheme, other: Scheme) -> tuple[list[int], list[int]]:
    """Tags that both schemes have: by the own numbers, and by the other's."""
    mine, theirs = [0], [0]
    for name, place in other.places.items():
        here = own.places.get(name)
        if here is not None and own.slots[here].depth == other.slots[place].depth:
            mine += range(own.first[here], own.first[here + 1])
            theirs += range(other.first[place], other.first[place + 1])
    return mine, theirs
