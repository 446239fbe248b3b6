"""What a campaign is, which tasks it touches, how long it takes and what that costs. Makes nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from sartor.core.errors import AskError, SartorError, unknown
from sartor.core.records import Dataset, Variant
from sartor.core.section import Section
from sartor.core.shelf import explain
from sartor.core.task import Task
from sartor.data.files import existing
from sartor.hub.catalogue_reading import entry
from sartor.pipeline.alteration import Alteration, altered
from sartor.pipeline.plan import plan_candidates
from sartor.pipeline.serve import contract_of, variant_named
from sartor.pipeline.workshop import Workshop
from sartor.registry.variants import LIVE, task_names


class Campaign(Section):
    """What a campaign does."""

    name: str
    """For people."""
    tasks: tuple[str, ...] = ("*",)
    """Names of tasks, `*` for anything; of these, those that the change touches."""
    bases: dict[str, str] = Field(default_factory=dict)
    """Base -> the one that takes its place; '' leaves its candidates out."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Dotted key of the task's file -> its new value, e.g. value.escalate.price."""
    curate: bool = False
    """Curate the rows again, by today's curators."""
    at_once: Annotated[int, Field(ge=1, le=1000)] = 2
    """Rebuilds under way at the same time, at most; workers have bounds of their own."""
    why: str = ""
    """The reason, for people."""

    @property
    def change(self) -> Alteration:
        """What becomes different for each task."""
        return Alteration(bases=self.bases, settings=self.settings, curate=self.curate)


@dataclass(frozen=True)
class Part:
    """One task of a campaign, as it stood when that was planned."""

    task: str
    start: str
    """Digest of the live variant."""
    contract: str
    """Digest of the contract that is changed."""
    steps: int
    cached: int
    """Steps that were done before."""
    seconds: float
    """About how many CPU seconds the others take."""


def read_campaign(path: Path) -> Campaign:
    """A campaign's file.

    Raises:
        NotFoundError, AskError: there is none, it is no YAML, or something in it does not fit.
    """
    import yaml

    try:
        body = yaml.safe_load(existing(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeError) as error:
        raise AskError(f"'{path}' is no YAML: {error}", code="bad_yaml") from error
    return valid(body if isinstance(body, dict) else {}, str(path))


def campaign_of(
    name: str, tasks: tuple[str, ...], bases: dict[str, str], settings: Sequence[str], **how: Any
) -> Campaign:
    """A campaign from options.

    Args:
        settings: `key=value`, the value as YAML reads it.

    Raises:
        AskError: a setting has no `=`, or something does not fit.
    """
    import yaml

    read: dict[str, Any] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise AskError(f"'{text}' is no setting: write key=value, e.g. value.escalate.price=2.", param="set")
        read[key] = yaml.safe_load(value)
    said = [*(f"{old} to {new or 'nothing'}" for old, new in bases.items()), *settings]
    named = name or ", ".join(said) or ("curated again" if how.get("curate") else "made again")
    return valid({"name": named, "tasks": tasks, "bases": bases, "settings": read, **how}, "the options")


def valid(body: Mapping[str, Any], where: str) -> Campaign:
    """The campaign that a body says.

    Raises:
        AskError: something does not fit.
    """
    try:
        return Campaign.model_validate(body)
    except ValidationError as error:
        raise AskError(
            f"The campaign in {where} does not fit: {explain(error, Campaign)}.", code="bad_campaign"
        ) from error


def plan_asked(shop: Workshop, asked: Any) -> dict[str, Any]:
    """Plan what came over HTTP.

    Raises:
        NotFoundError, AskError: as `plan_campaign`.
    """
    return plan_campaign(shop, valid(dict(asked), "the request"))


def plan_campaign(shop: Workshop, campaign: Campaign) -> dict[str, Any]:
    """Which tasks it touches, how long it takes and what that costs; makes nothing.

    Raises:
        NotFoundError: no task fits the names, or a base is unknown.
        AskError: the change touches none of them.
    """
    for base in {*campaign.bases, *campaign.bases.values()} - {""}:
        entry(base)
    parts, passed = _parts(shop, campaign)
    seconds = sum(part.seconds for part in parts)
    return {
        "name": campaign.name,
        "change": campaign.change.body(),
        "tasks": len(parts),
        "passed_over": passed,
        "cpu_seconds": seconds,
        "wall_seconds": seconds / campaign.at_once,
        "cost": seconds * shop.second_price,
        "currency": shop.currency,
        "at_once": campaign.at_once,
        "parts": [asdict(part) for part in parts],
    }


def _parts(shop: Workshop, campaign: Campaign) -> tuple[list[Part], dict[str, str]]:
    """Tasks that the change touches, and why others are passed over."""
    ledger = shop.store.ledger
    live = [name for name in task_names(ledger) if ledger.resolve(name + LIVE)]
    chosen = [name for name in live if any(fnmatchcase(name, wanted) for wanted in campaign.tasks)]
    if not chosen:
        raise unknown("live task", ", ".join(campaign.tasks), live, param="tasks", code="task_not_found")
    parts: list[Part] = []
    passed: dict[str, str] = {}
    for number, name in enumerate(chosen):
        shop.progress("plan", number, len(chosen))
        try:
            parts.append(_part(shop, name, campaign))
        except SartorError as error:
            passed[name] = error.message
    if not parts:
        raise AskError(
            f"The change touches none of {len(chosen)} tasks: {next(iter(passed.values()))}", code="nothing_to_change"
        )
    return parts, passed


def _part(shop: Workshop, name: str, campaign: Campaign) -> Part:
    pointer = shop.store.ledger.resolve(name + LIVE)
    assert pointer is not None
    variant, stated = variant_named(shop, pointer.digest), contract_of(shop, name)
    before = Task.model_validate(stated.contract)
    task = altered(before, campaign.change)
    if campaign.bases and not campaign.settings and not _uses(variant, before, campaign):
        raise AskError(f"'{name}' does not use {', '.join(campaign.bases)}.", code="not_touched")
    dataset = shop.store.ledger.get(variant.data)
    assert isinstance(dataset, Dataset)
    steps = plan_candidates(shop, task, dataset)
    # A base is fetched once, whoever needs it first.
    steps = [step for step in steps if step.verb != "fetch"]
    seconds = sum(step.seconds for step in steps if not step.cached)
    return Part(name, pointer.digest, stated.digest, len(steps), sum(step.cached for step in steps), seconds)


def _uses(variant: Variant, task: Task, campaign: Campaign) -> bool:
    return variant.base in campaign.bases or any(c.base in campaign.bases for c in task.candidates)
