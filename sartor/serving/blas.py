"""Keeps numpy's matrix products on one thread while a batch is scored. Knows nothing of models.

The products here are so small that waking a second thread costs more than it helps: measured, 64 rows by 154 columns
take three times the CPU time with two threads. The setting belongs to the process, so it is put back afterwards:
training in the same process must not depend on whether something was served before.
"""

from functools import cached_property
from threading import Lock
from typing import Any


class OneBlasThread:
    """A context that many threads may be in: the first to enter sets the limit, the last to leave lifts it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._limit: Any = None

    @cached_property
    def _controller(self) -> Any:
        from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

        return ThreadpoolController().select(user_api="blas")

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._limit = self._controller.limit(limits=1)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limit.restore_original_limits()


ONE_BLAS_THREAD = OneBlasThread()
