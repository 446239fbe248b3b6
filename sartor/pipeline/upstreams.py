"""Upstreams: declared, listed, and opened with their secrets and with what they charge in the gateway's currency."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError, NotFoundError
from sartor.core.predict import Predictor, Usage
from sartor.core.records import UpstreamRecord
from sartor.core.route import Secret, Upstream
from sartor.economics.currency import Books
from sartor.economics.prices import PriceOverride, price_of
from sartor.gateway.adapters import open_adapted
from sartor.gateway.addresses import check_url
from sartor.gateway.upstream import PROTOCOLS, open_upstream
from sartor.pipeline.declared import UPSTREAM, move, names, standing
from sartor.pipeline.workshop import Workshop


def declare_upstream(shop: Workshop, spec: Upstream, why: str = "declared") -> dict[str, Any]:
    """Keep an upstream, or a new form of one that is there already.

    Raises:
        AskError: its address is not one that may be asked, or its price can't be told in the gateway's currency.
        NotFoundError: no such protocol, or no list has its price.
    """
    check_url(spec.base_url, allow_private=spec.allow_private)
    PROTOCOLS.take(spec.protocol)
    price_for(shop, spec)
    record = UpstreamRecord(name=spec.name, spec=spec.model_dump(mode="json"))
    move(shop, "route", spec.name, UPSTREAM, record, reasons=(why,))
    return shown_upstream(shop, spec.name)


def list_upstreams(shop: Workshop) -> list[dict[str, Any]]:
    """Every upstream as it is declared; secrets are named by their place only."""
    return [shown_upstream(shop, name) for name in names(shop, UPSTREAM)]


def shown_upstream(shop: Workshop, name: str) -> dict[str, Any]:
    """One upstream.

    Raises:
        NotFoundError: there is none of this name; those there are get listed.
    """
    record, pointer = standing(shop, name, UPSTREAM)
    assert isinstance(record, UpstreamRecord)
    return record.spec | {"digest": record.digest, "since": pointer.moved}


def open_declared(shop: Workshop, spec: Upstream, *, clock: Callable[[], float]) -> Predictor:
    """The upstream, ready to be asked.

    Raises:
        AskError: its price is in a currency for which no rate is stated.
        NotFoundError: no list has its price, and none is declared.
    """
    opener = open_upstream if spec.adapter is None else open_adapted
    return opener(spec, secret=lambda: secret_of(shop, spec), price=price_for(shop, spec), clock=clock)


def secret_of(shop: Workshop, spec: Upstream) -> str:
    """The upstream's key, read at the moment it is needed; '' where it takes none.

    Raises:
        AskError: the place that was named holds none.
    """
    where = spec.key
    if where is None:
        return ""
    found = _read(shop, where)
    if not found:
        place = f"the environment variable {where.env}" if where.env else f"the file {where.file}"
        raise AskError(
            f"The key of upstream '{spec.name}' should be in {place} of the server, and is not there. Set it.",
            code="no_upstream_key",
            param="key",
        )
    return found


def _read(shop: Workshop, where: Secret) -> str:
    if where.env:
        return shop.environment.get(where.env, "").strip()
    try:
        return Path(where.file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def price_for(shop: Workshop, spec: Upstream) -> Callable[[Usage], float]:
    """Money in the gateway's currency for what an answer consumed.

    Raises:
        AskError: the price is in a currency for which no rate is stated.
        NotFoundError: no list has the model, and no price is declared.
    """
    model = spec.model or spec.name
    own = {model: PriceOverride(**spec.price.model_dump())} if spec.price else {}
    try:
        price = price_of(model, overrides=own)
    except NotFoundError as error:
        raise NotFoundError(
            f"No price list has '{model}'. State what it costs: price: {{input_million, output_million, currency}} "
            "(0 for a server of your own whose hours you book apart).",
            code="no_price",
            param="price",
        ) from error
    return Books(shop.currency, shop.rates).price(price).cost
