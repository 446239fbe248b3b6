"""Many variants behind one call: engines shared by base, variants loaded on first use, answers calibrated.

Knows no ledger and no vault (it is told where a verified folder lies) and no money.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import cast

import numpy as np
from pydantic import ValidationError

from sartor.core.calibration import Calibration, ClaimScale
from sartor.core.claims import field_of
from sartor.core.errors import AskError, SartorError, StoreError, boundary
from sartor.core.predict import NO_DOUBTS, Claim, Doubts, Floats, Wish
from sartor.core.records import Variant
from sartor.serving.engine import Embed, Engine, Flowing, Mixer, Scored, Upstreams, Work, Writer, Written, open_engine
from sartor.serving.files import read_json
from sartor.serving.probe import check_probe

EmbedCache = Callable[[str, list[str], Embed], Floats]
"""`cache(base digest, texts, compute)` -> (texts, d) embeddings; calls `compute` for the texts it does not have."""

PLAIN = Calibration()
"""Changes nothing."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a variant says about one text, calibrated."""

    probabilities: Floats
    """(labels,) float64."""
    out_of_scope: float
    logits: Floats
    """(labels,) before calibration."""
    cpu_seconds: float
    """This text's share of the batch's CPU time."""
    claims: tuple[Claim, ...] = ()
    """Of a variant that writes: what it said, value by value."""
    doubts: Doubts = NO_DOUBTS
    """What is known of them beyond their own chances."""
    written: Written | None = None
    """What it wrote, as it did."""


@dataclass(frozen=True, slots=True)
class _Held:
    variant: Variant
    calibration: Calibration
    engine: Engine | Mixer | Writer
    mixer: Mixer | None
    """The engine, where it mixes others' answers: to ask what it is takes longer than many an answer."""
    writer: Writer | None
    """The engine, where it writes answers."""


