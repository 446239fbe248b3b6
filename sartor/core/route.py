"""What an operator declares for the gateway: upstreams, and routes with their policy, capture and limits.

Declared as YAML or JSON, kept as records (`core.records.Route`, `.Upstream`) behind the pointers `NAME@route` and
`NAME@upstream`. Unknown keys are refused.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from sartor.core.section import Section
from sartor.core.task import NAME

Seconds = Annotated[float, Field(gt=0, le=86_400)]

Target = str | dict[str, Any]
"""What a policy asks: a name (`triage@live`, `triage@v7`, an upstream's), or another policy (`{use: cascade, …}`)."""


class Timing(Section):
    """How long one request to an upstream may take, in seconds."""

    queue: Seconds = 5.0
    """Waiting for a free place among `concurrency`."""
    connect: Seconds = 2.0
    """Until the connection stands."""
    first_token: Seconds = 30.0
    """From the request sent to the first byte of the answer."""
    between_chunks: Seconds = 15.0
    """Between two pieces of a stream."""
    total: Seconds = 600.0
    """For the whole answer, repeats included."""


class Secret(Section):
    """Where a secret is found; it is never written down here."""

    env: str = ""
    """Name of an environment variable of the server."""
    file: str = ""
    """Path of a file whose one line it is."""

    @model_validator(mode="after")
    def _one_place(self) -> "Secret":
        if bool(self.env) == bool(self.file):
            raise ValueError("name either 'env' or 'file'")
        return self


class TokenPrice(Section):
    """What an upstream really charges."""

    input_million: Annotated[float, Field(ge=0)]
    """Money per million tokens of input."""
    output_million: Annotated[float, Field(ge=0)]
    """Money per million tokens of output."""
    cached_million: Annotated[float, Field(ge=0)] | None = None
    """Money per million tokens of input that the upstream had cached; none: as other input."""
    currency: str
    """Of the price, e.g. USD; another than the books' needs a rate (`SARTOR_RATES`)."""
    source: str = "stated by the operator"
    """Who says so."""


class Probe(Section):
    """A question whose answer tells one adapter from every other on the same server."""

    text: str
    """What is asked."""
    system: str = ""
    """Instructions before it."""
    answer: str
    """What the adapter answers, likeliest token by token."""
    max_tokens: Annotated[int, Field(ge=1, le=256)] = 16
    """Of the answer."""


class Adapter(Section):
    """An adapter that a server lays over its model, and how it proves that it really did."""

    probes: Annotated[tuple[Probe, ...], Field(min_length=1)]
    """Asked before the upstream answers anybody, and again; `sartor upstream adapter` finds them."""
    least: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the probes that must be answered as they should be."""
    every: Seconds = 300.0
    """After so many seconds it is proved anew."""
    load: Literal["vllm", "none"] = "none"
    """How the server is told to load it: by vLLM's /load_lora_adapter under the name `model`, or not at all."""
    path: str = ""
    """Where the server finds its files (load `vllm`)."""
    request: dict[str, Any] = Field(default_factory=dict)
    """Further fields of each request, where that is how a server is told: llama.cpp takes lora: [{id, scale}]."""


class Upstream(Section):
    """Somebody else's model, asked over HTTP."""

    name: str
    """By which routes name it."""
    base_url: str
    """Up to and without `/chat/completions`, e.g. https://api.openai.com/v1."""
    protocol: str = "openai"
    """How it is spoken to: a plug-in of `gateway.protocols`."""
    model: str = ""
    """What it calls the model; default `name`."""
    adapter: Adapter | None = None
    """The adapter that answers, where it is one of several on that server."""
    key: Secret | None = None
    """Where the server finds its key; none: it takes none."""
    allow_private: bool = False
    """Whether its address may be a private or loopback one; link-local addresses never are allowed."""
    exposed: bool = True
    """Whether applications may ask for it by its own name, where their key's scope has it."""
    price: TokenPrice | None = None
    """Default: the list price of `model`."""
    licence: str = "hosted-model-terms"
    """What its answers may be used for, as a name of `core.licence`: `hosted-model-terms` forbids training on them."""
    timing: Timing = Timing()
    """How long it may take."""
    concurrency: Annotated[int, Field(ge=1, le=100_000)] = 256
    """Requests under way at once; more wait `timing.queue` seconds, then are refused."""
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """Most repeats of one request, only before its first byte, and in all at most a tenth of the traffic."""

    @field_validator("name")
    @classmethod
    def _name_fits(cls, name: str) -> str:
        return check_name(name)


class Capture(Section):
    """How much of the content of each exchange is kept; that it happened, and what it cost, always is."""

    level: Literal["off", "hash", "sampled", "full"] = "full"
    """What is kept: nothing, keyed digests, the content of a share, or all content."""
    share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Of the exchanges whose content is kept (level `sampled`)."""
    durability: Literal["sync", "async"] = "async"
    """`sync`: an answer goes out after its exchange is on disk. `async`: a crash loses what was not yet written."""
    redact: bool = True
    """Replace e-mail addresses, cards, IBANs, phone numbers before writing."""
    encrypt: bool = True
    """Content of a request that names its user is encrypted under that user's own key, so that it can be erased."""
    days: Annotated[int, Field(ge=1)] = 184
    """After which the content is deleted."""


class Allowance(Section):
    """What a key, a tenant or a route may use; None: no limit."""

    requests_per_minute: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """A bucket that refills evenly."""
    tokens_per_minute: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """Input and output together."""
    money_per_day: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """In the currency of the books; the day is UTC's."""
    money_per_month: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """The month is UTC's."""


class ShadowStage(Section):
    """A target that sees a route's real traffic and answers nobody."""

    beside: Target
    """What only watches."""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Of the requests that it sees."""


class CanaryStage(Section):
    """A target that answers a share of a route's traffic, until statistics stop or promote it."""

    to: Target
    """What answers the share."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Of those who ask."""
    promote: bool = True
    """Whether a verdict to promote moves the route by itself; a verdict to stop always does."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Further settings of the canary policy: its guards, which act within seconds."""
    judge: dict[str, Any] = Field(default_factory=dict)
    """Settings of the statistics that go beyond the task's gate: min_units, mature, margin, failures, latency, …"""


class Route(Section):
    """One name that applications ask for, and what happens to their requests."""

    name: str
    """What applications send as `model`."""
    task: str = ""
    """Task whose input specification and value function apply; '' passes chats through as they are."""
    policy: Target
    """What answers."""
    shadow: ShadowStage | None = None
    """What stands in the shadow."""
    canary: CanaryStage | None = None
    """What is tried on a share."""
    unmatched: str = ""
    """Upstream that gets requests whose input is not found in the prompt; '' refuses them."""
    capture: Capture = Capture()
    """What is kept of each exchange."""
    limits: Allowance = Allowance()
    """What all callers together may use of it."""
    business_key: str = "/metadata/business_key"
    """JSON pointer into the request to the application's own id of the case; the header x-sartor-key wins."""
    tenants: tuple[str, ...] = ()
    """Who may ask for it; empty: all."""
    shutdown_date: str = ""
    """ISO 8601 day after which it is not answered any more; told by /v1/models."""

    @field_validator("name")
    @classmethod
    def _name_fits(cls, name: str) -> str:
        return check_name(name)

    def whole(self) -> Target:
        """The policy with the stages around it."""
        found = self.policy
        if self.canary is not None:
            stage = {"live": found, "canary": self.canary.to, "share": self.canary.share}
            found = {"use": "canary", **stage, **self.canary.settings}
        if self.shadow is not None:
            found = {"use": "shadow", "of": found, "beside": self.shadow.beside, "share": self.shadow.share}
        return found


def check_name(name: str) -> str:
    """A name that is safe in URLs, headers and paths; raises ValueError otherwise."""
    if not NAME.fullmatch(name):
        raise ValueError("a name is 1 to 128 of a-z, 0-9, '.', '_' and '-', and starts with a letter or digit")
    return name
