"""What hosted models charge: list prices from genai-prices, or the prices that a company really pays.

Knows nothing of who asks what. Prices are in the currency in which they are stated (list prices: US dollars); another
one takes a rate that the owner states (see `currency`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sartor.core.errors import unknown
from sartor.core.predict import Usage

LIST_CURRENCY = "USD"
CHARACTERS_PER_TOKEN = 4
"""Rule of thumb for English text under the tokenizers of hosted models; an estimate, not a count."""


class PriceOverride(BaseModel):
    """A price that wins over the list price."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    input_million: float = Field(ge=0)
    """Money per million tokens of input."""
    output_million: float = Field(ge=0)
    cached_million: float | None = Field(default=None, ge=0)
    """Money per million tokens of input that the provider had cached; None: as other input."""
    currency: str = LIST_CURRENCY
    source: str = "override"


NO_OVERRIDES: Mapping[str, PriceOverride] = MappingProxyType({})


@dataclass(frozen=True)
class Price:
    """What a model charges, and who says so."""

    model: str
    provider: str
    input_million: float
    """Money per million tokens of input."""
    output_million: float
    currency: str
    source: str
    """The list with its version, or who stated the override."""
    date: str
    """The day for which it was asked, ISO 8601: list prices change by date, also within one version of the list."""
    cached_million: float | None = None
    """Money per million tokens of input that the provider had cached; None: as other input."""

    def cost(self, usage: Usage) -> float:
        """Money for these tokens, in `currency`."""
        cached = min(usage.cached_tokens, usage.input_tokens)
        cached_million = self.input_million if self.cached_million is None else self.cached_million
        asked = (usage.input_tokens - cached) * self.input_million + cached * cached_million
        return (asked + usage.output_tokens * self.output_million) / 1e6


def price_of(
    model: str,
    *,
    provider: str | None = None,
    overrides: Mapping[str, PriceOverride] = NO_OVERRIDES,
    on: date | None = None,
) -> Price:
    """The price of a hosted model. Where it rises with the length of a request, what short requests pay.

    Args:
        overrides: model -> price, for contracts that differ from the list and models that no list has.
        on: the day; default today, in UTC.

    Raises:
        NotFoundError: no list has the model, and no override names it.
    """
    day = on or datetime.now(UTC).date()
    if (own := overrides.get(model)) is not None:
        return Price(
            model=model,
            provider=provider or "",
            input_million=own.input_million,
            output_million=own.output_million,
            currency=own.currency,
            source=own.source,
            date=day.isoformat(),
            cached_million=own.cached_million,
        )
    return _listed(model, provider, day, overrides)


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has: a quarter of its characters, rounded up. An estimate, to be shown as one."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def _listed(model: str, provider: str | None, day: date, overrides: Mapping[str, PriceOverride]) -> Price:
    from genai_prices import Usage as Tokens
    from genai_prices import calc_price

    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    try:
        found = calc_price(Tokens(), model_ref=model, provider_id=provider, genai_request_timestamp=noon)
    except LookupError:
        raise _no_price(model, overrides) from None
    charged: Any = found.model_price
    return Price(
        model=model,
        provider=found.provider.id,
        input_million=_first_tier(charged.input_mtok),
        output_million=_first_tier(charged.output_mtok),
        currency=LIST_CURRENCY,
        source=f"genai-prices {version('genai-prices')}",
        date=day.isoformat(),
        cached_million=_first_tier(charged.cache_read_mtok) if charged.cache_read_mtok is not None else None,
    )


def _first_tier(stated: Any) -> float:
    return float(getattr(stated, "base", stated) or 0)


def _no_price(model: str, overrides: Mapping[str, PriceOverride]) -> Exception:
    from genai_prices.data_snapshot import get_snapshot

    listed = {found.id for provider in get_snapshot().providers for found in provider.models}
    return unknown("price for model", model, {*listed, *overrides}, param="model", code="no_price")
