"""Where something to be recalled stands: the data sets that hold a source's, a row's or a person's rows, the bases.

Rows are read by column, whatever the datasheet says of them: what stands in a file counts. Quarantined rows count too,
since curators saw them.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sartor.core.errors import NotFoundError, unknown
from sartor.core.records import Artifact, Base, Dataset
from sartor.pipeline.datasets import dataset_named
from sartor.pipeline.stock import variant_of
from sartor.pipeline.workshop import Workshop
from sartor.registry.impact import CACHES

Kind = Literal["source", "base", "dataset", "row", "subject", "licence", "variant"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST = 1_000_000
ROWS = ("id", "text", "source", "extra")
"""Columns by which a Parquet file is known to hold rows."""


@dataclass(frozen=True)
class What:
    """What is recalled."""

    kind: Kind
    value: str
    """The title of a source, the id of a row, the keyed digest of a person, a name, or a digest."""
    shown: str = ""
    """For people, where the value is a digest."""

    @property
    def says(self) -> str:
        """In a few words."""
        return f"{self.kind} {self.shown or self.value}"


@dataclass(frozen=True)
class Origins:
    """Where a recall begins."""

    what: What
    roots: tuple[str, ...]
    """Digests of the records that hold it."""
    rows: Mapping[str, int]
    """Of these, those that hold its rows -> how many."""


def kind_of(text: str) -> Kind:
    """The kind of a recall as people write it.

    Raises:
        NotFoundError: there is no such kind; the known ones are listed.
    """
    if text not in KINDS:
        raise unknown("kind of recall", text, KINDS, param="kind", code="unknown_kind")
    return text


def origins(shop: Workshop, kind: str, value: str) -> Origins:
    """Find what is to be recalled.

    Raises:
        NotFoundError: nothing of the kind is known by this name; what is gets listed.
    """
    return _FINDERS[kind_of(kind)](shop, value)


def holders(shop: Workshop) -> Iterator[Artifact]:
    """Everything that can hold rows: data sets, harvests, standing tests."""
    yield from shop.store.ledger.find(Dataset, limit=MOST)
    for found in shop.store.ledger.find(Artifact, limit=MOST):
        if not found.name.startswith(CACHES):
            yield found


def column(shop: Workshop, digest: str, read: Callable[[Any], Any]) -> list[Any]:
    """What `read` makes of a Parquet file with rows: a column as a list; empty for a file that holds no rows."""
    from pyarrow import parquet

    if not shop.store.vault.has(digest):  # destroyed with the person whose rows it held
        return []
    with parquet.ParquetFile(shop.store.vault.path(digest)) as file:
        if not set(ROWS) <= set(file.schema_arrow.names):
            return []
        return list(read(file))


def _sources(file: Any) -> Any:
    return file.read(columns=["source"]).column(0).to_pylist()


def _ids(file: Any) -> Any:
    """Of each row its id and the exchange that it came from."""
    table = file.read(columns=["id", "extra"])
    return zip(table.column("id").to_pylist(), _extra(table, "exchange"), strict=True)


def _subjects(file: Any) -> Any:
    return _extra(file.read(columns=["extra"]), "subject")


def _extra(table: Any, name: str) -> list[Any]:
    import pyarrow.compute as pc

    return pc.map_lookup(table.column("extra"), name, "first").to_pylist()  # type: ignore[no-any-return]


READERS: Mapping[str, Callable[[Any], Any]] = {"source": _sources, "row": _ids, "subject": _subjects}


def matches(what: What, said: Any) -> bool:
    """Whether a cell of the column by which this kind is found is what is recalled."""
    return what.value in said if isinstance(said, tuple) else said == what.value


def _counted(shop: Workshop, kind: Kind) -> dict[str, dict[Any, int]]:
    """Digest of a holder -> how often each value stands in its rows."""
    found: dict[str, dict[Any, int]] = {}
    for number, holder in enumerate(holders(shop)):
        shop.progress("read rows", number, 0)
        counts: dict[Any, int] = {}
        for name, digest in holder.files.items():
            for said in column(shop, digest, READERS[kind]) if name.endswith(".parquet") else ():
                for value in set(said) if isinstance(said, tuple) else (said,):
                    if value:
                        counts[value] = counts.get(value, 0) + 1
        found[holder.digest] = counts
    return found


def _by_rows(shop: Workshop, kind: Kind, value: str, shown: str = "") -> Origins:
    counted = _counted(shop, kind)
    rows = {digest: counts[value] for digest, counts in counted.items() if value in counts}
    if not rows:
        if kind == "subject":
            people = {name for counts in counted.values() for name in counts}
            raise NotFoundError(
                f"No row of any data set is of that person. {len(people):,} people have rows; they are known by keyed "
                "digests only, so none is listed. Captured content is erased by: sartor traffic erase",
                param="value",
                code="subject_not_found",
            )
        known = dict.fromkeys(name for counts in counted.values() for name in counts)
        raise unknown(kind, value, list(known)[:2000], param="value", code=f"{kind}_not_found")
    return Origins(What(kind, value, shown), tuple(rows), rows)


def _source(shop: Workshop, value: str) -> Origins:
    """By its whole title (`csv:tickets.csv`), or by what stands behind the colon, where only one title ends so."""
    counted = _counted(shop, "source")
    titles = {title for counts in counted.values() for title in counts}
    ending = sorted(title for title in titles if title.partition(":")[2] == value)
    title = value if value in titles or len(ending) != 1 else ending[0]
    rows = {digest: counts[title] for digest, counts in counted.items() if title in counts}
    if not rows:
        raise unknown("source", value, titles, param="value", code="source_not_found")
    return Origins(What("source", title), tuple(rows), rows)


def _subject(shop: Workshop, value: str) -> Origins:
    """By the user's name as the application gives it, or by the keyed digest that stands for it."""
    is_mark = re.fullmatch(r"[0-9a-f]{32,64}", value) is not None
    return _by_rows(shop, "subject", value if is_mark else shop.store.traffic.mark(value), shown="")


