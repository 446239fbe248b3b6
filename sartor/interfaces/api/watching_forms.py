"""What the addresses of judges and drift take, and their verbs over HTTP."""

from typing import Annotated, Any

from pydantic import Field

from sartor.interfaces.api.endpoint import Fields
from sartor.interfaces.api.forms import Line
from sartor.pipeline.workshop import Workshop

Answers = Annotated[int, Field(ge=1, le=1000)]


class Measuring(Fields):
    """How a judge is measured."""

    limit: Answers = 1000
    rows: bool = False


class Asking(Fields):
    """What a judge is asked about."""

    since: Line = ""
    limit: Answers = 200
    budget: Annotated[float, Field(ge=0)] | None = None


def measure_judge(shop: Workshop, task: str, name: str, asked: Measuring) -> Any:
    """Hold a judge against people's verdicts on the same answers."""
    from sartor.pipeline import judges

    return judges.shown(judges.measure_judge(shop, task, name, limit=asked.limit, rows=asked.rows))


def run_judge(shop: Workshop, task: str, name: str, asked: Asking) -> Any:
    """Ask a judge about answers that nobody has looked at, the newest first; what it costs is booked."""
    from sartor.pipeline import judges
    from sartor.pipeline.traffic import moment

    since = moment(asked.since, "since") if asked.since else 0.0
    return judges.judge(shop, task, name, since=since, limit=asked.limit, budget=asked.budget)
