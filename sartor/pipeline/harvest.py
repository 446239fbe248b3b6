"""Harvest: what traffic taught, as an artifact of rows with their provenance. Trains nothing and moves nothing.

The artifact holds
- `rows.parquet`: rows as in a data set. `extra` says of each: `said_by` and `by` (who), `sure`, `exchange`, `tenant`,
  `subject`, `business`, `at`, `era`, `side`, what was `answered` and by whom, `arm` and `propensity`, `audit`;
- `exchanges.parquet`: every exchange that was looked at: its id, tenant, subject, business key, its label and who
  named it (`by`), the variant or upstream that answered, and its `fate`. By it a recall finds each harvest in which an
  exchange of a person or of a source stands, without reading a text;
- `subjects.json`: digest of a user -> ids of their rows, and `sources.json`: source -> ids of the rows it labelled;
- `sides.json`: digest of a group (user, case or text) -> its side of the standing test;
- `rows_said.json`: what people said of rows of data sets (`row:ID`), by the row's id;
- `quarantine.parquet`: rows suspected of poison, with reasons; `to_label.json`: exchanges that a person should look
  at, with what they are known not to be; `harvest.json`: the figures.
Texts stand in the two files of rows alone.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sartor.core.canonical import digest
from sartor.core.errors import StoreError
from sartor.core.licence import Licence
from sartor.core.records import Artifact, Dataset, Record, Variant
from sartor.core.rows import Row
from sartor.core.task import Task
from sartor.data.curator import Bench
from sartor.data.snapshot import as_dict, read_json, write_json, write_rows, write_taken
from sartor.feedback.caps import Entry, cap
from sartor.feedback.noise import Noise
from sartor.pipeline.alteration import leaves
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.harvest_reading import Read, Spoken, known_labels, read_content, said_of_rows, spoken
from sartor.pipeline.harvest_rows import CURATORS, Judged, Sifted, shown_values, sift, verdicts_on_rows, weigh
from sartor.pipeline.memo import Step, once
from sartor.pipeline.origins import What
from sartor.pipeline.recall_kept import recalls
from sartor.pipeline.serve import contract_of
from sartor.pipeline.teachers import terms_of
from sartor.pipeline.workshop import Workshop

MODULES = (
    "sartor.pipeline.harvest_rows",
    "sartor.feedback.caps",
    "sartor.data.curators.personal_data",
    "sartor.data.curators.poison",
)
POISON = "poison"
UNTAUGHT = ("giant", "own")
"""Kinds of sources that gave no feedback: their share is not a source's."""


@dataclass(frozen=True)
class Known:
    """What bears on a harvest beside the traffic."""

    sides: Mapping[str, str]
    """Group -> side, where that was decided under another share."""
    rows_said: Mapping[str, Any]
    reference: Dataset | None
    """Rows that poison is told from: those of the live variant."""
    recalled: tuple[What, ...] = ()
    """What was taken back: it is not harvested again."""


def harvest(shop: Workshop, task: Task, *, tenant: str | None = None, until: float | None = None) -> Artifact:
    """What the task's traffic taught so far; the same traffic gives the same artifact.

    Args:
        tenant: only this tenant's traffic; None: all.
        until: seconds since 1970; what happened and was said from then on is not looked at.

    Raises:
        NotFoundError: the labels of the task are not known.
    """
    labels = known_labels(shop, task)
    found = spoken(shop, task, labels, tenant=tenant, until=until)
    judged, noise = weigh(found, task)
    named = [one.spoken.exchange for one in judged if one.verdict.label]
    contents = {exchange.id: read_content(shop, task, exchange) for exchange in named}
    rows_said = verdicts_on_rows(said_of_rows(shop, task, tenant=tenant, until=until), labels, task)
    about = Known(_earlier_sides(shop, task), rows_said, live_data(shop, task), tuple(recalls(shop)))
    step = _step(task, labels, found, contents, tenant, about)

    def work(folder: Path) -> Mapping[str, Record]:
        return {"harvest": _make(shop, task, folder, judged, noise, contents, about)}

    made = once(shop, step, work)["harvest"]
    assert isinstance(made, Artifact)
    return made


def harvest_task(shop: Workshop, task: str, tenant: str | None = None) -> dict[str, Any]:
    """What would be learned for a task that was run, as JSON.

    Raises:
        NotFoundError: no such task was ever run, or its labels are not known.
    """
    spec = Task.model_validate(contract_of(shop, task).contract)
    made = harvest(shop, spec, tenant=tenant)
    return {"harvest": made.digest, "task": task} | report_of(shop, made)


def report_of(shop: Workshop, made: Artifact) -> dict[str, Any]:
    """The figures of a harvest."""
    return read_json(shop.store.folder(made) / "harvest.json")


