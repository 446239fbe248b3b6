"""Errors, sorted by whose move it is next. The only table of exit codes and HTTP statuses stands here.

Plug-ins raise plain errors; `boundary` turns what they raise into a `PluginError` that names them.
"""

import difflib
import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class SartorError(Exception):
    """What was tried, what is wrong, what to do: the same text on the CLI, over HTTP and in the console.

    `code` is a stable word for machines, `param` names the offending field if there is one.
    """

    exit_code = 1
    http_status = 500
    error_type = "server_error"
    hops: tuple[Any, ...] = ()
    """Models that were asked in vain before it (`core.predict.Hop`): what they cost is booked too."""

    def __init__(self, message: str, *, code: str = "error", param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param

    def envelope(self) -> dict[str, dict[str, str | None]]:
        """The error in OpenAI's wire form."""
        return {"error": {"message": self.message, "type": self.error_type, "param": self.param, "code": self.code}}


class AskError(SartorError):
    """The asker's move: the request, file or setting is wrong."""

    exit_code = 2
    http_status = 400
    error_type = "invalid_request_error"


class NotFoundError(AskError):
    """The asker named something that is not there; the message lists what is."""

    exit_code = 4
    http_status = 404


class ConflictError(AskError):
    """Somebody else was first: read again, then repeat."""

    exit_code = 5
    http_status = 409


class TooLargeError(AskError):
    """The request is over a stated limit."""

    http_status = 413


class TooSlowError(AskError):
    """The request took longer to arrive than a stated limit."""

    http_status = 408


class MethodError(AskError):
    """The address is there, but not for this HTTP method."""

    http_status = 405


class MissingExtraError(AskError):
    """An optional part is not installed; the message has the install line."""

    exit_code = 3
    http_status = 501


class RefusedError(SartorError):
    """A gate, a limit or a licence says no, and says why."""

    exit_code = 7
    http_status = 403
    error_type = "refused"


class KeyRefusedError(SartorError):
    """No key, or one that is wrong, expired or revoked."""

    exit_code = 6
    http_status = 401
    error_type = "authentication_error"


class ForbiddenError(SartorError):
    """The key is good, but not for this."""

    exit_code = 6
    http_status = 403
    error_type = "permission_error"


class RateError(SartorError):
    """A limit in requests, tokens or money is reached; `retry_after` seconds from now it may not be."""

    exit_code = 75
    http_status = 429
    error_type = "rate_limit_error"

    def __init__(self, message: str, *, retry_after: float, code: str = "rate_limit_exceeded") -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class BusyError(SartorError):
    """More is asked at once than can be answered in time; `retry_after` seconds from now it may be less."""

    exit_code = 75
    http_status = 503
    error_type = "overloaded_error"

    def __init__(self, message: str, *, retry_after: float, code: str = "overloaded") -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class StoreError(SartorError):
    """The store's move: disk full, read-only, damaged, or out of reach. Nothing stored before is lost."""

    http_status = 507


DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def disk_full(error: OSError, where: object) -> StoreError:
    """The error for a write that found no room."""
    why = os.strerror(error.errno or errno.ENOSPC)
    return StoreError(
        f"Tried writing to {where}: {why}. The disk is full. Free space and repeat; nothing stored before is lost.",
        code="store_full",
    )


class UpstreamError(SartorError):
    """Somebody else's server or package index failed; `retryable` says whether asking again can help.

    A status of 4xx says that the upstream found the request wrong: its words are then the application's business.
    """

    http_status = 502
    exit_code = 75

    def __init__(
        self,
        message: str,
        *,
        retryable: bool,
        code: str = "upstream_error",
        status: int = 502,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, code=code, param=param)
        self.retryable = retryable
        self.http_status = status
        self.retry_after = retry_after
        if status < 500:
            self.error_type = "rate_limit_error" if status == 429 else "invalid_request_error"


class OverdueError(SartorError):
    """Our own answer took longer than a stated limit."""

    http_status = 504
    exit_code = 75


class PluginError(SartorError):
    """A plug-in failed in a way that it did not explain."""

    def __init__(self, shelf: str, name: str, cause: BaseException) -> None:
        super().__init__(f"{shelf} plug-in '{name}' failed: {type(cause).__name__}: {cause}", code="plugin_error")
        self.shelf = shelf
        self.name = name


@contextmanager
def boundary(shelf: str, name: str) -> Iterator[None]:
    """Name the plug-in that failed; errors that already speak to the user pass unchanged."""
    try:
        yield
    except SartorError:
        raise
    except ModuleNotFoundError as error:
        raise missing_extra(error.name or "a package", f"{shelf} plug-in '{name}'") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise disk_full(error, error.filename2 or error.filename or f"a file of '{name}'") from error
        raise PluginError(shelf, name, error) from error


EXTRAS = {
    "model2vec": "static",
    "tokenizers": "static",
    "torch": "train",
    "transformers": "train",
    "peft": "train",
    "accelerate": "train",
    "cleanlab": "train",
    "skeletoken": "train",
    "gguf": "train",
    "llguidance": "train",
    "jinja2": "gguf",
    "xllamacpp": "gguf",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "psycopg": "postgres",
    "s3fs": "s3",
    "presidio_analyzer": "pii",
    "simple_icd_10_cm": "demo",
    "duckdb": "analytics",
    "croniter": "worker",
    "dbos": "worker",
    "opentelemetry": "otel",
    "ray": "ray",
    "trl": "preference",
}
"""Import name of an optional package -> the extra that brings it."""


def missing_extra(module: str, wanted_by: str) -> MissingExtraError:
    """The error for an optional package that is not installed, with the exact line that installs it."""
    top = module.split(".", maxsplit=1)[0]
    extra = EXTRAS.get(top)
    line = f"pip install 'sartor[{extra}]'" if extra else f"pip install {top}"
    return MissingExtraError(
        f"{wanted_by} needs the package '{top}', which is not installed. Run: {line}", code="missing_extra"
    )


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest in spelling, if any is close."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def unknown(
    what: str, name: str, known: Iterable[str], *, param: str | None = None, code: str | None = None
) -> NotFoundError:
    """The error for a name that is not known: it lists the known ones, the nearest first.

    Args:
        what: what kind of thing was asked for, as a noun ("recipe", "model").
        known: all names that would have worked; at most 20 are listed.
    """
    names = sorted(known)
    near = nearest(name, names)
    hint = f" Did you mean '{near}'?" if near else ""
    listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return NotFoundError(
        f"There is no {what} '{name}'.{hint} Known: {listed or 'none'}.",
        code=code or f"{what.replace(' ', '_')}_not_found",
        param=param,
    )
