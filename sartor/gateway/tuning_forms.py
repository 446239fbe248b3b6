"""OpenAI's wire forms of files and fine-tuning: what is asked, checked; what is answered, as its client reads it.

Pure functions. What is not supported is refused by its name and never left out in silence.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sartor.core.errors import AskError, unknown
from sartor.core.jobs import Event, Job
from sartor.core.shelf import explain

if TYPE_CHECKING:
    from sartor.store.uploads import Upload

PURPOSE = "fine-tune"
RESULTS = "fine-tune-results"
OTHER_PURPOSES = ("assistants", "batch", "vision", "user_data", "evals")
VALIDATING = "validating_files"
"""The state, and the step of the job."""
SHORTEST, LONGEST = 3600, 2_592_000
"""Seconds that a file may be kept where it is to expire."""
AUTO = "auto"
FORM = TypeVar("FORM", bound=BaseModel)


class Form(BaseModel):
    """What comes over the wire: exact types, nothing coerced, nothing unknown."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class NewFile(Form):
    """A file to be kept."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    purpose: str
    expires_seconds: Annotated[int, Field(ge=SHORTEST, le=LONGEST)] | None = None


class Page(Form):
    """Which part of a list is wanted."""

    after: Annotated[str, Field(max_length=200)] = ""
    limit: Annotated[int, Field(ge=1, le=1000)] = 20
    metadata: dict[str, str] | None = Field(default=None)
    """Only jobs with these; an empty mapping: only those without any; None: all."""


class FilePage(Form):
    """Which part of the files is wanted."""

    after: Annotated[str, Field(max_length=200)] = ""
    limit: Annotated[int, Field(ge=1, le=10_000)] = 10_000
    order: Literal["asc", "desc"] = "desc"
    purpose: Annotated[str, Field(max_length=64)] = ""


class Hyperparameters(Form):
    """How long and how fast is learned; `auto` leaves it to the recipe."""

    n_epochs: Literal["auto"] | Annotated[int, Field(ge=1, le=100)] | None = None
    batch_size: Literal["auto"] | Annotated[int, Field(ge=2, le=4096)] | None = None
    learning_rate_multiplier: Literal["auto"] | Annotated[float, Field(gt=0, le=100)] | None = None

    def told(self) -> dict[str, int | float]:
        """Those that are numbers."""
        return {name: value for name, value in self.model_dump().items() if value not in (None, AUTO)}


class Supervised(Form):
    """Learning from right answers."""

    hyperparameters: Hyperparameters | None = None


class Method(Form):
    """How is learned."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: Supervised | None = None
    dpo: dict[str, Any] | None = None
    reinforcement: dict[str, Any] | None = None


Word = Annotated[str, Field(max_length=64)]


class NewJob(Form):
    """A fine-tuning job as it is asked for."""

    model: Annotated[str, Field(min_length=1, max_length=300)]
    training_file: Annotated[str, Field(min_length=1, max_length=200)]
    validation_file: Annotated[str, Field(max_length=200)] | None = None
    suffix: Word | None = None
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)] | None = None
    hyperparameters: Hyperparameters | None = None
    method: Method | None = None
    integrations: list[dict[str, Any]] | None = None
    metadata: Annotated[dict[Word, Annotated[str, Field(max_length=512)]], Field(max_length=16)] | None = None

    def numbers(self) -> Hyperparameters:
        """The hyperparameters, wherever they stand."""
        method = self.method.supervised.hyperparameters if self.method and self.method.supervised else None
        return method or self.hyperparameters or Hyperparameters()


def read_job(body: Mapping[str, Any]) -> NewJob:
    """What is asked for.

    Raises:
        AskError: a field is unknown, wrong or not supported; it is named.
    """
    asked = checked(NewJob, body)
    if asked.integrations:
        raise unsupported("integrations", "nothing is sent to others' servers; follow the job by its events")
    if asked.method is not None:
        for name in ("dpo", "reinforcement"):
            if asked.method.type == name or getattr(asked.method, name):
                raise unsupported(
                    f"method.{name}", "models learn from right answers here; use the method 'supervised'", "method"
                )
        given = asked.method.supervised and asked.method.supervised.hyperparameters
        if given and asked.hyperparameters and given != asked.hyperparameters:
            raise AskError(
                "'hyperparameters' says something else than 'method.supervised.hyperparameters'. Say them once, there.",
                code="said_twice",
                param="hyperparameters",
            )
    return asked


def read_file_form(fields: Mapping[str, str], name: str) -> NewFile:
    """What is said of a file beside its bytes.

    Raises:
        AskError: a field is unknown or wrong, or the purpose is not served here.
    """
    given: dict[str, Any] = {"name": name}
    for field, value in fields.items():
        if field == "purpose":
            given["purpose"] = value
        elif field == "expires_after[anchor]":
            if value != "created_at":
                raise AskError(
                    f"'expires_after.anchor' is '{value[:40]}'; it can only be 'created_at'.", param="expires_after"
                )
        elif field == "expires_after[seconds]":
            given["expires_seconds"] = int(value) if value.isascii() and value.isdigit() else value
        else:
            raise unsupported(field[:80], "a file has the fields 'file', 'purpose' and 'expires_after'")
    form = checked(NewFile, given)
    if form.purpose in OTHER_PURPOSES or form.purpose == RESULTS:
        raise unsupported(f"purpose={form.purpose}", f"files are kept here for '{PURPOSE}' alone", "purpose")
    if form.purpose != PURPOSE:
        raise unknown("purpose", form.purpose[:80], [PURPOSE], param="purpose")
    return form


