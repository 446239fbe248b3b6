"""Traffic of the small task to harvest: exchanges with content, and what people and outcomes say of them."""

from typing import Any

from sartor.core.traffic import Content, Exchange, Feedback, HopRow
from sartor.pipeline.workshop import Workshop

START = 1_767_225_600.0
"""2026-01-01 00:00 UTC."""
DAY = 86_400.0
OWN = "a" * 64


class Desk:
    """Writes to the traffic log of a store, as the gateway would."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self._log = shop.store.traffic.log("w0")
        self._said = 0

    def ask(self, number: int, text: str, answer: str | None, *, giant: str = "", user: str = "", **more: Any) -> str:
        """One exchange; `giant` is the answer of an upstream that was asked too."""
        hops = [HopRow(OWN, "local", 1, label=answer, confidence=0.6)]
        if giant:
            hops.append(HopRow("gpt-4", "upstream", 1000, label=giant))
        facts = {
            "id": f"chatcmpl-{number:06d}", "at": START + number * DAY / 100, "tenant": "default", "key": "k",
            "route": "triage", "model": "triage", "task": "desk", "variant": OWN, "label": giant or answer,
            "subject": self.shop.store.traffic.mark(user) if user else "", "hops": hops,
        }  # fmt: skip
        asked = b'{"messages":[{"role":"user","content":"%s"}]}' % text.encode()
        self._log.append(Exchange(**facts | more), Content(asked, b"{}"))
        return str(facts["id"])

    def say(self, exchange: str, metric: str, value: Any, **more: Any) -> None:
        """Feedback on an exchange."""
        self._said += 1
        facts = {"id": f"fb-{self._said:06d}", "at": START + 10 * DAY + self._said, "tenant": "default"}
        told = Feedback(**facts | {"metric": metric, "value": value, "exchange": exchange} | more)
        self._log.append_feedback(told, sync=False)

    def done(self) -> None:
        """Have it all on disk."""
        self._log.flush()
        self._log.close()
