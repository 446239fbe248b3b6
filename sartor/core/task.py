"""The contract of a task, as one YAML file says it and the ledger keeps it. Unknown keys are refused."""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from sartor.core.relabel import added, gone
from sartor.core.section import Pick, Section
from sartor.core.sweeping import Sweep
from sartor.core.value import Value
from sartor.core.wheel import DriftWatch, JudgePick, Labelling, Learn, Relabel, Wheel

NAME = re.compile(r"^[a-z0-9][a-z0-9._-]{0,127}$")


class SourcePick(Pick):
    """A source of rows, with what the project must know about any source."""

    licence: str = ""
    """Licence of these rows: `owned`, or a name of `core.licence`. Empty counts as unknown."""
    split: Literal["train", "validation", "test", "unlabelled"] | None = None
    """The split that all its rows belong to; None: divided by `data.split`. Of `unlabelled` rows the texts alone are
    read; recipes such as `student` learn from them."""
    labelled_by: str = ""
    """The model that gave these rows' labels, where no person did: an upstream, or a hosted model of the catalogue. Its
    terms become part of the licence."""


class PromptMessage(Section):
    """One message of the prompt that an application sends."""

    role: Literal["developer", "system", "user", "assistant"]
    """Whose it is."""
    content: str
    """Its text; `{column}` stands for an input, `{{` and `}}` for braces."""


class InputSpec(Section):
    """How the input is read, from rows and from chat messages."""

    columns: tuple[str, ...] = ("text",)
    """Columns of a row that are the input."""
    template: str = ""
    """Text that models see, with {column} places; empty: the columns joined by line breaks."""
    chat: Literal["last_user", "all_user", "json", "pointer", "template"] = "last_user"
    """From a chat: the last user message, all of them joined, the last one read as a JSON object of columns, a JSON
    pointer into the request, or the holes of the prompt that the application sends."""
    pointers: dict[str, str] = Field(default_factory=dict)
    """Column -> JSON pointer into the request, e.g. {text: /messages/1/content} (chat `pointer`)."""
    prompt: tuple[PromptMessage, ...] = ()
    """The application's prompt (chat `template`); `sartor task learn-input` infers it from traffic."""

    def render(self, inputs: Mapping[str, str]) -> str:
        """The text of one input."""
        if not self.template:
            return "\n".join(inputs.get(c, "") for c in self.columns)
        return re.sub(r"\{(\w+)\}", lambda m: inputs.get(m[1], ""), self.template)


class SplitSpec(Section):
    """How rows are divided where the source does not say."""

    test: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of the rows that test."""
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.15
    """Share of the rows by which choices are made."""
    column: str | None = None
    """Column that already says train, validation or test; empty cells are divided by the shares above."""
    by_time: bool = False
    """The newest rows are the test rows (needs `time`)."""


class DataSpec(Section):
    """Where rows come from and what is done to them."""

    sources: Annotated[tuple[SourcePick, ...], Field(min_length=1)]
    """Where rows come from; at least one."""
    label: str = "label"
    """Column with the right answer."""
    scores: str | None = None
    """Column with a teacher's probabilities: a JSON object of label and number. A student learns from them."""
    rationale: str | None = None
    """Column that says why the answer is right, where a teacher said so."""
    group: str | None = None
    """Column whose equal values stay on one side of the split: a customer, a document."""
    time: str | None = None
    """Column with the row's date, ISO 8601."""
    levels: tuple[str, ...] = ()
    """Columns with the broader classes of the label, nearest first."""
    slices: tuple[str, ...] = ()
    """Columns whose values are inspected apart."""
    curate: tuple[Pick, ...] = (Pick(use="normalise"), Pick(use="duplicates"), Pick(use="conflicts"))
    """Curators, in the order in which they work."""
    split: SplitSpec = SplitSpec()
    """How rows are divided."""
    on_leak: Literal["stop", "drop_train"] = "stop"
    """Training rows that stand in the test too: stop, or take them out of training."""
    edits: tuple[str, ...] = ()
    """Ids of quarantined rows that a person put back (written by `sartor data restore`)."""


class AnswerSpec(Section):
    """What an answer looks like, where it is no label (kinds `extract` and `generate`)."""

    json_schema: dict[str, Any] = Field(default_factory=dict)
    """JSON Schema of the object that is extracted: objects, arrays, strings, numbers, booleans, `enum`."""
    nothing: tuple[str, ...] = ("", "n/a", "N/A", "null", "None")
    """Words that stand for no value, in rows and in what others answered."""
    instructions: str = ""
    """What a language model is told to do, before the input."""
    max_tokens: Annotated[int, Field(ge=1, le=8192)] = 256
    """Longest answer."""


class Candidate(Section):
    """One way to make a variant."""

    recipe: str
    """How it is made."""
    base: str | None = None
    """Base model that it starts from, where the recipe needs one."""
    name: str = ""
    """Name by which `of` refers to it; default recipe, or recipe:base."""
    size: Literal["small", "medium", "large"] = "medium"
    """The one dial of every recipe: how much it takes, and gives."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Settings of the recipe, beyond `size`."""
    of: tuple[str, ...] = ()
    """Names of the candidates that this one is mixed from (blend)."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where it is trained; variants are served on the CPU all the same."""
    value_weights: bool = False
    """Weigh training examples by what getting them wrong costs. To be measured, not assumed."""

    @property
    def title(self) -> str:
        """The name, or the default one."""
        return self.name or (f"{self.recipe}:{self.base}" if self.base else self.recipe)


