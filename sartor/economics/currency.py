"""Money of one currency in another, by rates that the owner states. No rate is ever assumed or fetched."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sartor.core.errors import AskError
from sartor.economics.prices import Price


@dataclass(frozen=True)
class Books:
    """The currency in which everything is booked, and what one of each other currency is in it."""

    currency: str
    rates: Mapping[str, float]

    def rate(self, currency: str) -> float:
        """What one of `currency` is in the books' currency.

        Raises:
            AskError: nobody stated it.
        """
        if currency == self.currency:
            return 1.0
        if currency not in self.rates:
            known = ", ".join(sorted(self.rates)) or "none"
            raise AskError(
                f"An amount in {currency} can't be booked in {self.currency}: no rate is stated (stated: {known}). "
                f"Set SARTOR_RATES={currency}=…, what one {currency} is in {self.currency}.",
                param="SARTOR_RATES",
                code="no_rate",
            )
        return self.rates[currency]

    def take(self, money: float, currency: str) -> float:
        """An amount in the books' currency.

        Raises:
            AskError: no rate is stated for its currency.
        """
        return money * self.rate(currency)

    def price(self, price: Price) -> Price:
        """A price in the books' currency; its source then names the rate.

        Raises:
            AskError: no rate is stated for its currency.
        """
        rate = self.rate(price.currency)
        if price.currency == self.currency:
            return price
        return replace(
            price,
            input_million=price.input_million * rate,
            output_million=price.output_million * rate,
            cached_million=None if price.cached_million is None else price.cached_million * rate,
            currency=self.currency,
            source=f"{price.source}, 1 {price.currency} = {rate:g} {self.currency}",
        )