def read_query(model: type[FORM], target: str) -> FORM:
    """The query of a request's target.

    Raises:
        AskError: a parameter is unknown, wrong or there twice.
    """
    given: dict[str, Any] = {}
    for name, value in parse_qsl(target.partition("?")[2], keep_blank_values=True):
        if name.startswith("metadata[") and name.endswith("]") and "metadata" in model.model_fields:
            given.setdefault("metadata", {})[name[9:-1]] = value
        elif name == "metadata" and value == "null" and "metadata" in model.model_fields:
            given["metadata"] = {}
        elif name in given:
            raise AskError(f"The parameter '{name[:80]}' is there twice.", code="bad_request", param=name[:80])
        else:
            given[name] = int(value) if name == "limit" and value.isascii() and value.isdigit() else value
    return checked(model, given)


def checked(model: type[FORM], given: Mapping[str, Any]) -> FORM:
    """The form filled in.

    Raises:
        AskError: a field is missing, unknown (the nearest known one is named) or wrong.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        path = [str(step) for step in error.errors()[0]["loc"]]
        said = f"The request is wrong: {explain(error, model)[:1000]}."
        raise AskError(said, code="bad_request", param=path[0] if path else None) from error


def unsupported(name: str, why: str, param: str = "") -> AskError:
    """The refusal of what OpenAI has and this server has not."""
    return AskError(f"'{name}' is not supported: {why}.", code="unsupported_parameter", param=param or name)


# What is answered


def file_object(item: "Upload") -> dict[str, Any]:
    """A file."""
    return {
        "id": item.id,
        "object": "file",
        "bytes": item.size,
        "created_at": int(item.created),
        "filename": item.name,
        "purpose": item.purpose,
        "status": "processed",
        "status_details": None,
        "expires_at": None if item.expires is None else int(item.expires),
    }


def listed(found: Sequence[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    """One page of a list."""
    ends = {"first_id": found[0]["id"], "last_id": found[-1]["id"]} if found else {"first_id": None, "last_id": None}
    return {"object": "list", "data": list(found), "has_more": more, **ends}


def paged(found: Sequence[dict[str, Any]], page: Page) -> dict[str, Any]:
    """The page that is wanted of a whole list.

    Raises:
        NotFoundError: the list has no object with the id `after`.
    """
    start = 0
    if page.after:
        ids = [item["id"] for item in found]
        if page.after not in ids:
            raise unknown("object to go on behind", page.after[:80], ids, param="after", code="cursor_not_found")
        start = ids.index(page.after) + 1
    return listed(found[start : start + page.limit], more=len(found) > start + page.limit)


def public_id(ident: str) -> str:
    """A job's id as OpenAI's clients see it."""
    return "ftjob-" + ident.removeprefix("job-")


def own_id(ident: str) -> str:
    """A job's id as the queue has it."""
    return "job-" + ident.removeprefix("ftjob-")


def status_of(job: Job) -> str:
    """OpenAI's word for how a job stands; `paused` is what its pause endpoint answers."""
    if job.state == "running" and job.step in ("", VALIDATING) and not job.result:
        return VALIDATING
    return {"dead": "failed"}.get(job.state, job.state)


def job_object(job: Job, *, failed: Mapping[str, Any] | None, finish: float | None) -> dict[str, Any]:
    """A fine-tuning job.

    Args:
        failed: code, message and param of what went wrong.
        finish: when it is expected to end, in seconds since 1970.
    """
    asked, made = job.args, job.result
    numbers = asked["hyperparameters"]
    status = status_of(job)
    return {
        "id": public_id(job.id),
        "object": "fine_tuning.job",
        "created_at": int(job.created),
        "error": dict(failed) if failed else None,
        "fine_tuned_model": made.get("fine_tuned_model"),
        "finished_at": int(job.ended) if job.ended is not None else None,
        "hyperparameters": numbers,
        "model": asked["model"],
        "organization_id": job.tenant,
        "result_files": list(made.get("result_files", ())),
        "seed": asked["seed"],
        "status": status,
        "trained_tokens": made.get("trained_tokens"),
        "training_file": asked["training_file"],
        "validation_file": asked["validation_file"],
        "estimated_finish": int(finish) if finish is not None and status == "running" else None,
        "integrations": [],
        "metadata": asked["metadata"],
        "method": {"type": "supervised", "supervised": {"hyperparameters": numbers}},
    }


def event_object(job: Job, event: Event) -> dict[str, Any]:
    """One thing that a job said."""
    return {
        "id": f"ftevent-{job.id.removeprefix('job-')}-{event.seq}",
        "object": "fine_tuning.job.event",
        "created_at": int(event.at),
        "level": {"warning": "warn"}.get(event.level, event.level),
        "message": event.message,
        "type": "metrics" if "metrics" in event.data else "message",
        "data": dict(event.data),
    }


def checkpoint_object(job: Job, metrics: Mapping[str, float], step: int) -> dict[str, Any]:
    """The final model of a job, which is its one checkpoint."""
    return {
        "id": f"ftckpt-{job.id.removeprefix('job-')}",
        "object": "fine_tuning.job.checkpoint",
        "created_at": int(job.ended or job.created),
        "fine_tuned_model_checkpoint": job.result["fine_tuned_model"],
        "fine_tuning_job_id": public_id(job.id),
        "metrics": dict(metrics) | {"step": step},
        "step_number": step,
    }
