"""The addresses of files and fine-tuning, as OpenAI has them. What they do is another's affair: see `parts.Tuner`.

Whatever is asked of the tuner waits in a thread of its own, so that answers to others go on.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal
from urllib.parse import unquote

import orjson

from sartor.core.access import Caller, Permission
from sartor.core.errors import AskError, NotFoundError, SartorError, StoreError
from sartor.gateway.asking import refuse_encoded
from sartor.gateway.envelope import JSON
from sartor.gateway.multipart import KIND, Slice, no_form, read_form
from sartor.gateway.parts import Keyring, Tuner
from sartor.gateway.strict_json import read_object
from sartor.gateway.tuning_forms import FilePage, Page, read_file_form, read_job, read_query
from sartor.gateway.wire.http import Request, Response

FILES, JOBS, MODELS = "/v1/files/", "/v1/fine_tuning/jobs/", "/v1/models/"
DEPTH = 8
PIECE = 1 << 18
"""Bytes of a file that are sent at one time."""

PERMISSIONS: Mapping[str, Permission] = {
    "POST /v1/files": "operate",
    "GET /v1/files": "view",
    "GET /v1/files/{name}": "view",
    "DELETE /v1/files/{name}": "operate",
    "GET /v1/files/{name}/content": "view",
    "POST /v1/fine_tuning/jobs": "operate",
    "GET /v1/fine_tuning/jobs": "view",
    "GET /v1/fine_tuning/jobs/{name}": "view",
    "POST /v1/fine_tuning/jobs/{name}/cancel": "operate",
    "POST /v1/fine_tuning/jobs/{name}/pause": "operate",
    "POST /v1/fine_tuning/jobs/{name}/resume": "operate",
    "GET /v1/fine_tuning/jobs/{name}/events": "view",
    "GET /v1/fine_tuning/jobs/{name}/checkpoints": "view",
    "DELETE /v1/models/{name}": "operate",
    "POST /v1/evals": "view",
    "GET /v1/evals": "view",
}
"""Method and path -> what a caller must be allowed: training data is the tenant's business, not an application's."""

Handler = Callable[[Caller, Request], Awaitable[Response]]


class Workroom:
    """The handlers of these addresses."""

    def __init__(self, tuner: Tuner | None, keyring: Keyring, request_id: Callable[[], tuple[bytes, bytes]]) -> None:
        """The handlers; without a tuner each says that there is none."""
        self._tuner = tuner
        self._keyring = keyring
        self._request_id = request_id

    def handlers(self) -> dict[str, Handler]:
        """Method and path -> what happens there."""
        found: dict[str, Handler] = {
            "POST /v1/files": self.keep_file,
            "GET /v1/files": self.files,
            "GET /v1/files/{name}": self.file,
            "DELETE /v1/files/{name}": self.delete_file,
            "GET /v1/files/{name}/content": self.content,
            "POST /v1/fine_tuning/jobs": self.create,
            "GET /v1/fine_tuning/jobs": self.jobs,
            "GET /v1/fine_tuning/jobs/{name}": self.job,
            "GET /v1/fine_tuning/jobs/{name}/events": self.events,
            "GET /v1/fine_tuning/jobs/{name}/checkpoints": self.checkpoints,
            "DELETE /v1/models/{name}": self.delete_model,
            "POST /v1/evals": self.evals,
            "GET /v1/evals": self.evals,
        }
        words: tuple[Literal["cancel", "pause", "resume"], ...] = ("cancel", "pause", "resume")
        return found | {f"POST {JOBS}{{name}}/{word}": self._telling(word) for word in words}

    def spool(self, method: str, target: str, headers: dict[bytes, bytes]) -> BinaryIO | None:
        """Where the body of a request goes: to disk, if it is a file of somebody who may send one."""
        if method != "POST" or target.partition("?")[0] != "/v1/files" or self._tuner is None:
            return None
        if not headers.get(b"content-type", b"").startswith(KIND.encode()):
            return None
        try:
            allowed = self._keyring.identify(headers).may(PERMISSIONS["POST /v1/files"])
            return self._tuner.spool() if allowed else None
        except (SartorError, OSError):
            return None  # within the bounds of others; its handler says what is wrong

    async def keep_file(self, caller: Caller, request: Request) -> Response:
        """`POST /v1/files`: keep a file."""
        tuner, body = self._there(), request.spool
        kind = request.headers.get(b"content-type", b"").decode("latin-1")
        if body is None:
            if not kind.startswith(KIND):
                raise no_form(kind)
            raise StoreError("No file can be taken now: there is no room. Free space and repeat.", code="no_spool")

        def keep() -> dict[str, Any]:
            fields, files = read_form(body, kind)
            if set(files) != {"file"} or files["file"].filename is None:
                raise AskError("A form with one file is needed, in the field 'file'.", code="no_file", param="file")
            form = read_file_form(fields, files["file"].filename)
            return tuner.keep_file(caller, Slice(body, files["file"]), form)

        return self._json(await asyncio.to_thread(keep))

    async def files(self, caller: Caller, request: Request) -> Response:
        """`GET /v1/files`."""
        page = read_query(FilePage, request.target)
        return self._json(await asyncio.to_thread(self._there().files, caller, page))

    async def file(self, caller: Caller, request: Request) -> Response:
        """`GET /v1/files/{name}`."""
        return self._json(await asyncio.to_thread(self._there().file, caller, _named(request, FILES)))

    async def content(self, caller: Caller, request: Request) -> Response:
        """`GET /v1/files/{name}/content`: the bytes as they came."""
        path = await asyncio.to_thread(self._there().file_content, caller, _named(request, FILES))
        kind = (b"content-type", b"application/octet-stream")
        return Response(200, [kind, self._request_id()], _pieces(path))

    async def delete_file(self, caller: Caller, request: Request) -> Response:
        """`DELETE /v1/files/{name}`."""
        return self._json(await asyncio.to_thread(self._there().delete_file, caller, _named(request, FILES)))

    async def create(self, caller: Caller, request: Request) -> Response:
        """`POST /v1/fine_tuning/jobs`: ask for a job."""
        refuse_encoded(request)
        asked = read_job(read_object(request.body, depth=DEPTH))
        return self._json(await asyncio.to_thread(self._there().create, caller, asked))

    async def jobs(self, caller: Caller, request: Request) -> Response:
        """`GET /v1/fine_tuning/jobs`, newest first."""
        page = read_query(Page, request.target)
        return self._json(await asyncio.to_thread(self._there().jobs, caller, page))

    async def job(self, caller: Caller, request: Request) -> Response:
        """`GET /v1/fine_tuning/jobs/{name}`."""
        return self._json(await asyncio.to_thread(self._there().job, caller, _named(request, JOBS)))

    async def events(self, caller: Caller, request: Request) -> Response:
        """`GET /v1/fine_tuning/jobs/{name}/events`, newest first."""
        page = read_query(Page, request.target)
        return self._json(await asyncio.to_thread(self._there().events, caller, _named(request, JOBS), page))

    async def checkpoints(self, caller: Caller, request: Request) -> Response:
        """`GET /v1/fine_tuning/jobs/{name}/checkpoints`."""
        page = read_query(Page, request.target)
        return self._json(await asyncio.to_thread(self._there().checkpoints, caller, _named(request, JOBS), page))

    async def delete_model(self, caller: Caller, request: Request) -> Response:
        """`DELETE /v1/models/{name}`: retire a fine-tuned model's name."""
        return self._json(await asyncio.to_thread(self._there().delete_model, caller, _named(request, MODELS)))

    async def evals(self, _: Caller, __: Request) -> Response:
        """`/v1/evals`: not served, and what is used instead."""
        raise NotFoundError(
            "Evals are not served here: the job that makes a model inspects it on its task's own test rows, with the "
            "task's costs. Verdict and figures stand in GET /v1/fine_tuning/jobs/ID/events.",
            code="evals_not_served",
        )

    def _telling(self, what: Literal["cancel", "pause", "resume"]) -> Handler:
        async def told(caller: Caller, request: Request) -> Response:
            return self._json(await asyncio.to_thread(self._there().tell, caller, _named(request, JOBS), what))

        return told

    def _there(self) -> Tuner:
        if self._tuner is None:
            raise NotFoundError("This server takes no files and no fine-tuning jobs.", code="no_fine_tuning")
        return self._tuner

    def _json(self, found: object) -> Response:
        return Response(200, [JSON, self._request_id()], orjson.dumps(found))


def pattern(path: str) -> str | None:
    """The path as the tables have it, with {name} in the place of a name; None where it has none."""
    for start in (MODELS, FILES, JOBS):
        if path.startswith(start) and path != start:
            _, slash, behind = path[len(start) :].partition("/")
            return f"{start}{{name}}{slash}{behind}"
    return None


def _named(request: Request, start: str) -> str:
    return unquote(request.path[len(start) :].partition("/")[0])


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, PIECE):
            yield piece