class Incumbent(Section):
    """What answers today, and stands beside every candidate."""

    kind: Literal["none", "person", "recorded", "live", "rule"] = "live"
    """`live` falls back to `person` where the value function names one, else to the most frequent label."""
    column: str | None = None
    """Column of recorded answers (kind `recorded`)."""
    model: str | None = None
    """Hosted model that gave the recorded answers (a base of the catalogue)."""
    price: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Money per recorded answer; default the model's list price for a text of mean length."""
    prompt_tokens: Annotated[int, Field(ge=0)] = 0
    """Tokens of instructions and examples that were sent with each text; they count in the list price."""
    label: str | None = None
    """The answer that the rule always gives (kind `rule`); default the most frequent label."""


class Gate(Section):
    """What a release must show. Margins are in money per request unless said otherwise."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Of all intervals."""
    margin: Annotated[float, Field(ge=0)] = 0.0
    """The value difference to the incumbent must be better than minus this much money per request."""
    guards: dict[str, float] = Field(default_factory=lambda: {"accuracy": 0.01})
    """Metric -> how much worse than the incumbent it may be (non-inferiority margin in the metric's unit)."""
    slice_margin: float = 0.05
    """A slice may not be significantly worse than the incumbent by more than this much accuracy (extraction: F1)."""
    min_rows: Annotated[int, Field(ge=1)] = 100
    """Test rows without which nothing is released."""
    max_calibration_error: float = 0.1
    """How far confidence may be from the share of right answers."""
    max_latency_ms: float | None = None
    """Median of single requests on the machine that measures."""
    max_unit_cost: float | None = None
    """Money per request that serving may cost."""
    allow_licences: tuple[str, ...] = ()
    """Unknown licences, and obligations such as no_commercial, that the owner accepts by name."""
    floor: str = "linear"
    """Candidate that counts as the floor; a dearer one must beat it in money to be preferred."""


class FeedbackMetric(Section):
    """One way in which the world tells how an answer fared."""

    type: Literal["boolean", "number", "label"]
    """What its values are."""
    better: Literal["higher", "lower"] = "higher"
    """Direction; for a label there is none."""
    money: float | None = None
    """Money lost per unit of it (per `false` for a boolean that should be high), where it has a price."""


class Task(Section):
    """Everything that Sartor has to know about one narrow, repeated piece of work."""

    name: str
    """By which it is served: a-z, 0-9, '.', '_' and '-'."""
    kind: Literal["classify", "extract", "generate"] = "classify"
    """What its answers are: one label each, a JSON object, or a text."""
    description: str = ""
    """For people."""
    input: InputSpec = InputSpec()
    """What is asked."""
    answer: AnswerSpec = AnswerSpec()
    """What an answer looks like, where it is no label."""
    labels: tuple[str, ...] = ()
    """Empty: the labels that the training rows have."""
    data: DataSpec
    """What it learns from and is tested on."""
    value: Value = Value()
    """What mistakes cost."""
    candidates: Annotated[tuple[Candidate, ...], Field(min_length=1)] = (Candidate(recipe="linear"),)
    """What is made and compared."""
    incumbent: Incumbent = Incumbent()
    """What they are compared with."""
    gate: Gate = Gate()
    """What a release must show."""
    feedback: dict[str, FeedbackMetric] = Field(default_factory=dict)
    """Metrics that feedback may name, beside `correct` (boolean), `demonstration` (the right label) and `comment`."""
    relabel: tuple[Relabel, ...] = ()
    """Edits of the labels, in the order in which they were made; data and suites follow them."""
    learn: Learn = Learn()
    """How what came back becomes the next variant."""
    labelling: Labelling = Labelling()
    """How people's minutes are used."""
    judges: tuple[JudgePick, ...] = ()
    """Who else may say whether an answer was right, once measured on people's answers."""
    drift: DriftWatch = DriftWatch()
    """What is watched, and how often it may cry wolf."""
    sweep: Sweep | None = None
    """Settings of a candidate to search through (`sartor sweep`); a run takes no notice of it."""
    wheel: Wheel = Wheel()
    """When the wheel turns by itself, and what it may do then."""
    fallback: str | None = None
    """Answer that goes out where the value function says escalate and nobody can be asked."""
    seed: int = 0
    """Of everything that depends on chance."""

    @field_validator("name")
    @classmethod
    def _name_fits(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError("a task name is 1 to 128 of a-z, 0-9, '.', '_' and '-', and starts with a letter or digit")
        return name

    @model_validator(mode="after")
    def _names_meet(self) -> "Task":
        if self.labels:
            if still := sorted(set(self.labels) & gone(self.relabel)):
                raise ValueError(
                    f"'labels' has {still[0]!r}, which an edit under 'relabel' took away: list today's labels"
                )
            if missing := sorted(added(self.relabel) - set(self.labels)):
                raise ValueError(f"'labels' lacks {missing[0]!r}, which an edit under 'relabel' brought: list it")
        titles = [c.title for c in self.candidates]
        doubles = sorted({t for t in titles if titles.count(t) > 1})
        if doubles:
            raise ValueError(f"two candidates are both called {doubles[0]!r}: give one of them a 'name'")
        for candidate in self.candidates:
            for part in candidate.of:
                if part not in titles:
                    raise ValueError(
                        f"candidate {candidate.title!r} is mixed of {part!r}, which is none of {', '.join(titles)}"
                    )
        return self

    def body(self) -> dict[str, Any]:
        """The contract as JSON, defaults included."""
        loaded: dict[str, Any] = json.loads(self.model_dump_json())
        return loaded