class Fleet:
    """Answers (variant, text) pairs. Safe to use from several threads."""

    def __init__(
        self,
        variant_of: Callable[[str], Variant],
        folder_of: Callable[[str], Path],
        *,
        threads: int = 1,
        embed_cache: EmbedCache | None = None,
        upstreams: Upstreams | None = None,
    ) -> None:
        """Hold nothing yet.

        Args:
            variant_of: the record of a variant's digest.
            folder_of: a folder with the verified files of an artifact, by digest (variants and bases).
            threads: CPU threads of one pass of a base.
            embed_cache: asked for the embeddings of frozen bases before they are computed.
            upstreams: asked by variants that are prompts for somebody else's model.
        """
        self._variant_of = variant_of
        self._folder_of = folder_of
        self._threads = threads
        self._cache = embed_cache
        self._upstreams = upstreams
        self._engines: dict[tuple[str, str], Engine | Mixer | Writer] = {}
        self._held: dict[str, _Held] = {}
        self._loading = RLock()

    def load(self, digest: str) -> None:
        """Load a variant now instead of at its first question.

        Raises:
            NotFoundError: no such variant, or none such engine.
            MissingExtraError: its engine needs a package that is not installed.
            StoreError: its files are missing or damaged.
        """
        self._hold(digest)

    def drop(self, digest: str) -> None:
        """Let a variant go; its engine and base stay. Stop asking it first: a question under way would fail."""
        with self._loading:
            held = self._held.pop(digest, None)
            if held is not None:
                held.engine.drop(digest)

    def probabilities(self, work: Work) -> list[Answered]:
        """One answer per (variant digest, text), in order; variants of one base share a pass of it."""
        results: list[Answered | None] = [None] * len(work)
        groups: dict[int, list[int]] = {}
        held = {digest: self._hold(digest) for digest in {digest for digest, _ in work}}
        for row, (digest, _) in enumerate(work):
            groups.setdefault(id(held[digest].engine), []).append(row)
        for rows in groups.values():
            for row, answered in zip(rows, self._answer([work[row] for row in rows], held), strict=True):
                results[row] = answered
        return [result for result in results if result is not None]

    def embed(self, engine: str, base: str, texts: Sequence[str]) -> Floats:
        """(texts, d) L2-normalised embeddings of a base, by its digest.

        Raises:
            AskError: this kind of engine has no embeddings.
        """
        with self._loading:
            found = self._engine(engine, base)
        if not isinstance(found, Engine):
            raise AskError(f"The engine '{engine}' has no embeddings.", code="no_embeddings")
        return found.embed(list(texts))

    def _answer(self, work: Work, held: Mapping[str, _Held]) -> list[Answered]:
        """Answers of variants that share an engine."""
        first = held[work[0][0]]
        if first.mixer is not None:
            return self._mixed(first.mixer, work, held)
        if first.writer is not None:
            return self._written(first.writer, work, held)
        engine = cast("Engine", first.engine)
        clock = _cpu_clock(self._threads)
        begun = clock()
        scored = engine.score(work, embed=self._cached(engine, first.variant))
        found = calibrated(scored, [held[digest].calibration for digest, _ in work])
        each = (clock() - begun) / len(work)
        return [Answered(f.probabilities, f.out_of_scope, s.logits, each) for f, s in zip(found, scored, strict=True)]

    def _mixed(self, engine: Mixer, work: Work, held: Mapping[str, _Held]) -> list[Answered]:
        """Answers of blends: their parts are asked through the fleet, so that parts share passes too."""
        asked = [(held[digest].variant.parents[role], text) for digest, text in work for role in engine.roles(digest)]
        parts = iter(self.probabilities(asked))
        scored, spent = [], []
        for digest, _ in work:
            said = {role: next(parts) for role in engine.roles(digest)}
            logits = engine.mix(digest, {role: part.probabilities[None, :] for role, part in said.items()})[0]
            scored.append(Scored(logits))
            spent.append(sum(part.cpu_seconds for part in said.values()))
        found = calibrated(scored, [held[digest].calibration for digest, _ in work])
        return [
            Answered(f.probabilities, f.out_of_scope, s.logits, each)
            for f, s, each in zip(found, scored, spent, strict=True)
        ]

    def _written(self, engine: Writer, work: Work, held: Mapping[str, _Held]) -> list[Answered]:
        """Answers of variants that write."""
        clock = _cpu_clock(self._threads)
        begun = clock()
        found = engine.write(work)
        each = (clock() - begun) / len(work)
        return [told(written, held[digest].calibration, each) for written, (digest, _) in zip(found, work, strict=True)]

    def flows(self, digest: str) -> bool:
        """Whether answers of a variant are best asked for one by one, as they come."""
        return isinstance(self._hold(digest).engine, Flowing)

    def pieces(self, digest: str, text: str, wish: Wish | None = None) -> Iterator[str | Answered]:
        """The answer of a variant that writes, as it is written: pieces of text, then the whole.

        Raises:
            AskError: it does not write its answers.
        """
        held = self._hold(digest)
        if held.writer is None:
            raise AskError(f"Variant '{held.variant.name}' chooses its answers, and writes none.", code="no_writer")
        clock = _cpu_clock(self._threads)
        begun = clock()
        written = held.writer.pieces(digest, text, wish)
        try:
            for piece in written:
                yield piece if isinstance(piece, str) else told(piece, held.calibration, clock() - begun)
        finally:
            if isinstance(written, Generator):
                written.close()

    def _cached(self, engine: Engine, variant: Variant) -> Embed | None:
        base, cache = variant.parents.get("base"), self._cache
        if cache is None or base is None:
            return None
        return lambda texts: cache(base, list(texts), engine.embed)

    def _hold(self, digest: str) -> _Held:
        if (held := self._held.get(digest)) is not None:
            return held
        with self._loading:
            if digest not in self._held:
                self._held[digest] = self._load(digest)
            return self._held[digest]

    def _load(self, digest: str) -> _Held:
        variant = self._variant_of(digest)
        folder = self._folder_of(digest)
        try:
            calibration = Calibration.model_validate(read_json(folder, "calibration.json"))
        except ValidationError as error:
            raise StoreError(f"The calibration in {folder} is not one: {error}", code="variant_damaged") from error
        engine = self._engine(variant.engine, variant.parents.get("base", ""))
        with boundary("sartor.serving.engines", variant.engine):
            engine.add(digest, folder)
        mixer = engine if isinstance(engine, Mixer) else None
        if mixer is not None:
            for role in mixer.roles(digest):
                self._load_part(variant, role)
        try:
            check_probe(engine, digest, folder, variant.name)
        except StoreError:
            engine.drop(digest)
            raise
        return _Held(variant, calibration, engine, mixer, engine if isinstance(engine, Writer) else None)

    def _load_part(self, variant: Variant, role: str) -> None:
        if role not in variant.parents:
            raise StoreError(f"Variant '{variant.name}' mixes a part '{role}' that is none of its parents.")
        part = self._hold(variant.parents[role]).variant
        if part.labels != variant.labels:
            raise SartorError(f"Variant '{variant.name}' mixes '{part.name}', which has other labels.")

    def _engine(self, name: str, base: str) -> Engine | Mixer | Writer:
        if (name, base) not in self._engines:
            folder = self._folder_of(base) if base else None
            self._engines[name, base] = open_engine(name, folder, threads=self._threads, upstreams=self._upstreams)
        return self._engines[name, base]


