"""What a task says about learning from its own traffic: harvest, labelling, judges, drift, and when the wheel turns."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sartor.core.section import Pick, Section

Share = Annotated[float, Field(ge=0, le=1)]
Said = Literal["human", "outcome", "code", "judge", "giant", "own"]
"""Who says what the right answer is. `human`, `outcome`, `code`, `judge`: a source of feedback. `giant`: an upstream's
answer that nobody spoke of. `own`: one of our variants' answers that nobody spoke of."""


class Harvest(Section):
    """What of the traffic becomes rows to learn from."""

    trust: tuple[Said, ...] = ("human", "outcome", "code", "judge", "giant")
    """Whose word counts, the most trusted first; others are left out."""
    own_share: Share = 0.0
    """Most of the new training rows whose only label is an answer of our own; counts only where `trust` names `own`."""
    source_share: Share = 0.5
    """Most of the new training rows that one source of feedback (a person, a program, a key) may have given."""
    subject_share: Share = 0.1
    """Most of the new training rows that one user may have asked."""
    test_share: Share = 0.1
    """Share of the groups (user, business key, else text) whose rows are kept for the standing test, never learned."""
    refresh: Literal["never", "grow", "replace"] = "grow"
    """The standing test: stays; takes in kept rows with a person's label; is replaced by the newest of them."""


class Learn(Section):
    """How what came back becomes the next variant."""

    harvest: Harvest = Harvest()
    """What of the traffic becomes rows to learn from."""
    strategies: tuple[Pick, ...] = (Pick(use="scratch"), Pick(use="replay"))
    """Ways to go on from the live variant; which one is used is measured on the task's own past."""
    forgetting: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Most accuracy that a standing suite (an era, a label, what was fixed before) may lose."""


class Labelling(Section):
    """How people's minutes are used."""

    minute_price: Annotated[float, Field(ge=0)] = 1.0
    """Money that a minute of whoever labels costs."""
    seconds_per_row: Annotated[float, Field(gt=0)] = 10.0
    """That a row takes, until it is known better."""
    random_share: Share = 0.1
    """Share of a sitting that is drawn at random, so that estimates stay unbiased."""
    double_share: Share = 0.1
    """Share of the rows that two people label, to know how far they agree."""


class JudgePick(Pick):
    """One judge: a plug-in (`llm`, `rule`, `variant`) and when its word counts."""

    name: str
    """By which feedback names it (`source_id`)."""
    min_golden: Annotated[int, Field(ge=10)] = 50
    """People's answers on which it must have been measured before it counts."""
    min_informedness: Share = 0.5
    """Least share of right verdicts on right answers plus on wrong ones, minus one (Youden's J)."""


class DriftWatch(Section):
    """What is watched for drift."""

    watch: tuple[Literal["input", "answers", "confidence", "out_of_scope", "feedback", "value"], ...] = (
        "input",
        "answers",
        "confidence",
        "out_of_scope",
        "feedback",
        "value",
    )
    """What is compared with the time in which the live variant was released."""
    false_alarm: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Chance that a stream without drift ever raises an alarm, over all that is watched together."""
    window: Annotated[int, Field(ge=50)] = 250
    """Requests that are looked at together."""
    slices: tuple[str, ...] = ()
    """Columns of the input whose values are watched apart."""


class Notify(Section):
    """Where news of the wheel goes."""

    webhook: str = ""
    """URL that is sent a signed JSON document."""
    secret: str = ""
    """Environment variable that holds the webhook's signing secret."""
    allow_private: bool = False
    """Whether the webhook may be on the server's own network."""
    mail: str = ""
    """Address that is sent a mail."""
    on: tuple[Literal["decision", "approval", "drift", "failed", "labels"], ...] = (
        "decision",
        "approval",
        "drift",
        "failed",
    )
    """Which news."""

    @model_validator(mode="after")
    def _one_place(self) -> "Notify":
        if bool(self.webhook) == bool(self.mail):
            raise ValueError("name either a 'webhook' or a 'mail'")
        if self.webhook and not self.secret:
            raise ValueError("name under 'secret' the environment variable with which the webhook is signed")
        return self


class Wheel(Section):
    """When the wheel turns by itself, and what it may do then."""

    schedule: str = ""
    """Five cron fields in UTC (`0 3 * * *`); '' at no set time."""
    after_labels: Annotated[int, Field(ge=1)] | None = None
    """Learn once so many rows have been labelled since the last run."""
    on_drift: Literal["tell", "label", "learn"] = "tell"
    """What an alarm starts: nothing but the news, a sitting, or a run."""
    most_runs_per_day: Annotated[int, Field(ge=1)] = 1
    """However many reasons there are."""
    budget_per_month: Annotated[float, Field(ge=0)] | None = None
    """Money that runs and labels of a calendar month may cost; None: no bound."""
    ship: Literal["approve", "auto"] = "approve"
    """Whether a candidate that passed the gate waits for people or goes live by itself."""
    approvals: Annotated[int, Field(ge=1)] = 1
    """Different people who must approve; 2 is four eyes. Whoever asked for the run does not count then."""
    notify: tuple[Notify, ...] = ()
    """Where news goes."""


class Relabel(Section):
    """One edit of the task's labels. Exactly one of add, retire, split, merge."""

    add: str = ""
    """A label that is new."""
    retire: str = ""
    """A label that is no answer any more; its rows leave training, or go `into` another label."""
    split: str = ""
    """A label that becomes those of `into`; its rows wait for people to say which."""
    merge: tuple[str, ...] = ()
    """Labels that become the one of `into`."""
    into: tuple[str, ...] = ()
    """What the rows become."""

    @model_validator(mode="after")
    def _one_edit(self) -> "Relabel":
        named = [name for name in ("add", "retire", "split", "merge") if getattr(self, name)]
        if len(named) != 1:
            raise ValueError("an edit of the labels is exactly one of add, retire, split, merge")
        wanted = {"add": (0, 0), "retire": (0, 1), "split": (2, 999), "merge": (1, 1)}[named[0]]
        if not wanted[0] <= len(self.into) <= wanted[1]:
            raise ValueError(f"'{named[0]}' takes {wanted[0]} to {wanted[1]} labels under 'into'")
        return self
