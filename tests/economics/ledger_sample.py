"""Exchanges made by hand, for tests of the books and of forecasts."""

import numpy as np

from sartor.core.traffic import Exchange, HopRow, nanos

DAY = 86_400.0
START = 20_000 * DAY


def exchange(number, *, cost=1_000, by="gpt-4", kind="upstream", at=START, **rest):
    """One live exchange with one hop."""
    tokens = {"input_tokens": 1000, "output_tokens": 5} if kind == "upstream" else {"cpu_seconds": 0.01}
    hop = HopRow(by, kind, cost, **tokens)
    row = {"id": f"chatcmpl-{number}", "at": at, "tenant": "acme", "key": "k", "route": "desk", "model": "desk"}
    return Exchange(**row | {"variant": by, "cost": cost, "hops": [hop], "label": "card"} | rest)


def traffic(days, *, seed=0, volume=200, growth=0.0, routes=("desk",), fixed=900):
    """Exchanges of whole days with the giant, whose requests grow and follow the week."""
    random, found = np.random.default_rng(seed), []
    week = (1.2, 1.2, 1.1, 1.1, 1.0, 0.5, 0.4)
    for day in range(days):
        for i, route in enumerate(routes):
            for _ in range(random.poisson(volume / (i + 1) * week[day % 7] * np.exp(growth * day))):
                tokens = fixed + int(random.integers(5, 60))
                cost = nanos((tokens * 30 + 5 * 60) / 1e6)
                at = START + (day + random.random()) * DAY
                hops = [HopRow("gpt-4", "upstream", cost, tokens, 5)]
                found.append(exchange(len(found), at=at, route=route, cost=cost, hops=hops))
    return found


class Given:
    """Traffic from lists."""

    def __init__(self, exchanges, feedback=()):
        self._exchanges, self._feedback = list(exchanges), list(feedback)

    def exchanges(self):
        return iter(self._exchanges)

    def feedback(self):
        return iter(self._feedback)