NO_LOGITS: Floats = np.empty(0)


def told(written: Written, calibration: Calibration, cpu_seconds: float) -> Answered:
    """A written answer with the chances of its values."""
    scale = calibration.claims or ClaimScale()
    claims = tuple(
        Claim(said.path, said.value, *scale.chances(said.score, field_of(said.path)), said.span)
        for said in written.said
    )
    far = 0.0 if written.novelty is None else written.novelty
    # Where answers share passes, or are written by threads of the engine's own, only it knows whose time it was.
    cpu_seconds = written.usage.cpu_seconds or cpu_seconds
    return Answered(NO_LOGITS, far, NO_LOGITS, cpu_seconds, claims, scale.doubts, written)


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Calibrated scores of one text."""

    probabilities: Floats
    out_of_scope: float


def calibrated(scored: Sequence[Scored], calibrations: Sequence[Calibration]) -> list[Calibrated]:
    """`Calibration.probabilities` and `.out_of_scope` for rows of different variants, in a few array operations."""
    results: list[Calibrated | None] = [None] * len(scored)
    by_kind: dict[tuple[int, bool], list[int]] = {}
    for row, (score, calibration) in enumerate(zip(scored, calibrations, strict=True)):
        far = score.novelty is not None and calibration.novelty is not None
        by_kind.setdefault((len(score.logits), far), []).append(row)
    for (_, far), rows in by_kind.items():
        mine = [calibrations[row] for row in rows]
        logits = np.array([scored[row].logits for row in rows], dtype=np.float64)
        logits /= np.array([c.temperature for c in mine])[:, None]
        mean, std = np.array([c.energy for c in mine]).T
        outside = (PLAIN.raw_energy(logits) - mean) / std
        if far:
            mean, std = np.array([c.novelty for c in mine]).T
            outside = (outside + (np.array([scored[row].novelty for row in rows]) - mean) / std) / 2.0
        for row, shares, score in zip(rows, PLAIN.probabilities(logits), outside.tolist(), strict=True):
            results[row] = Calibrated(shares, score)
    return [result for result in results if result is not None]


def _cpu_clock(threads: int) -> Callable[[], float]:
    """One thread's time is exact; with several, only the process knows, and whatever else runs in it is counted too."""
    return time.thread_time if threads == 1 else time.process_time
