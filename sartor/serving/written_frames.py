"""Written answers, wishes and pieces as bytes between the processes of one machine. Knows no sockets."""

from dataclasses import asdict, fields
from typing import Any

import numpy as np
import orjson

from sartor.core.predict import Claim, Doubts, Usage, Wish
from sartor.serving.engine import Written
from sartor.serving.fleet import Answered


def packed_wish(wish: Wish | None) -> dict[str, Any] | None:
    """A wish as JSON. Whether somebody has gone is told by the connection."""
    if wish is None:
        return None
    return {field.name: getattr(wish, field.name) for field in fields(wish)} | {"gone": None}


def wish_of(told: dict[str, Any] | None) -> Wish | None:
    """The wish that was packed."""
    return None if told is None else Wish(**{**told, "stop": tuple(told["stop"])})


def packed(answered: Answered) -> bytes:
    """A written answer; what was said is in its claims."""
    written = answered.written
    assert written is not None
    told = {
        "far": answered.out_of_scope,
        "cpu_seconds": answered.cpu_seconds,
        "claims": [asdict(claim) for claim in answered.claims],
        "doubts": asdict(answered.doubts),
        "output": written.output,
        "usage": asdict(written.usage),
        "novelty": written.novelty,
        "finish": written.finish,
        "logprobs": written.logprobs,
        "cost": written.cost,
    }
    return orjson.dumps(told)


def unpacked(frame: bytes | memoryview) -> Answered:
    """The written answer that was packed."""
    told = orjson.loads(frame)
    claims = tuple(
        Claim(**{**claim, "span": tuple(claim["span"]) if claim["span"] else None}) for claim in told["claims"]
    )
    written = Written(
        told["output"],
        (),
        Usage(**told["usage"]),
        told["novelty"],
        told["finish"],
        tuple((token, score) for token, score in told["logprobs"]),
        told["cost"],
    )
    doubts = Doubts(told["doubts"]["unseen"], tuple(told["doubts"]["whole"]))
    empty = np.empty(0)
    return Answered(empty, told["far"], empty, told["cpu_seconds"], claims, doubts, written)
