"""The HTTP face: OpenAI's chat completions over whatever predictors it is given. Loads no model and no torch.

Every route stands in one table with the permission that it takes; an app with an undeclared one is not built.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from sartor.core.errors import MethodError, OverdueError, SartorError, UpstreamError, unknown
from sartor.core.predict import Prediction
from sartor.core.predict import Request as Asked
from sartor.gateway import openai, question
from sartor.gateway.door import LOOPBACK, Door, error_response
from sartor.gateway.limits import Limits, read_body
from sartor.gateway.routes import Routes, Served
from sartor.gateway.strict_json import read_object

Permission = Literal["anyone", "list", "ask"]

PERMISSIONS: Mapping[str, Permission] = {
    "POST /v1/chat/completions": "ask",
    "GET /v1/models": "list",
    "GET /v1/models/{name}": "list",
    "GET /health": "anyone",
    "GET /ready": "anyone",
}
"""Method and path -> what a caller must be allowed. Without keys, whoever passes the door is allowed all of it."""


def _new_id() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"


@dataclass(frozen=True)
class Gateway:
    """The handlers, with what they need."""

    routes: Routes
    limits: Limits
    clock: Callable[[], float]
    new_id: Callable[[], str]

    async def chat(self, request: Request) -> Response:
        """`POST /v1/chat/completions`, as a stream or not."""
        body = read_object(await read_body(request, self.limits), depth=self.limits.json_depth)
        asked = openai.read_request(body, max_messages=self.limits.messages)
        form = openai.answer_form(asked.response_format)
        served = self.routes.resolve(asked.model)
        ident = self.new_id()
        spec = served.task.input
        one = question.read_question(asked.messages, spec, ident=ident, max_bytes=self.limits.text_bytes)
        answer = await self._predict(served, one)
        content = form.write(_label(served, answer))
        done = openai.completion(ident, int(self.clock()), served.version, content, answer)
        headers = _headers(served, answer)
        if not asked.stream:
            return JSONResponse(done, headers=headers)
        usage = bool(asked.stream_options and asked.stream_options.include_usage)
        lines = openai.chunks(done, usage=usage)
        return StreamingResponse(_asynchronously(list(lines)), media_type="text/event-stream", headers=headers)

    async def models(self, _: Request) -> Response:
        """`GET /v1/models`: every name that can be asked for."""
        created = int(self.clock())
        return JSONResponse(openai.model_list([openai.model_object(s.name, created) for s in self.routes.names()]))

    async def model(self, request: Request) -> Response:
        """`GET /v1/models/{name}`."""
        served = self.routes.resolve(request.path_params["name"])
        return JSONResponse(openai.model_object(served.name, int(self.clock())))

    async def health(self, _: Request) -> Response:
        """`GET /health`: the process lives."""
        return JSONResponse({"status": "ok"})

    async def ready(self, _: Request) -> Response:
        """`GET /ready`: there is something to ask for."""
        count = len(self.routes.names())
        return JSONResponse({"status": "ready" if count else "empty", "models": count}, 200 if count else 503)

    async def _predict(self, served: Served, one: Asked) -> Prediction:
        try:
            async with asyncio.timeout(self.limits.answer_seconds):
                (answer,) = await served.predictor.predict([one])
        except TimeoutError as error:
            raise OverdueError(
                f"'{served.name}' did not answer within {self.limits.answer_seconds:g} seconds. Try again later.",
                code="answer_timeout",
            ) from error
        return answer


def build_app(
    routes: Routes,
    *,
    limits: Limits = Limits(),
    hosts: Collection[str] = LOOPBACK,
    origins: Collection[str] = (),
    clock: Callable[[], float] = time.time,
    new_id: Callable[[], str] = _new_id,
) -> Starlette:
    """The ASGI app.

    Args:
        routes: what answers under which name.
        hosts: names, without port, under which the server may be called.
        origins: web origins whose pages may call it, besides its own.
        clock: seconds since 1970, for `created`.
        new_id: ids of completions.
    """
    gateway = Gateway(routes, limits, clock, new_id)
    handlers = {
        "/v1/chat/completions": (gateway.chat, "POST"),
        "/v1/models": (gateway.models, "GET"),
        "/v1/models/{name}": (gateway.model, "GET"),
        "/health": (gateway.health, "GET"),
        "/ready": (gateway.ready, "GET"),
    }
    app = Starlette(
        routes=declared([Route(path, handler, methods=[method]) for path, (handler, method) in handlers.items()]),
        middleware=[Middleware(Door, hosts=hosts, origins=origins)],
        exception_handlers={HTTPException: _unrouted},
    )
    # A redirect to the same path with a slash would be built from the Host that the client sent.
    app.router.redirect_slashes = False
    return app


def declared(routes: Sequence[BaseRoute], permissions: Mapping[str, Permission] = PERMISSIONS) -> list[BaseRoute]:
    """The routes, if each has its permission in the table.

    Raises:
        SartorError: one has none: nobody has said who may call it.
    """
    for route in routes:
        methods = sorted((getattr(route, "methods", None) or {"*"}) - {"HEAD"})
        for name in (f"{method} {getattr(route, 'path', route)}" for method in methods):
            if name not in permissions:
                raise SartorError(f"The route '{name}' has no permission declared in gateway.app.PERMISSIONS.")
    return list(routes)


def _label(served: Served, answer: Prediction) -> str:
    """What goes out: there is nobody here to escalate to, so the fallback or the best guess answers."""
    label = answer.output
    if answer.decision == "escalate" and served.task.fallback is not None:
        label = served.task.fallback
    if label is None:
        raise UpstreamError(
            f"'{served.name}' has no answer to this input, and its task declares no fallback.",
            retryable=False,
            code="no_answer",
        )
    return label


def _headers(served: Served, answer: Prediction) -> dict[str, str]:
    headers = {
        "x-sartor-variant": served.variant,
        "x-sartor-route": served.name,
        "x-sartor-decision": answer.decision,
        "x-sartor-cost": f"{answer.cost:.6g}",
    }
    if answer.confidence is not None:
        headers["x-sartor-confidence"] = f"{answer.confidence:.6g}"
    return headers


async def _asynchronously(lines: Sequence[str]) -> AsyncIterator[str]:
    for line in lines:
        yield line


def _unrouted(request: Request, error: Exception) -> Response:
    """What the router says of its own accord, in the one form that errors have here."""
    assert isinstance(error, HTTPException)
    path, method = request.scope["path"][:200], request.method
    if error.status_code == 405:
        allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        response = error_response(
            MethodError(f"'{path}' does not take {method}; it takes {allowed}.", code="method_not_allowed")
        )
        response.headers["allow"] = allowed
        return response
    return error_response(unknown("address", path, [name.split(" ")[1] for name in PERMISSIONS]))
