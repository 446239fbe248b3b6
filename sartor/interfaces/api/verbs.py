"""Verbs that only the control plane has, or that ask more of whoever comes over HTTP than of the command line."""

from typing import Any, get_args

from sartor.core.access import Caller
from sartor.core.errors import ForbiddenError, NotFoundError
from sartor.core.jobs import State
from sartor.core.records import Decision
from sartor.core.route import Upstream
from sartor.interfaces.api.endpoint import Text
from sartor.pipeline.workshop import Workshop


def health() -> dict[str, str]:
    """Whether the process lives."""
    return {"status": "ok"}


def metrics(shop: Workshop, counted: Any) -> Text:
    """Counters of all workers, and jobs by their state, as Prometheus reads them."""
    states = dict.fromkeys(get_args(State), 0) | shop.store.jobs.counts()
    lines = ["# HELP sartor_jobs Durable jobs by their state.", "# TYPE sartor_jobs gauge"]
    lines += [f'sartor_jobs{{state="{state}"}} {count}' for state, count in states.items()]
    return Text(counted() + "\n".join(lines) + "\n", "text/plain; version=0.0.4; charset=utf-8")


def openapi() -> dict[str, Any]:
    """The addresses as an OpenAPI document."""
    from sartor.interfaces.api.openapi import document

    return document()


def list_decisions(shop: Workshop, task: str, limit: int) -> list[dict[str, Any]]:
    """Decisions of a task or route, or of all, newest first."""
    ledger = shop.store.ledger
    found = ledger.find(Decision, task=task, limit=limit) if task else ledger.find(Decision, limit=limit)
    return [decision.model_dump(mode="json") | {"digest": decision.digest} for decision in found]


def show_decision(shop: Workshop, digest: str) -> dict[str, Any]:
    """One decision as it was signed."""
    from sartor.pipeline.decide import decision_named

    decision = decision_named(shop, digest)
    return decision.model_dump(mode="json") | {"digest": decision.digest}


def declare_upstream(shop: Workshop, caller: Caller, spec: Upstream, why: str) -> dict[str, Any]:
    """Keep an upstream. What could turn the server against its own network or secrets takes the command line.

    Raises:
        ForbiddenError: it is on the server's own network, its key is in a file, or its key would go to a new address.
    """
    from sartor.pipeline import upstreams

    if spec.allow_private:
        raise _forbidden("an upstream on the server's own network (allow_private)")
    if spec.key is not None and spec.key.file:
        raise _forbidden("an upstream whose key is read from a file")
    if spec.key is not None and not caller.may("administer") and not _paired(shop, spec):
        raise ForbiddenError(
            f"The key in {spec.key.env} has not gone to {spec.base_url} so far. A key with the role admin may send it "
            "there.",
            code="new_address_of_key",
        )
    return upstreams.declare_upstream(shop, spec, why)


def _paired(shop: Workshop, spec: Upstream) -> bool:
    from sartor.pipeline.upstreams import shown_upstream

    try:
        stands = Upstream.model_validate(
            {name: value for name, value in shown_upstream(shop, spec.name).items() if name in Upstream.model_fields}
        )
    except NotFoundError:
        return False
    return (stands.base_url, stands.key) == (spec.base_url, spec.key)


def _forbidden(what: str) -> ForbiddenError:
    return ForbiddenError(
        f"Over HTTP nobody declares {what}. Do it on the server: sartor upstream set", code="command_line_only"
    )
