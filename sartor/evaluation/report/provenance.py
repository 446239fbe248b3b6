"""The sections about where things come from: curation, test set, lineage, replay, machine."""

from sartor.evaluation.report import words
from sartor.evaluation.report.charts import bar
from sartor.evaluation.report.markup import Safe, join, tag
from sartor.evaluation.report.tables import Column, callout, para, section, short, table, two
from sartor.evaluation.report.view import CurationView, ReportView


def curation(view: ReportView) -> Safe | None:
    """What was done to the rows before anything learned from them."""
    made = view.curation
    if made is None:
        return None
    kept = sum(made.counts.values())
    parts = ", ".join(f"{name} {n:,}" for name, n in made.counts.items())
    read = (
        f"{made.read:,} rows were read; {kept:,} are used: {parts}."
        if made.read is not None
        else f"Rows used: {parts}."
    )
    return section(
        "curation",
        "What was done to the data",
        para(read),
        _curators(made),
        _quarantine(made),
        _leaks(made, view.task.currency),
        tag("ul", *(tag("li", note) for note in made.notes), class_="reasons") if made.notes else None,
    )


def _curators(made: CurationView) -> Safe | None:
    if not made.curators:
        return None
    rows = [[c.name, f"{c.taken:,}", c.says or "–"] for c in made.curators]
    return table(
        "Curators, in the order they ran",
        [Column("Curator"), Column("Rows taken out", figures=True), Column("What it found")],
        rows,
    )


def _quarantine(made: CurationView) -> Safe | None:
    if not made.quarantine:
        return None
    most = max(made.quarantine.values())
    rows = [[reason, f"{n:,}", bar(n / most)] for reason, n in sorted(made.quarantine.items(), key=lambda x: -x[1])]
    return join(
        tag("h3", "Quarantine"),
        para(
            "Rows taken out are kept with their reason, and can be put back by an edit that is itself recorded.",
            class_="note",
        ),
        table(
            "Why rows were taken out",
            [Column("Reason"), Column("Rows", figures=True), Column("Share of the largest")],
            rows,
        ),
    )


def _leaks(made: CurationView, currency: str) -> Safe | None:
    if not made.leaks and made.all_rows is None:
        return None
    columns = [Column("Kind"), Column("Rows", figures=True), Column("What was done")]
    rows = [[leak.kind, f"{leak.rows:,}", leak.action or "–"] for leak in made.leaks]
    effect = None
    if made.all_rows is not None and made.without_near_leaks is not None:
        name = made.metric
        every, clean = (
            f"{words.figure(name, m, currency)} ({words.interval(name, m, currency) or words.rows(m.n)})"
            for m in (made.all_rows, made.without_near_leaks)
        )
        effect = para(
            f"{words.title_of(name)} on all test rows: {every}. Without rows that nearly stand in training: {clean}."
        )
    return join(
        tag("h3", "Leaks between training and test"),
        table("Rows that stand on both sides of a split", columns, rows) if rows else None,
        effect,
    )


def looks(view: ReportView) -> Safe | None:
    """How often the test rows have been read."""
    if view.looks is None:
        return None
    times = {1: "once, for this report", 2: "twice"}.get(view.looks, f"{view.looks} times")
    said = para(f"These {words.rows(view.test_rows) if view.test_rows else 'test rows'} have been looked at {times}.")
    worn = callout(
        "A test set that is read often slowly becomes a training set: each further look makes its figures a little "
        "too good. Fresh labelled rows would restore it."
    )
    return section("looks", "How fresh the test is", said, worn if view.looks > 5 else None)


def lineage(view: ReportView) -> Safe | None:
    """What the picked candidate came from, and what that obliges to."""
    if not view.lineage and view.licence is None:
        return None
    columns = [Column("Role"), Column("What"), Column("Licence"), Column("Digest")]
    rows = [
        [item.role, two(item.name, item.detail), item.licence or "–", short(item.digest) if item.digest else "–"]
        for item in view.lineage
    ]
    return section(
        "lineage",
        "Where it comes from",
        table("Everything that the picked candidate was made from", columns, rows) if rows else None,
        _obligations(view),
    )


def _obligations(view: ReportView) -> Safe | None:
    licence = view.licence
    if licence is None:
        return None
    asked = [tag("li", words.OBLIGATIONS.get(o, o.replace("_", " "))) for o in licence.obligations]
    return join(
        tag("h3", "What the licences ask"),
        para(f"Licences met on the way: {', '.join(licence.names) or 'none'}."),
        tag("ul", *asked, class_="reasons") if asked else para("They ask nothing."),
        callout(f"Not known to the table of licences: {', '.join(licence.unknown)}. An unknown licence stops a release "
                "unless the task's gate allows it by name.") if licence.unknown else None,
    )  # fmt: skip


def replay(view: ReportView) -> Safe | None:
    """How to reach the same verdict again."""
    d = view.decision
    if not (d.replay or d.digest):
        return None
    facts = [("Decision", short(d.digest)) if d.digest else None, ("Policy", d.policy) if d.policy else None,
             ("Decided by", d.who) if d.who else None, ("Signing key", short(d.key_id)) if d.key_id else None,
             ("Time", d.time) if d.time else None]  # fmt: skip
    rows = [list(f) for f in facts if f]
    return section(
        "replay",
        "Check it yourself",
        para("This verifies the signature and judges the same evidence again; one changed byte and it fails."),
        tag("pre", tag("code", d.replay)) if d.replay else None,
        table("The decision", [Column("Field"), Column("Value")], rows) if rows else None,
    )


def machine(view: ReportView) -> Safe | None:
    """On what, and how, times and unit costs were measured."""
    if not view.environment and not view.measuring:
        return None
    rows = [[name, value] for name, value in view.environment.items()]
    return section(
        "machine",
        "How time and cost were measured",
        para(view.measuring) if view.measuring else None,
        table("Measured on", [Column("Part"), Column("What")], rows) if rows else None,
    )