def live_data(shop: Workshop, task: Task) -> Dataset | None:
    """The data set of the live variant; None where nothing is live."""
    live = shop.store.ledger.resolve(f"{task.name}@live")
    variant = shop.store.ledger.get(live.digest) if live else None
    found = shop.store.ledger.get(variant.data) if isinstance(variant, Variant) and variant.data else None
    return found if isinstance(found, Dataset) else None


def _step(
    task: Task,
    labels: Sequence[str],
    found: Sequence[Spoken],
    contents: Mapping[str, Read],
    tenant: str | None,
    about: Known,
) -> Step:
    """The memo's view: everything that was said, every input, and all of the task that bears on it."""
    traffic = [
        [asdict(one.exchange), one.business, [asdict(word) for word in one.heard.words], list(one.heard.unknown)]
        for one in found
    ]
    texts = {name: [read.state, read.inputs, read.text] for name, read in contents.items()}
    contract = task.body()
    params = {
        "harvest": contract["learn"]["harvest"],
        "curate": contract["data"]["curate"],
        "judges": contract["judges"],
        "feedback": contract["feedback"],
        "input": contract["input"],
        "labels": list(labels),
        "relabel": contract["relabel"],
        "tenant": tenant,
    }
    inputs = {"traffic": digest(traffic), "texts": digest(texts), "sides": digest(dict(about.sides))}
    inputs |= {"rows": digest(dict(about.rows_said))}
    inputs |= {"reference": about.reference.digest} if about.reference else {}
    params |= {"recalled": [[what.kind, what.value] for what in about.recalled]} if about.recalled else {}
    return Step("harvest", task.name, "harvest", MODULES, inputs, params, task.seed)


def _make(
    shop: Workshop,
    task: Task,
    folder: Path,
    judged: Sequence[Judged],
    noise: Mapping[str, Noise],
    contents: Mapping[str, Read],
    about: Known,
) -> Artifact:
    sifted = sift(task, judged, contents, about.sides)
    gone = {row.id for row in sifted.rows if any(leaves(row, what) for what in about.recalled)}
    sifted.rows = [row for row in sifted.rows if row.id not in gone]
    sifted.fates |= dict.fromkeys(gone, "recalled")
    quarantined, poison = _quarantine(shop, task, sifted, about.reference)
    caps = _cap(task, sifted)
    facts = _facts(task, judged, sifted, noise, len(about.rows_said)) | {"caps": caps, "quarantined": poison}
    write_rows(folder / "rows.parquet", sifted.rows)
    write_taken(folder / "quarantine.parquet", quarantined)
    write_json(folder / "to_label.json", {"to_label": sifted.to_label})
    write_json(folder / "rows_said.json", dict(about.rows_said))
    _write_whose(folder, judged, sifted)
    unknown = Counter(value for one in judged for value in one.spoken.heard.unknown)
    write_json(folder / "harvest.json", facts | {"unknown_labels": shown_values(unknown)})
    own = {row.extra["answered_by"] for row in sifted.rows if row.extra["said_by"] == "own"}
    giants = sorted({row.extra["answered_by"] for row in sifted.rows if row.extra["said_by"] == "giant"})
    return Artifact(
        name=f"{task.name}/harvest",
        files=shop.store.vault.put_folder(folder),
        parents={f"labelled by {variant[:12]}": variant for variant in sorted(own) if len(variant) == 64},
        made_by="harvest",
        licence=Licence.of("owned", *(name for giant in giants for name in terms_of(shop, task, giant))),
        facts=facts,
    )


