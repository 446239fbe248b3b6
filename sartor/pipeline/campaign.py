"""A change over many tasks at once: one job that keeps so many rebuilds under way, a board, one summary.

The campaign's job holds no place while it waits: it looks, asks for the next rebuilds, and is begun again a moment
later. Whatever is done stands in the jobs and the ledger, so a campaign that is killed goes on where it was.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from sartor.core.errors import ConflictError, unknown
from sartor.core.jobs import Context, Job, JobRequest, Later
from sartor.core.records import Report
from sartor.pipeline.campaign_plan import Campaign, plan_campaign, valid
from sartor.pipeline.rebuild import STATES
from sartor.pipeline.work import run_here
from sartor.pipeline.workshop import Workshop

KIND, PART = "campaign", "rebuild"
LOOK_SECONDS = 1.0
"""Between two looks of a campaign at its rebuilds."""
MOST = 100_000


def start_asked(shop: Workshop, asked: Any) -> dict[str, Any]:
    """Begin what came over HTTP; its board.

    Raises:
        NotFoundError, AskError, ConflictError: as `start_campaign`.
    """
    return board(shop, start_campaign(shop, valid(dict(asked), "the request")).id)


def start_campaign(shop: Workshop, campaign: Campaign, *, here: bool = False) -> Job:
    """Ask for it; workers do the rest.

    Args:
        here: whether the rebuilds are done where the campaign itself is done, one after the other.

    Raises:
        NotFoundError, AskError: as `plan_campaign`.
        ConflictError: a campaign of this name is under way.
    """
    planned = plan_campaign(shop, campaign)
    under_way = [job for job in shop.store.jobs.find(kind=KIND, limit=MOST) if not job.has_ended]
    if any(job.args.get("name") == campaign.name for job in under_way):
        raise ConflictError(
            f"A campaign '{campaign.name}' is under way. See: sartor campaign status", code="campaign_under_way"
        )
    args = {
        "name": campaign.name,
        "why": campaign.why,
        "change": campaign.change.body(),
        "at_once": campaign.at_once,
        "here": here,
        "forecast": {name: planned[name] for name in ("cpu_seconds", "wall_seconds", "cost", "currency")},
        "passed_over": planned["passed_over"],
        "parts": [{name: part[name] for name in ("task", "start", "contract")} for part in planned["parts"]],
    }
    return shop.store.jobs.submit(
        JobRequest(KIND, args, once=f"{KIND} {campaign.name}", who=shop.who, most_attempts=10)
    )


def campaign_job(shop: Workshop, context: Context) -> dict[str, Any]:
    """A campaign as a durable job: asks for rebuilds as others end, then sums up."""
    job = context.job
    parts: list[Mapping[str, Any]] = list(job.args["parts"])
    while True:
        context.check()
        known = {part.task: part for part in shop.store.jobs.find(part_of=job.id, limit=MOST)}
        under_way = [part for part in known.values() if not part.has_ended]
        missing = [part for part in parts if part["task"] not in known]
        shop.progress("rebuilds", len(known) - len(under_way), len(parts))
        if not missing and not under_way:
            break
        room = max(0, int(job.args["at_once"]) - len(under_way))
        asked = shop.store.jobs.submit_many(_request(job, part) for part in missing[:room])
        if not job.args.get("here"):
            raise Later(
                LOOK_SECONDS, f"{len(parts) - len(missing) - len(under_way)} of {len(parts)} rebuilds have ended"
            )
        for part in (*under_way, *asked):
            run_here(shop, JobRequest(**{name: getattr(part, name) for name in JobRequest.__dataclass_fields__}))
    done = context.step("summary", lambda: _summed(shop, job))
    context.say(f"{job.args['name']}: {done['says']}")
    return done


def _request(job: Job, part: Mapping[str, Any]) -> JobRequest:
    return JobRequest(
        PART,
        {"change": job.args["change"], "campaign": job.id, "start": part["start"], "contract": part["contract"]},
        task=part["task"],
        tenant=job.tenant,
        queue=job.queue,
        priority=job.priority - 1,
        once=f"{KIND} {job.id} {part['task']}",
        who=job.who,
        waits_for=job.id,
    )


def _summed(shop: Workshop, job: Job) -> dict[str, Any]:
    """The summary, kept as a report."""
    found = board(shop, job.id)
    facts = {name: found[name] for name in ("name", "why", "change", "states", "money", "parts", "passed_over")}
    report = Report(purpose="campaign", subject=job.id, title=str(job.args["name"]), facts=facts)
    shop.store.ledger.put(report)
    states = ", ".join(f"{count} {state}" for state, count in found["states"].items() if count)
    money = found["money"]
    says = f"{states}; {money['released']} released"
    says += f", {money['saved_a_month']:,.2f} saved a month, {money['spent']:,.4f} spent"
    return {"report": report.digest, "says": says, "states": found["states"], "money": money}


def board(shop: Workshop, ident: str) -> dict[str, Any]:
    """How a campaign stands: each task's state, and the sums.

    Raises:
        NotFoundError: there is no campaign of this id or name; those there are get listed.
    """
    job = campaign_named(shop, ident)
    known = {part.task: part for part in shop.store.jobs.find(part_of=job.id, limit=MOST)}
    lines = [_line(part["task"], known.get(part["task"])) for part in job.args["parts"]]
    counts = Counter(line["state"] for line in lines)
    ended = [line for line in lines if line["state"] in STATES]
    money = {
        "spent": sum(line["spent"] for line in lines),
        "saved_a_month": sum(line["saved_a_month"] for line in lines),
        "released": sum(bool(line["version"]) for line in lines),
        "waiting_for_people": sum(line["waits"] for line in lines),
        "currency": job.args["forecast"]["currency"],
    }
    order = (*STATES, "queued", "running", "paused", "cancelled", "not begun")
    return {
        "id": job.id,
        "name": job.args["name"],
        "why": job.args["why"],
        "state": job.state,
        "change": job.args["change"],
        "tasks": len(lines),
        "ended": len(ended),
        "states": {state: counts[state] for state in order if counts[state] or state in STATES},
        "money": money,
        "forecast": job.args["forecast"],
        "seconds": (job.ended - job.created) if job.ended else None,
        "passed_over": job.args["passed_over"],
        "parts": lines,
        "report": job.result.get("report", ""),
    }


def _line(task: str, part: Job | None) -> dict[str, Any]:
    names = ("version", "says", "verdict", "variant")
    numbers = ("money_now", "money_then", "saved", "saved_a_month", "spent", "cpu_seconds")
    line: dict[str, Any] = {"task": task, "state": "not begun", "job": "", "attempts": 0, "waits": False}
    line |= dict.fromkeys(names, "") | dict.fromkeys(numbers, 0.0)
    if part is None:
        return line
    line |= {"job": part.id, "attempts": part.attempts, "state": part.state}
    if part.state in ("failed", "dead"):
        return line | {"state": "failed", "says": part.error}
    if part.state == "succeeded":
        return line | {name: part.result[name] for name in (*names, *numbers, "state", "waits")}
    return line


def campaign_named(shop: Workshop, ident: str) -> Job:
    """The campaign with this job id or name; of a name the newest.

    Raises:
        NotFoundError: there is none; those there are get listed.
    """
    known = shop.store.jobs.find(kind=KIND, limit=MOST)
    for job in known:
        if ident in (job.id, job.args.get("name")):
            return job
    raise unknown("campaign", ident, [str(job.args.get("name")) for job in known], param="ident")


def list_campaigns(shop: Workshop) -> list[dict[str, Any]]:
    """Every campaign, newest first, without its tasks."""
    found = [board(shop, job.id) for job in shop.store.jobs.find(kind=KIND, limit=1000)]
    return [{name: value for name, value in line.items() if name not in ("parts", "passed_over")} for line in found]


def pause_campaign(shop: Workshop, ident: str) -> dict[str, Any]:
    """Begin no more rebuilds; those under way stop at their next step.

    Raises:
        NotFoundError: there is none.
        ConflictError: it has ended.
    """
    job = campaign_named(shop, ident)
    shop.store.jobs.ask(job.id, "pause", who=shop.who)
    for part in _under_way(shop, job):
        _unless_ended(shop, part, "pause")
    return board(shop, job.id)


def resume_campaign(shop: Workshop, ident: str) -> dict[str, Any]:
    """Go on.

    Raises:
        NotFoundError: there is none.
        ConflictError: it has ended.
    """
    job = campaign_named(shop, ident)
    for part in _under_way(shop, job):
        if part.state == "paused" or part.asked == "pause":
            shop.store.jobs.resume(part.id, who=shop.who)
    shop.store.jobs.resume(job.id, who=shop.who)
    return board(shop, job.id)


def cancel_campaign(shop: Workshop, ident: str) -> dict[str, Any]:
    """Stop it for good; what is released stays so.

    Raises:
        NotFoundError: there is none.
    """
    job = campaign_named(shop, ident)
    shop.store.jobs.ask(job.id, "cancel", who=shop.who)
    for part in _under_way(shop, job):
        _unless_ended(shop, part, "cancel")
    return board(shop, job.id)


def _under_way(shop: Workshop, job: Job) -> Iterator[Job]:
    return (part for part in shop.store.jobs.find(part_of=job.id, limit=MOST) if not part.has_ended)


def _unless_ended(shop: Workshop, part: Job, what: Any) -> None:
    try:
        shop.store.jobs.ask(part.id, what, who=shop.who)
    except ConflictError:
        return


def wait_here(shop: Workshop, ident: str) -> dict[str, Any]:
    """Do a campaign in this process, or wait for whoever does it."""
    job = campaign_named(shop, ident)
    run_here(shop, JobRequest(**{name: getattr(job, name) for name in JobRequest.__dataclass_fields__}))
    return board(shop, job.id)
