"""Writes many answers at once with one language model, each with its own adapter, token by token.

Answers join and leave between passes: nobody waits for a neighbour's. There is no thread of its own; whoever waits for
an answer makes the next pass for all (after Yu et al. 2022, "Orca", iteration-level scheduling). Knows no files.
"""

import time
from collections import deque
from collections.abc import Callable
from threading import Condition

import torch

from sartor.core.errors import SartorError
from sartor.serving.causal import Causal, Run
from sartor.serving.causal_line import Line
from sartor.serving.causal_mix import Bank

PASS_TOKENS = 512
"""Tokens of questions that one pass reads at most, so that answers under way go on between."""
FEW = 16
"""A run up to here counts as part of an answer and always goes along."""


class Decoder:
    """One model and the answers under way. Safe to use from several threads."""

    def __init__(self, model: Causal, *, lines: int, cache_tokens: int, threads: int) -> None:
        """Hold no answers yet.

        Args:
            lines: answers under way at once, at most.
            cache_tokens: tokens whose keys and values are held at once, at most; one answer is always let in.
        """
        self.model = model
        self._most = lines
        self._cache_tokens = cache_tokens
        self._clock = time.thread_time if threads == 1 else time.process_time
        self._cache = model.new_cache()
        self._bank = Bank()
        self._active: list[Line] = []
        self._waiting: deque[Line] = deque()
        self._turn = Condition()
        self._busy = False

    @property
    def count(self) -> int:
        """Answers under way."""
        return len(self._active) + len(self._waiting)

    def submit(self, line: Line) -> None:
        """Let an answer be written."""
        with self._turn:
            self._waiting.append(line)

    def until(self, ready: Callable[[], bool]) -> None:
        """Make passes, or wait for those of others, until `ready`."""
        while True:
            with self._turn:
                while self._busy and not ready():
                    self._turn.wait()
                if ready():
                    return
                self._busy = True
            try:
                self._pass()
            finally:
                with self._turn:
                    self._busy = False
                    self._turn.notify_all()

    @torch.inference_mode()
    def _pass(self) -> None:
        self._leave()
        self._admit()
        if not self._active:
            return
        begun = self._clock()
        runs, lines = self._runs()
        try:
            mix = self._bank.mix([line.adapter for line in lines], [len(run.tokens) for run in runs])
            logits = self.model.logits(runs, self._cache, mix)
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait, whoever made the pass
            for line in self._active:
                line.error, line.finish = error, "cancelled"
            self._active = []
            return
        for place, (run, line) in enumerate(zip(runs, lines, strict=True)):
            line.seen += len(run.tokens)
            del line.ahead[: len(run.tokens)]
            if not line.ahead:
                self._choose(line, logits[place])
        each = (self._clock() - begun) / sum(len(run.tokens) for run in runs)
        for run, line in zip(runs, lines, strict=True):
            line.cpu_seconds += each * len(run.tokens)
        self._leave()

    def _choose(self, line: Line, logits: torch.Tensor) -> None:
        try:
            line.choose(logits, self.model.ends, self.model.backend)
        except SartorError as error:
            line.error, line.finish = error, "cancelled"

    def _runs(self) -> tuple[list[Run], list[Line]]:
        """What goes through the model now: all answers' newest tokens, and questions as far as there is room."""
        room = PASS_TOKENS
        runs, lines = [], []
        for row, line in enumerate(self._active):
            count = len(line.ahead)
            if count > FEW or line.seen == 0:
                count = min(count, room)
                room -= count
            if count:
                runs.append(Run(row, line.seen, line.ahead[:count]))
                lines.append(line)
        return runs, lines

    def _admit(self) -> None:
        with self._turn:
            held = sum(_span(line) for line in self._active)
            while self._waiting and len(self._active) < self._most:
                line = self._waiting[0]
                if self._active and held + _span(line) > self._cache_tokens:
                    return
                self._waiting.popleft()
                if _given_up(line):
                    continue
                line.begin(self.model.backend)
                if line.finish is None:
                    held += _span(line)
                    self._active.append(line)

    def _leave(self) -> None:
        """Take out what is whole, cancelled or too late; the last row fills the gap."""
        for row in range(len(self._active) - 1, -1, -1):
            line = self._active[row]
            if not _given_up(line):
                continue
            last = self._active.pop()
            if last is not line:
                if last.seen:  # one that waits for its first pass has no row of the cache yet
                    self._cache.move(len(self._active), row, last.seen)
                self._active[row] = last


def _span(line: Line) -> int:
    return len(line.prompt) + line.limit


def _given_up(line: Line) -> bool:
    """Whether it is whole, or nobody wants the rest."""
    if line.finish is None and (line.cancelled or (line.gone is not None and line.gone())):
        line.finish = "cancelled"
    elif line.finish is None and line.deadline is not None and time.monotonic() >= line.deadline:
        line.finish = "deadline"
    return line.finish is not None
