"""Traffic of the small task to harvest: exchanges with content, and what people and outcomes say of them."""

import random
from typing import Any

from sartor.core.task import Task
from sartor.core.traffic import Content, Exchange, Feedback, HopRow
from sartor.pipeline.workshop import Workshop
from sartor.store.traffic.treatment import Treatment

START = 1_767_225_600.0
"""2026-01-01 00:00 UTC."""
DAY = 86_400.0
OWN = "a" * 64
WORDS = (
    "amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "ivory", "jetty", "knoll", "larch", "maple",
    "nacre", "olive", "pearl", "quartz", "reed", "sable", "thyme", "umber", "violet", "willow", "yarrow", "zephyr",
)  # fmt: skip
SAY = {"card": "my card", "transfer": "my transfer", "top up": "adding money", "rate": "the exchange rate"}


def asked(number: int, label: str) -> str:
    """A question of a label, unlike all others."""
    draw = random.Random(number)
    return f"{' '.join(draw.sample(WORDS, 4))} {SAY.get(label, label)} {' '.join(draw.sample(WORDS, 3))}"


def learn(task: Task, **changes: Any) -> Task:
    """The task with other settings of the harvest."""
    spec = task.learn.harvest.model_copy(update=changes)
    return task.model_copy(update={"learn": task.learn.model_copy(update={"harvest": spec})})


class Desk:
    """Writes to the traffic log of a store, as the gateway would."""

    def __init__(self, shop: Workshop, writer: str = "w0", *, said: int = 0) -> None:
        self.shop = shop
        self._log = shop.store.traffic.log(writer)
        self._said = said

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
        content = more.pop("content", Content(asked, b"{}"))
        how = Treatment(encrypt=bool(user))
        self._log.append(Exchange(**facts | more), content, how=how)
        return str(facts["id"])

    def say(self, exchange: str, metric: str, value: Any, **more: Any) -> None:
        """Feedback on an exchange, each a second after the one before."""
        self._said += 1
        facts = {"id": f"fb-{self._said:06d}", "at": START + 10 * DAY + self._said, "tenant": "default"}
        told = Feedback(**facts | {"metric": metric, "value": value, "exchange": exchange} | more)
        self._log.append_feedback(told, sync=False)

    def done(self) -> None:
        """Have it all on disk."""
        self._log.flush()
        self._log.close()
