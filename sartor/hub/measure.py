"""Measures a base on this machine: size, memory, speed at batch 1 and 32, and the machine itself.

Knows nothing of engines: it is given a function that embeds texts. Every figure is machine-bound.
"""

import math
import os
import platform
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from sartor.core.predict import Floats
from sartor.core.progress import Progress, silent
from sartor.hub.safety import check_safetensors

Embed = Callable[[Sequence[str]], Floats]
"""(n, d) from n texts."""

SECONDS = 1.5
"""Time that each batch size is measured for, at least."""
SENTENCES = (
    "My card has not arrived yet and I ordered it two weeks ago.",
    "Where can I see the exchange rate for a transfer to another country?",
    "Please cancel the payment that I made this morning, it was a mistake.",
    "Acute bronchitis due to other specified organisms, without complications.",
    "The delivery was late, but the driver was friendly and helped to carry it in.",
    "Stainless steel kitchen knife, eight inches, dishwasher safe, black handle.",
    "How do I reset the password of an account that I can no longer open?",
    "Contract for the supply of office furniture, to be delivered in three parts.",
)
"""Eight sentences of about twenty tokens each."""


def measure(
    embed: Embed, folder: Path, *, threads: int, resident_before: int = 0, progress: Progress = silent
) -> dict[str, Any]:
    """The card of a base.

    Args:
        embed: the base's function; if it loads when first called, that is measured too.
        folder: the base's files.
        threads: what the engine was told; goes on the card.
        resident_before: `resident_bytes()` from before the base was loaded; 0 if nobody looked.

    Returns:
        bytes, parameters, memory_bytes (growth since `resident_before`, None where that is not known),
        first_seconds (the first call), batch_1 and batch_32 (each milliseconds, the median batch, and
        sentences_per_second), machine.
    """
    started = time.perf_counter()
    embed(SENTENCES)
    first = time.perf_counter() - started
    resident = resident_bytes()
    card: dict[str, Any] = {
        "bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        "parameters": sum(check_safetensors(file) for file in folder.rglob("*.safetensors")) or None,
        "memory_bytes": max(resident - resident_before, 0) if resident and resident_before else None,
        "first_seconds": round(first, 3),
    }
    for done, size in enumerate((1, 32)):
        progress("measure", done, 2)
        card[f"batch_{size}"] = _speed(embed, size)
    progress("measure", 2, 2)
    return card | {"machine": machine() | {"threads": threads}}


def _speed(embed: Embed, size: int) -> dict[str, float]:
    """Median over batches that rotate through the sentences, after one that warms up."""
    texts = list(SENTENCES) * math.ceil(size / len(SENTENCES) + 1)
    embed(texts[:size])
    taken: list[float] = []
    while sum(taken) < SECONDS or len(taken) < 5:
        first = len(taken) % len(SENTENCES)
        started = time.perf_counter()
        embed(texts[first : first + size])
        taken.append(time.perf_counter() - started)
    middle = median(taken)
    return {"milliseconds": round(middle * 1000, 4), "sentences_per_second": round(size / middle, 1)}


def machine() -> dict[str, Any]:
    """Processor, cores, system and Python."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def resident_bytes() -> int:
    """Memory that this process holds now; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * resource.getpagesize()