def _quarantine(
    shop: Workshop, task: Task, sifted: Sifted, reference: Dataset | None
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Take suspected poison out of both sides: a poisoned test would let the poison pass.

    Only who sends feedback is suspected. What models answered is noise, of which the estimate is known. A task that
    lists the curator with `action: report` keeps the rows.
    """
    plugin = CURATORS.take(POISON)
    settings = {pick.use: pick.settings for pick in task.data.curate}.get(POISON, {})
    known = list(open_dataset(shop, reference).splits["train"]) if reference else []
    known = [replace(row, extra={}) for row in known if row.extra.get("said_by", "given") == "given"]
    looked = [replace(row, extra=_voice(row)) for row in sifted.rows if row.extra["said_by"] not in UNTAUGHT]
    how = {"action": "drop"} | settings | {"voice": "voice", "kind": "kind"}
    curated = plugin([*known, *looked], plugin.read(how), Bench({}, task.seed, shop.progress))
    own = {row.id: row for row in sifted.rows}
    taken = [replace(t, row=own[t.row.id]) for t in curated.taken if t.row.id in own]
    gone = {t.row.id for t in taken}
    sifted.rows = [row for row in sifted.rows if row.id not in gone]
    sifted.fates |= dict.fromkeys(gone, "quarantined")
    sifted.to_label += [{"exchange": t.row.id, "why": "suspected poison", "not": [], "said": []} for t in taken]
    entries = [
        {**as_dict(t.row), "split": t.row.extra["side"], "curator": POISON, "reason": t.reason, "detail": t.detail}
        for t in taken
    ]
    return entries, dict(sorted(Counter(t.reason for t in taken).items()))


def _voice(row: Row) -> dict[str, str]:
    """Who gave the label, the user too where the sender named nobody; and whether it corrects an answer."""
    by, subject = row.extra["by"], row.extra.get("subject", "")
    named = not (by.endswith(":") or ":key-" in by)
    corrects = row.extra.get("answered", row.label) != row.label
    return {"voice": by if named or not subject else f"{by}/{subject}", "kind": "corrects" if corrects else "confirms"}


def _cap(task: Task, sifted: Sifted) -> dict[str, Any]:
    """Shares of the rows that would train; the standing test takes people's and outcomes' rows alone anyway."""
    entries = [
        Entry(
            row.id,
            row.extra["said_by"] == "own",
            "" if row.extra["said_by"] in UNTAUGHT else row.extra["by"],
            row.extra.get("subject", ""),
        )
        for row in sifted.rows
        if row.extra["side"] == "train"
    ]
    capped = cap(entries, task.learn.harvest)
    sifted.rows = [row for row in sifted.rows if row.id not in capped.left_out]
    sifted.fates |= capped.left_out
    return capped.told


def _facts(
    task: Task, judged: Sequence[Judged], sifted: Sifted, noise: Mapping[str, Noise], rows_said: int
) -> dict[str, Any]:
    """The figures: no text, no exchange, no user."""

    def count(of: str) -> dict[str, int]:
        return dict(sorted(Counter(row.extra.get(of, "") for row in sifted.rows).items()))

    fates = Counter(sifted.fates.values())
    times = [row.extra["at"] for row in sifted.rows]
    return {
        "exchanges": len(judged),
        "rows": len(sifted.rows),
        "sides": count("side"),
        "said_by": count("said_by"),
        "sources": count("by"),
        "eras": count("era"),
        "labels": dict(sorted(Counter(row.label or "" for row in sifted.rows).items())),
        "audit_rows": sum(row.extra.get("audit") == "random" for row in sifted.rows),
        "rows_said": rows_said,
        "conflicts": fates["conflict"],
        "not_this": fates["not this"],
        "left_out": dict(sorted(fates.items())),
        "to_label": len(sifted.to_label),
        "noise": {who: measured.body() for who, measured in noise.items()},
        "test_share": task.learn.harvest.test_share,
        "newest": max(times, default=""),
    }


def _write_whose(folder: Path, judged: Sequence[Judged], sifted: Sifted) -> None:
    """Whose each exchange is: by these files a recall is exact."""
    import pyarrow as pa
    from pyarrow import parquet

    write_json(folder / "sides.json", dict(sorted(sifted.sides.items())))
    learned = {row.id: row for row in sifted.rows}
    records = [
        {
            "exchange": one.spoken.exchange.id,
            "tenant": one.spoken.exchange.tenant,
            "subject": one.spoken.exchange.subject,
            "business": one.spoken.business,
            "label": one.verdict.label,
            "by": one.verdict.word.source if one.verdict.word else "",
            "variant": one.spoken.exchange.variant,
            "fate": learned[name].extra["side"] if name in learned else sifted.fates[name],
        }
        for one in judged
        for name in (one.spoken.exchange.id,)
    ]
    names = ("exchange", "tenant", "subject", "business", "label", "by", "variant", "fate")
    table = pa.Table.from_pylist(records, schema=pa.schema([(name, pa.string()) for name in names]))
    parquet.write_table(
        table, folder / "exchanges.parquet", compression="zstd", write_statistics=False, store_schema=False
    )
    for file, of in (("subjects.json", "subject"), ("sources.json", "by")):
        whose: defaultdict[str, list[str]] = defaultdict(list)
        for row in sifted.rows:
            if row.extra.get(of):
                whose[row.extra[of]].append(row.id)
        write_json(folder / file, {name: sorted(ids) for name, ids in sorted(whose.items())})


def _earlier_sides(shop: Workshop, task: Task) -> dict[str, str]:
    """Sides of groups that were decided under another `test_share`: a row's side never changes."""
    share = task.learn.harvest.test_share
    for made in shop.store.ledger.find(Artifact, name=f"{task.name}/harvest", limit=1000):
        if made.facts.get("test_share") != share:
            return _sides_of(shop, made)
    return {}


def _sides_of(shop: Workshop, made: Artifact) -> dict[str, str]:
    try:
        return {name: str(side) for name, side in read_json(shop.store.folder(made) / "sides.json").items()}
    except (StoreError, OSError):
        return {}
