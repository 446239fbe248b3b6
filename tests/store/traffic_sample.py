"""Exchanges and feedback to write down, different by their number."""

from typing import Any

from sartor.core.traffic import Content, Exchange, Feedback, HopRow

START = 1_763_985_600.0
"""2025-11-24 12:00 UTC."""


def exchange(number: int, **changes: Any) -> Exchange:
    """One local hop; every third was passed on to an upstream."""
    hops = [HopRow("f" * 64, "local", 1000 + number, 20, 1, 0.001, 0.002, 0.5 + number % 50 / 100, "card")]
    if number % 3 == 0:
        hops.append(HopRow("gpt-4", "upstream", 5_000_000 + number, 900, 3, 0.0, 0.8, None, "cash", "escalated"))
    facts: dict[str, Any] = {
        "id": f"chatcmpl-{number:08d}",
        "at": START + number,
        "tenant": "acme",
        "key": "k1",
        "route": "triage",
        "model": "triage@live",
        "task": "triage",
        "version": "triage@v1",
        "variant": "f" * 64,
        "label": "cash" if number % 3 == 0 else "card",
        "cost": sum(h.cost for h in hops),
        "input_tokens": sum(h.input_tokens for h in hops),
        "output_tokens": sum(h.output_tokens for h in hops),
        "seconds": 0.25,
        "hops": hops,
    }
    return Exchange(**facts | changes)


def content(number: int, text: str = "") -> Content:
    """A chat and its answer."""
    asked = f'{{"messages":[{{"role":"user","content":"{text or f"question {number}"}"}}]}}'
    answered = f'{{"choices":[{{"message":{{"role":"assistant","content":"answer {number}"}}}}]}}'
    return Content(asked.encode(), answered.encode())


def feedback(number: int, **changes: Any) -> Feedback:
    """That an answer was right, or not."""
    facts: dict[str, Any] = {
        "id": f"fb-{number}",
        "at": START + 86_400 + number,
        "tenant": "acme",
        "metric": "correct",
        "value": number % 2 == 0,
        "exchange": f"chatcmpl-{number:08d}",
    }
    return Feedback(**facts | changes)
