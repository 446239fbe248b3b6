"""Diagnosis texts of ICD-10-CM, from the package simple-icd-10-cm: each with its code, category, block and chapter.

ICD-10-CM is published by the US National Center for Health Statistics and in the public domain; the package is MIT.
Knows the classification, nothing of models.
"""

from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field

from sartor.core.canonical import sha256
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin

PARTS = {"description": "descriptions", "inclusion": "inclusion_terms"}
"""Kind of a text -> the part that it belongs to."""


class Params(Settings):
    """Which texts."""

    part: Literal["descriptions", "inclusion_terms", "all"] = "descriptions"
    """descriptions: the official one of each code; inclusion_terms: other names that belong to a code."""
    categories: Literal["all", "one_fifth", "four_fifths"] = "all"
    """Only the texts of one fifth of the categories, chosen by a hash of their names, or only those of the others."""
    per_category: Annotated[int, Field(ge=1)] | None = None
    """At most so many descriptions, and so many inclusion terms, of each three-character category."""


@plugin
def icd10(params: Params) -> Iterator[dict[str, Any]]:
    """Yield text, label and block (both e.g. A00-A09), block_name, chapter, chapter_name, category, code, kind.

    With a cap, the texts of a category are chosen in the order of a hash of their code and text: spread over the
    category, the same on every machine, and a larger cap contains a smaller one.
    """
    chosen: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in _texts(params.part):
        if params.categories in ("all", _fifth(row["category"])):
            chosen[row["category"], row["kind"]].append(row)
    for rows in chosen.values():
        if params.per_category is not None and len(rows) > params.per_category:
            order = sorted(range(len(rows)), key=lambda i: sha256(f"{rows[i]['code']}\n{rows[i]['text']}".encode()))
            rows = [rows[i] for i in sorted(order[: params.per_category])]  # noqa: PLW2901
        yield from rows


def _fifth(category: str) -> str:
    return "one_fifth" if int(sha256(category.encode())[:8], 16) % 5 == 0 else "four_fifths"


def _texts(part: str) -> Iterator[dict[str, Any]]:
    return (row for row in _all_texts() if part in ("all", PARTS[row["kind"]]))


@lru_cache(maxsize=1)
def _all_texts() -> list[dict[str, Any]]:
    """Every text of the classification; walking it takes seconds, so a task with several such sources does it once."""
    import simple_icd_10_cm as icd

    rows: list[dict[str, Any]] = []
    for code in dict.fromkeys(icd.get_all_codes(with_dots=True)):
        if icd.is_chapter(code) or not (icd.is_category(code) or icd.is_subcategory(code)):
            continue
        *between, block, chapter = icd.get_ancestors(code)
        facts = {
            "label": block,
            "block": block,
            "block_name": _name(icd.get_description(block)),
            "chapter": chapter,
            "chapter_name": _name(icd.get_description(chapter)),
            "category": between[-1] if between else code,
            "code": code,
        }
        rows.append({"text": icd.get_description(code), **facts, "kind": "description"})
        rows += [{"text": term, **facts, "kind": "inclusion"} for term in icd.get_inclusion_term(code)]
    return rows


def _name(description: str) -> str:
    """A description without the range of codes that ends it."""
    return description.rsplit(" (", 1)[0]