def _base(shop: Workshop, value: str) -> Origins:
    bases = shop.store.ledger.find(Base, limit=MOST)
    chosen = [base for base in bases if base.name == value or (len(value) >= 8 and base.digest.startswith(value))]
    if not chosen:
        raise unknown("base", value, {base.name for base in bases}, param="value", code="base_not_found")
    return Origins(What("base", chosen[0].name), tuple(base.digest for base in chosen), {})


def _licence(shop: Workshop, value: str) -> Origins:
    """Bases and data sets that carry it; what was made from them follows."""
    holding = [*shop.store.ledger.find(Base, limit=MOST), *holders(shop)]
    chosen = [found for found in holding if value in found.licence.names]
    if not chosen:
        known = {name for found in holding for name in found.licence.names}
        raise unknown("licence", value, known, param="value", code="licence_not_found")
    rows = {found.digest: sum(found.counts.values()) for found in chosen if isinstance(found, Dataset)}
    return Origins(What("licence", value), tuple(found.digest for found in chosen), rows)


def _dataset(shop: Workshop, value: str) -> Origins:
    found = dataset_named(shop, value)
    shown = f"{found.task} {found.digest[:12]}"
    return Origins(What("dataset", found.digest, shown), (found.digest,), {found.digest: sum(found.counts.values())})


def _variant(shop: Workshop, value: str) -> Origins:
    found = variant_of(shop, value)
    return Origins(What("variant", found.digest, f"{found.name} {found.digest[:12]}"), (found.digest,), {})


_FINDERS: Mapping[Kind, Callable[[Workshop, str], Origins]] = {
    "source": _source,
    "base": _base,
    "dataset": _dataset,
    "row": lambda shop, value: _by_rows(shop, "row", value),
    "subject": _subject,
    "licence": _licence,
    "variant": _variant,
}
