"""What one answer costs to serve: CPU seconds at the price of a core, or tokens at a model's price.

Pure arithmetic. The price of a core is stated, never guessed from the machine; it counts the seconds in which a core
works, so a machine that idles costs more than this says.
"""

from dataclasses import dataclass

from sartor.core.predict import Usage
from sartor.economics.prices import Price, estimate_tokens

CORE_HOUR = 0.04
"""Default price of a CPU core for an hour, in EUR: about what a shared cloud machine costs. State your own."""


@dataclass(frozen=True)
class UnitCost:
    """Money per request, and how it was reckoned."""

    money: float
    currency: str
    says: str


def core_second(per_hour: float = CORE_HOUR) -> float:
    """Money per CPU second at a price per core and hour."""
    return per_hour / 3600.0


def local(cpu_seconds: float, *, per_hour: float = CORE_HOUR, currency: str = "EUR") -> UnitCost:
    """The cost of an answer that took this many CPU seconds here."""
    money = cpu_seconds * core_second(per_hour)
    return UnitCost(money, currency, f"{cpu_seconds:.6f} CPU seconds at {per_hour:g} {currency} per core and hour")


def hosted(usage: Usage, price: Price) -> UnitCost:
    """The cost of an answer that took these tokens from a hosted model."""
    tokens = f"{usage.input_tokens:,} + {usage.output_tokens:,} tokens"
    listed = f"{price.input_million:g} / {price.output_million:g} {price.currency} per million"
    return UnitCost(price.cost(usage), price.currency, f"{tokens} at {listed} ({price.model}, {price.source})")


def estimated(text: str, answer: str, price: Price, *, prompt: str = "") -> UnitCost:
    """The cost of an answer of which only the texts are known; tokens are estimated from their lengths.

    Args:
        prompt: what is sent with every request besides the text (instructions, examples).
    """
    usage = Usage(input_tokens=estimate_tokens(prompt + text), output_tokens=estimate_tokens(answer))
    found = hosted(usage, price)
    return UnitCost(found.money, found.currency, f"estimated: {found.says}")
