"""The data plane as an OpenAPI 3.1 document, made from its table of permissions and the objects on the wire.

Requests are described as a task reads them; what passes through to an upstream may hold more.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.json_schema import models_json_schema

from sartor.core.access import Permission
from sartor.gateway.multipart import KIND
from sartor.gateway.openai import ChatRequest, CompletionRequest
from sartor.gateway.tuning_forms import LONGEST, PURPOSE, SHORTEST, NewJob


class EmbeddingRequest(BaseModel):
    """What is embedded; the rest is the upstream's affair."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1, max_length=300)
    input: str | list[str] | list[int] | list[list[int]]


class FeedbackRequest(BaseModel):
    """What became of an exchange, named by its id or by the application's own id of the case."""

    model_config = ConfigDict(extra="forbid")

    metric: str = Field(max_length=128)
    value: JsonValue
    exchange_id: str | None = Field(default=None, max_length=128)
    business_key: str | None = Field(default=None, max_length=512)
    source: Literal["human", "outcome", "judge", "code"] = "human"
    source_id: str | None = Field(default=None, max_length=256)
    rationale: str | None = Field(default=None, max_length=8192)
    tags: dict[str, str] | None = None
    id: str | None = Field(default=None, max_length=128)


class ErrorObject(BaseModel):
    """What was tried, what is wrong, what to do."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(BaseModel):
    """Every refusal."""

    error: ErrorObject


BODIES: Mapping[str, type[BaseModel]] = {
    "POST /v1/chat/completions": ChatRequest,
    "POST /v1/completions": CompletionRequest,
    "POST /v1/embeddings": EmbeddingRequest,
    "POST /v1/feedback": FeedbackRequest,
    "POST /v1/fine_tuning/jobs": NewJob,
}
UPLOAD = {
    "type": "object",
    "required": ["file", "purpose"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "purpose": {"type": "string", "const": PURPOSE},
        "expires_after[anchor]": {"type": "string", "const": "created_at"},
        "expires_after[seconds]": {"type": "integer", "minimum": SHORTEST, "maximum": LONGEST},
    },
}
"""The form of `POST /v1/files`."""
SUMMARIES: Mapping[str, str] = {
    "POST /v1/chat/completions": "Answer a chat, as a stream or not",
    "POST /v1/completions": "Answer a prompt, as a stream or not",
    "POST /v1/embeddings": "Embed texts",
    "POST /v1/feedback": "Tell what became of an exchange",
    "GET /v1/models": "Names that can be asked for",
    "GET /v1/models/{name}": "One of these names",
    "POST /v1/files": "Keep a file to learn from",
    "GET /v1/files": "Files that are kept",
    "GET /v1/files/{name}": "One of these files",
    "DELETE /v1/files/{name}": "Forget a file",
    "GET /v1/files/{name}/content": "The bytes of a file",
    "POST /v1/fine_tuning/jobs": "Make a model from a file",
    "GET /v1/fine_tuning/jobs": "Jobs that make models",
    "GET /v1/fine_tuning/jobs/{name}": "One of these jobs",
    "POST /v1/fine_tuning/jobs/{name}/cancel": "Cancel a job",
    "POST /v1/fine_tuning/jobs/{name}/pause": "Pause a job",
    "POST /v1/fine_tuning/jobs/{name}/resume": "Let a paused job go on",
    "GET /v1/fine_tuning/jobs/{name}/events": "What a job said",
    "GET /v1/fine_tuning/jobs/{name}/checkpoints": "The models that a job made",
    "DELETE /v1/models/{name}": "Retire the name of a fine-tuned model",
    "POST /v1/evals": "Refused: jobs inspect what they make",
    "GET /v1/evals": "Refused: jobs inspect what they make",
    "GET /health": "Whether the process lives",
    "GET /ready": "Whether requests may come",
    "GET /openapi.json": "This document",
}
STREAMED = frozenset({"POST /v1/chat/completions", "POST /v1/completions"})
REFUSALS = {
    "400": "The request is wrong",
    "401": "No key, or one that is wrong, expired or revoked",
    "403": "The key, the name of the host or the web page may not do this",
    "404": "No such model or address; those that there are are listed",
    "405": "The address does not take this method",
    "408": "The request took too long to arrive",
    "409": "Somebody else was first",
    "413": "The request is over a limit",
    "422": "The upstream can't follow the request",
    "429": "A limit in requests, tokens or money is reached",
    "502": "The upstream failed",
    "503": "More is asked at once than can be answered",
    "504": "The answer took longer than a limit",
    "507": "The store takes nothing",
}


def document(permissions: Mapping[str, Permission]) -> dict[str, Any]:
    """The document.

    Args:
        permissions: method and path -> what a caller must be allowed.
    """
    models: list[type[BaseModel]] = [*BODIES.values(), Error]
    _, schemas = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for name, permission in permissions.items():
        method, _, path = name.partition(" ")
        paths.setdefault(path, {})[method.lower()] = _operation(name, path, permission)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sartor data plane", "version": "1"},
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(name: str, path: str, permission: Permission) -> dict[str, Any]:
    answer: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
    if name in STREAMED:
        answer["text/event-stream"] = {"schema": {"type": "object", "properties": {"data": {"type": "string"}}}}
    if path.endswith("/content"):
        answer = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    responses = {"200": {"description": "The answer", "content": answer}}
    refusal = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for status, what in REFUSALS.items():
        responses[status] = {"description": what, "content": refusal}
    if path == "/ready":
        responses["503"] = {"description": "No requests should come", "content": answer}
    operation: dict[str, Any] = {
        "summary": SUMMARIES[name],
        "operationId": name.lower().replace("/", "_").replace(" ", "").replace("{", "").replace("}", ""),
        # An empty requirement beside: while there are no keys, none is needed.
        "security": [] if permission == "anyone" else [{"key": []}, {}],
        "x-permission": permission,
        "responses": responses,
    }
    if name in BODIES:
        schema = {"$ref": f"#/components/schemas/{BODIES[name].__name__}"}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if name == "POST /v1/files":
        operation["requestBody"] = {"required": True, "content": {KIND: {"schema": UPLOAD}}}
    if "{name}" in path:
        text = {"type": "string", "minLength": 1}
        operation["parameters"] = [{"name": "name", "in": "path", "required": True, "schema": text}]
    return operation
