"""Reads a feedback as it is sent: names what is wrong with its form, and with a value that is not of its metric's type.

Knows no store: whether the exchange is there is not its concern.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

from sartor.core.errors import AskError, nearest, unknown
from sartor.core.task import FeedbackMetric
from sartor.core.traffic import Feedback

Source = Literal["human", "outcome", "judge", "code"]

SOURCES: Mapping[str, Source] = {
    "human": "human",
    "outcome": "outcome",
    "judge": "judge",
    "code": "code",
    "llm_judge": "judge",
}
"""Names of sources, in lower case -> ours."""

BUILT_IN = ("correct", "demonstration", "comment")
"""Metrics that every task has: whether the answer was right, what it should have been, what somebody says of it."""

ALIASES = {"inference_id": "exchange_id", "metric_name": "metric", "source_type": "source"}
FIELDS = ("exchange_id", "business_key", "metric", "value", "source", "source_id", "rationale", "tags", "id")
LONGEST = {"exchange_id": 128, "business_key": 512, "metric": 128, "source_id": 256, "rationale": 8192, "id": 128}
Reads = Callable[[str], str]
"""Brings an answer that somebody gave to its one form; raises AskError where it can be no answer to the task."""
LONGEST_VALUE = 65_536
"""Characters of a text."""
MOST_TAGS = 32
EXACT = 2**53
"""Whole numbers beyond this are kept as floating point."""


def read(
    body: Mapping[str, Any], *, tenant: str, key: str, at: float, new_id: Callable[[], str], mark: Callable[[str], str]
) -> Feedback:
    """The feedback in a request's body; its value is not checked yet.

    Raises:
        AskError: a field is missing, unknown or of the wrong type; it names neither an exchange nor a business key.
    """
    given = _given(body)
    texts = {name: _text(name, given[name]) for name in LONGEST if name in given}
    if not (texts.get("exchange_id") or texts.get("business_key")):
        raise AskError(
            "A feedback says what became of an exchange: name it by 'exchange_id' (the completion's id), or by the "
            "'business_key' that was given with it.",
            param="exchange_id",
            code="no_exchange",
        )
    for name in ("metric", "value"):
        if name not in given:
            raise AskError(f"The feedback has no '{name}'. Give a metric and its value.", param=name, code="missing")
    return Feedback(
        id=texts.get("id") or new_id(),
        at=at,
        tenant=tenant,
        metric=texts["metric"],
        value=given["value"],
        exchange=texts.get("exchange_id", ""),
        business=mark(texts.get("business_key", "")),
        source=_source(given.get("source", "human")),
        source_id=texts.get("source_id", ""),
        rationale=texts.get("rationale", ""),
        tags=_tags(given.get("tags") or {}),
        key=key,
    )


def _given(body: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, value in body.items():
        field = ALIASES.get(name, name)
        if field not in FIELDS:
            near = nearest(name, [*FIELDS, *ALIASES])
            hint = f" Did you mean '{near}'?" if near else ""
            raise AskError(
                f"A feedback has no field '{name[:60]}'.{hint} It has: {', '.join(FIELDS)}.",
                param=name[:60],
                code="unknown_field",
            )
        if field in given:
            raise AskError(f"'{name}' and '{field}' are the same field: give one.", param=name, code="doubled_field")
        if value is not None or field == "value":
            given[field] = value
    return given


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(name, "a text", value)
    if len(value) > LONGEST[name]:
        raise AskError(
            f"'{name}' may have {LONGEST[name]} characters, not {len(value):,}.", param=name, code="too_long"
        )
    return value


def _source(value: Any) -> Source:
    found = SOURCES.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        known = ", ".join(sorted(SOURCES))
        raise AskError(f"'source' must be one of {known}; got {str(value)[:60]!r}.", param="source", code="bad_source")
    return found


def _tags(value: Any) -> dict[str, str]:
    fits = isinstance(value, Mapping) and all(isinstance(v, str) and len(k) + len(v) <= 1024 for k, v in value.items())
    if not fits or len(value) > MOST_TAGS:
        raise AskError(
            f"'tags' must be an object of at most {MOST_TAGS} short texts; got {str(value)[:60]!r}.",
            param="tags",
            code="bad_tags",
        )
    return dict(cast("Mapping[str, str]", value))


def check(metric: str, value: Any, metrics: Mapping[str, FeedbackMetric], labels: Sequence[str]) -> None:
    """Refuse a value that is not of its metric's type.

    Args:
        metrics: what tasks declare, beside those that all have.
        labels: of the task, where it is known which one that is.

    Raises:
        NotFoundError: there is no such metric; the known ones are listed.
        AskError: the value is of another type; the message names the metric and its type.
    """
    kind = {"correct": "boolean", "demonstration": "label", "comment": "text"}.get(metric)
    if kind is None:
        if metric not in metrics:
            raise unknown("metric", metric[:60], [*metrics, *BUILT_IN], param="metric")
        kind = metrics[metric].type
    if kind == "boolean":
        fits = isinstance(value, bool)
    elif kind == "number":
        fits = isinstance(value, int | float) and not isinstance(value, bool) and _finite(value)
    else:
        fits = isinstance(value, str) and 0 < len(value) <= LONGEST_VALUE
    if not fits:
        raise _wrong("value", f"a {kind}, as the metric '{metric}' is", value)
    if kind == "label" and labels and value not in labels:
        near = nearest(value, labels)
        raise AskError(
            f"'value' of the metric '{metric}' must be a label of the task; {value[:60]!r} is none"
            f"{f'. Did you mean {near!r}?' if near else '.'} Labels: {', '.join(sorted(labels)[:20])}"
            f"{f' and {len(labels) - 20} more' if len(labels) > 20 else ''}.",
            param="value",
            code="unknown_label",
        )


def cleaned(said: Feedback, redact: Callable[[str], str]) -> Feedback:
    """The feedback as it is kept: no personal data in what somebody wrote, numbers that any reader takes."""
    value = said.value
    if said.metric == "comment":
        value = redact(value)
    elif isinstance(value, int) and abs(value) > EXACT:
        value = float(value)
    return replace(said, value=value, rationale=redact(said.rationale))


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value) and abs(value) < 1e300
    except OverflowError:
        return False


def _wrong(name: str, wanted: str, value: Any) -> AskError:
    return AskError(f"'{name}' must be {wanted}; got {str(value)[:60]!r}.", param=name, code="wrong_type")
