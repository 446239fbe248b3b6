"""Prices: from the list, from overrides, in other currencies by stated rates; and what a request costs by them."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sartor.core.errors import AskError, NotFoundError
from sartor.core.predict import Usage
from sartor.economics.currency import Books
from sartor.economics.prices import PriceOverride, estimate_tokens, price_of
from sartor.economics.unit_cost import core_second, estimated, hosted, local
from sartor.hub.catalogue.hosted import MODELS


def test_a_list_price_says_where_it_is_from_and_for_which_day() -> None:
    price = price_of("gpt-4", provider="openai", on=date(2026, 11, 1))
    assert (price.input_million, price.output_million, price.currency) == (30.0, 60.0, "USD")
    assert price.source.startswith("genai-prices ")
    assert (price.provider, price.date) == ("openai", "2026-11-01")


def test_our_arithmetic_agrees_with_the_list_itself() -> None:
    from genai_prices import Usage as Tokens
    from genai_prices import calc_price

    for model in ("gpt-3.5-turbo", "gpt-4o-mini", "gemini-2.5-pro", "mistral-large-latest"):
        ours = price_of(model).cost(Usage(input_tokens=1000, output_tokens=100))
        theirs = calc_price(Tokens(input_tokens=1000, output_tokens=100), model_ref=model).total_price
        assert ours == pytest.approx(float(theirs), rel=1e-12)


def test_every_hosted_model_of_the_catalogue_has_a_price() -> None:
    found = [(model, provider) for provider, models in MODELS.items() for model in models]
    assert len(found) >= 10
    assert all(price_of(model, provider=provider).input_million > 0 for model, provider in found)


def test_an_override_wins_and_keeps_its_currency() -> None:
    own = {"gpt-4": PriceOverride(input_million=20, output_million=40, currency="EUR", source="contract 7")}
    price = price_of("gpt-4", overrides=own)
    assert (price.input_million, price.currency, price.source) == (20, "EUR", "contract 7")
    assert price_of("in-house", overrides={"in-house": own["gpt-4"]}).output_million == 40
    with pytest.raises(ValidationError):
        PriceOverride(input_million=float("nan"), output_million=1)


def test_a_model_without_a_price_names_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"no price for model 'gpt-4o-minni'\. Did you mean 'gpt-4o-mini'"):
        price_of("gpt-4o-minni")


def test_cpu_seconds_cost_what_is_stated() -> None:
    assert core_second(0.04) * 3600 == pytest.approx(0.04)
    cost = local(0.009, per_hour=0.36, currency="CHF")
    assert (cost.money, cost.currency) == (pytest.approx(9e-7), "CHF")
    assert "0.36 CHF per core and hour" in cost.says


def test_tokens_cost_what_the_model_charges() -> None:
    cost = hosted(Usage(input_tokens=1000, output_tokens=100), price_of("gpt-4"))
    assert cost.money == pytest.approx(0.036)
    assert "1,000 + 100 tokens at 30 / 60 USD per million (gpt-4, genai-prices" in cost.says
    guess = estimated("a" * 4000, "b" * 400, price_of("gpt-4"))
    assert guess.money == pytest.approx(0.036)
    assert guess.says.startswith("estimated:")


def test_tokens_that_the_provider_had_cached_are_cheaper_where_it_says_so():
    price = price_of("gpt-4o-mini")
    plain, cached = Usage(1000, 0), Usage(1000, 0, cached_tokens=600)
    assert price.cost(cached) == pytest.approx((400 * price.input_million + 600 * price.cached_million) / 1e6)
    assert price.cost(cached) < price.cost(plain)
    own = PriceOverride(input_million=20, output_million=40)
    assert price_of("x", overrides={"x": own}).cost(cached) == price_of("x", overrides={"x": own}).cost(plain)
    assert price.cost(Usage(10, 0, cached_tokens=99)) == pytest.approx(10 * price.cached_million / 1e6)


@given(st.floats(0.01, 100), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_price_in_another_currency_costs_what_its_money_is_worth(rate, asked, answered, cached):
    price, books = price_of("gpt-4o-mini"), Books("EUR", {"USD": rate})
    usage = Usage(asked, answered, cached_tokens=cached)
    there = books.price(price)
    assert there.cost(usage) == pytest.approx(books.take(price.cost(usage), "USD"), rel=1e-12)
    assert there.currency == "EUR"
    assert f"1 USD = {rate:g} EUR" in there.source
    assert books.price(there) == there


def test_no_rate_is_ever_assumed():
    with pytest.raises(AskError, match=r"amount in USD can't be booked in EUR: no rate is stated \(stated: GBP\)"):
        Books("EUR", {"GBP": 1.17}).price(price_of("gpt-4"))


@given(st.text(max_size=200), st.text(max_size=200))
def test_the_estimate_never_falls_with_more_text(a: str, b: str) -> None:
    assert estimate_tokens("") == 0
    assert estimate_tokens(a) <= estimate_tokens(a + b) <= estimate_tokens(a) + estimate_tokens(b)
