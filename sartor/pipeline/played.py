"""What files answer that were made and recorded nowhere: a variant that is only played with, asked about rows."""

import json
from collections.abc import Sequence
from pathlib import Path

from sartor.core.calibration import Calibration
from sartor.core.rows import Row
from sartor.evaluation.answers import Answers, collect
from sartor.pipeline.answer import likeliest
from sartor.pipeline.asking_others import KeptUpstreams
from sartor.pipeline.embeddings import EmbeddingCache
from sartor.pipeline.make import Order, embed_of
from sartor.pipeline.workshop import Workshop
from sartor.serving.engine import Engine, Writer, open_engine
from sartor.serving.fleet import Answered, calibrated, told

KEY = "played"


def played_answers(
    shop: Workshop, cache: EmbeddingCache, what: Order, folder: Path, engine: str, rows: Sequence[Row]
) -> Answers:
    """The likeliest answers, calibrated, of files that `make.fill` wrote; not for mixtures.

    Args:
        engine: name of the engine that serves them.
    """
    base = shop.store.folder(what.base) if what.base else None
    opened = open_engine(engine, base, threads=shop.threads, upstreams=KeptUpstreams(shop))
    opened.add(KEY, folder)
    calibration = Calibration.model_validate(json.loads((folder / "calibration.json").read_text(encoding="utf-8")))
    work = [(KEY, row.text) for row in rows]
    if isinstance(opened, Writer):
        answered = [told(written, calibration, 0.0) for written in opened.write(work)]
    else:
        assert isinstance(opened, Engine)
        scored = opened.score(work, embed=embed_of(shop, cache, what.base) if what.base else None)
        found = calibrated(scored, [calibration] * len(scored))
        answered = [
            Answered(f.probabilities, f.out_of_scope, s.logits, 0.0) for f, s in zip(found, scored, strict=True)
        ]
    labels = what.snapshot.labels
    return collect(rows, labels, likeliest(labels).decide(KEY, answered))
