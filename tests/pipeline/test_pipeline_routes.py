"""Routes and upstreams are declared, listed, moved and taken back; running tables follow."""

import asyncio
import threading
import time
from dataclasses import replace

import pytest

from sartor.core.access import Caller
from sartor.core.errors import AskError, BusyError, NotFoundError, RefusedError, StoreError
from sartor.core.predict import Request, Usage
from sartor.core.records import Decision, RouteRecord, UpstreamRecord
from sartor.core.route import Route, Upstream
from sartor.pipeline import stock
from sartor.pipeline.building import Aids
from sartor.pipeline.decide import replay
from sartor.pipeline.declared import ROUTE, UPSTREAM, move
from sartor.pipeline.gateway_file import apply, parse_gateway
from sartor.pipeline.routes import declare_route, list_routes, remove_route, remove_upstream, show_route
from sartor.pipeline.routing import AGAIN_SECONDS, RoutingTable
from sartor.pipeline.run import run
from sartor.pipeline.serve import Handles
from sartor.pipeline.stages import rollback_route, stage_canary, stage_live, stage_shadow, stop_stage
from sartor.pipeline.upstreams import declare_upstream, list_upstreams, price_for, secret_of

PRICE = {"input_million": 30.0, "output_million": 60.0, "currency": "EUR"}
ADMIN = Caller()


def giant(name="gpt-4", **more):
    body = {"name": name, "base_url": "http://127.0.0.1:9/v1", "allow_private": True, "price": PRICE}
    return Upstream.model_validate(body | more)


def table(shop, *, start=True, clock=time.monotonic):
    aids = Aids(background=lambda work: False, shadowed=lambda *_: None, purse=None, clock=clock)
    found = RoutingTable(shop, Handles(shop), aids)
    if start:
        found.settle()
    return found


@pytest.fixture
def home(shop, desk, rows_folder):
    run(shop, desk, rows_folder)
    declare_upstream(shop, giant())
    return shop


def test_an_upstream_is_kept_without_its_secret_and_priced_in_the_books_currency(shop, monkeypatch):
    declare_upstream(shop, giant(key={"env": "GIANT_KEY"}))
    (shown,) = list_upstreams(shop)
    assert shown["key"] == {"env": "GIANT_KEY", "file": ""}
    spec = giant(key={"env": "GIANT_KEY"})
    with pytest.raises(AskError, match="GIANT_KEY"):
        secret_of(shop, spec)
    assert price_for(shop, spec)(Usage(1_000_000, 1_000_000)) == pytest.approx(90.0)


def test_a_price_in_another_currency_needs_a_rate_and_an_unknown_model_a_price(shop):
    with pytest.raises(AskError, match="SARTOR_RATES"):
        declare_upstream(shop, giant(price=PRICE | {"currency": "USD"}))
    with pytest.raises(NotFoundError, match="State what it costs"):
        declare_upstream(shop, giant("nobody-lists-this", price=None))
    assert list_upstreams(shop) == []


def test_a_loopback_address_must_be_permitted_and_a_link_local_one_never_is(shop):
    with pytest.raises(AskError):
        declare_upstream(shop, giant(allow_private=False))
    with pytest.raises(AskError):
        declare_upstream(shop, giant(base_url="http://169.254.169.254/v1"))


def test_a_route_names_what_is_there(home):
    with pytest.raises(NotFoundError, match="gpt-4"):
        declare_route(home, Route(name="triage", policy="gpt-5"))
    with pytest.raises(NotFoundError, match="cascade"):
        declare_route(home, Route(name="triage", policy={"use": "cascad", "local": "desk"}))
    with pytest.raises(NotFoundError, match="desk"):
        declare_route(home, Route(name="triage", task="dest", policy="gpt-4"))
    assert list_routes(home) == []


def test_what_was_declared_is_a_signed_decision_in_a_chain(home):
    declare_route(home, Route(name="triage", policy="gpt-4"), "day one")
    declare_route(home, Route(name="triage", task="desk", policy="desk@v1"), "the variant is good")
    decisions = [d for d in home.store.ledger.find(Decision, task="triage") if d.verb == "route"]
    newest, first = decisions
    assert newest.cites == (first.digest,)
    assert newest.reasons == ("the variant is good",)
    assert replay(home, newest.digest).reached == "ship"


def test_rollback_is_one_operation_and_can_be_taken_back(home):
    declare_route(home, Route(name="triage", policy="gpt-4"))
    with pytest.raises(NotFoundError, match="never anything else"):
        rollback_route(home, "triage")
    declare_route(home, Route(name="triage", task="desk", policy="desk@v1"))
    assert rollback_route(home, "triage")["policy"] == "gpt-4"
    assert rollback_route(home, "triage")["policy"] == "desk@v1"


def test_stages_on_the_way_to_live(home):
    declare_route(home, Route(name="triage", task="desk", policy="gpt-4"))
    with pytest.raises(AskError, match="shadow"):
        stage_canary(home, "triage")
    assert stage_shadow(home, "triage", "desk@v1")["stage"] == "shadow"
    assert stage_canary(home, "triage", share=0.2)["canary"]["to"] == "desk@v1"
    assert show_route(home, "triage")["shadow"] is None
    with pytest.raises(RefusedError, match="no verdict to promote"):
        stage_live(home, "triage")
    shown = stage_live(home, "triage", why="seen enough")
    assert (shown["policy"], shown["stage"]) == ("desk@v1", "live")


def test_a_stopped_canary_leaves_what_answered_before(home):
    declare_route(home, Route(name="triage", task="desk", policy="gpt-4"))
    stage_canary(home, "triage", "desk@v1")
    shown = stop_stage(home, "triage", why="complaints")
    assert (shown["policy"], shown["stage"]) == ("gpt-4", "live")
    decision = home.store.ledger.get(shown["decision"])
    assert (decision.verb, decision.verdict, decision.reasons) == ("canary", "hold", ("complaints",))


def test_a_task_without_a_declared_route_can_be_staged_too(home):
    shown = stage_shadow(home, "desk", "gpt-4", share=0.5)
    assert shown["policy"] == "desk@live"
    assert shown["shadow"] == {"beside": "gpt-4", "share": 0.5}


def test_the_table_follows_what_moves_and_keeps_what_does_not(home):
    routes = table(home)
    declare_route(home, Route(name="triage", task="desk", policy="gpt-4"))
    assert routes.settle()
    assert not routes.refresh()
    before = routes.resolve("triage", ADMIN)
    assert before.version == "gpt-4"
    assert before.task.name == "desk"
    declare_route(home, Route(name="other", policy="gpt-4"))
    routes.settle()
    assert routes.resolve("triage", ADMIN) is before
    stage_live(home, "triage", "desk@live", why="go")
    routes.settle()
    after = routes.resolve("triage", ADMIN)
    assert (after.version, len(after.variant)) == ("desk@v1", 64)
    remove_route(home, "triage", "over")
    routes.settle()
    with pytest.raises(NotFoundError, match="desk"):
        routes.resolve("triage", ADMIN)


def test_the_table_looks_by_itself(home):
    routes = table(home, start=False)
    routes.start()
    try:
        declare_route(home, Route(name="triage", policy="gpt-4"))
        until = time.monotonic() + 20
        while True:
            try:
                assert routes.resolve("triage", ADMIN).variant == "gpt-4"
                break
            except NotFoundError:
                assert time.monotonic() < until
                time.sleep(0.05)
    finally:
        routes.stop()


def test_handles_versions_and_upstreams_answer_by_their_own_names(home):
    routes = table(home)
    names = {served.name for served in routes.names(ADMIN)}
    assert {"desk", "desk@live", "desk@v1", "gpt-4"} <= names
    for handle in ("desk", "desk@live", "desk@v1"):
        assert routes.resolve(handle, ADMIN).version == "desk@v1"
    assert routes.resolve("gpt-4", ADMIN).task is None
    with pytest.raises(NotFoundError, match="desk"):
        routes.resolve("desk@v2", ADMIN)


def test_a_caller_sees_its_scope_and_its_tenants_routes_only(home):
    declare_route(home, Route(name="triage", policy="gpt-4", tenants=("acme",)))
    declare_upstream(home, giant("hidden", exposed=False))
    routes = table(home)
    narrow = Caller(tenant="beta", role="application", scope=("desk*",))
    assert {served.name for served in routes.names(narrow)} == {"desk", "desk@live", "desk@v1"}
    with pytest.raises(NotFoundError) as told:
        routes.resolve("gpt-4", narrow)
    assert "triage" not in told.value.message
    acme = Caller(tenant="acme", role="application")
    assert routes.resolve("triage", acme).variant == "gpt-4"
    for caller, name in ((ADMIN, "triage"), (acme, "hidden")):
        with pytest.raises(NotFoundError):
            routes.resolve(name, caller)


def test_a_retired_task_is_refused_and_a_name_past_its_day_too(home):
    declare_route(home, Route(name="old", policy="gpt-4", shutdown_date="2020-01-01"))
    stock.retire(home, "desk", "over")
    routes = table(home)
    with pytest.raises(RefusedError, match="retired"):
        routes.resolve("desk", ADMIN)
    with pytest.raises(RefusedError, match="2020-01-01"):
        routes.resolve("old", ADMIN)


def test_a_route_whose_task_was_retired_refuses_and_one_that_cannot_be_built_goes_on(home):
    declare_route(home, Route(name="triage", task="desk", policy="desk@live"))
    declare_route(home, Route(name="other", policy="gpt-4"))
    routes = table(home)
    before = routes.resolve("other", ADMIN)
    stock.retire(home, "desk", "over")
    gone = giant(price=PRICE | {"currency": "XTS"})
    record = UpstreamRecord(name="gpt-4", spec=gone.model_dump(mode="json"))
    move(home, "route", "gpt-4", UPSTREAM, record, reasons=("a price that nobody can convert",))
    routes.settle()
    assert routes.resolve("other", ADMIN) is before
    with pytest.raises(RefusedError, match="retired"):
        routes.resolve("triage", ADMIN)


def test_what_could_not_be_built_is_tried_again_after_some_seconds(home):
    dear = giant("late", price=PRICE | {"currency": "XTS"})
    move(home, "route", "late", UPSTREAM, UpstreamRecord(name="late", spec=dear.model_dump(mode="json")), reasons=("",))
    now, rates = [100.0], {}
    routes = table(replace(home, rates=rates), clock=lambda: now[0])
    with pytest.raises(AskError, match="XTS"):
        routes.resolve("late", ADMIN)
    rates["XTS"] = 0.5
    assert not routes.refresh()
    now[0] += AGAIN_SECONDS
    assert routes.settle()
    assert routes.resolve("late", ADMIN).variant == "late"
    now[0] += 10 * AGAIN_SECONDS
    assert not routes.refresh()


def test_a_route_that_is_stored_in_a_form_that_no_longer_fits_harms_no_other(home):
    record = RouteRecord(name="bad", spec={"name": "bad", "policy": 5})
    move(home, "route", "bad", ROUTE, record, reasons=("written by another version",))
    declare_route(home, Route(name="good", policy="gpt-4"))
    routes = table(home)
    assert routes.resolve("good", ADMIN).variant == "gpt-4"
    with pytest.raises(StoreError, match="'bad' is stored in a form that no longer fits"):
        routes.resolve("bad", ADMIN)


def test_a_file_declares_what_differs_and_keeps_stages(home):
    text = {"upstreams": [giant().model_dump()], "routes": [{"name": "triage", "task": "desk", "policy": "gpt-4"}]}
    wanted = parse_gateway(text, "gateway.yaml")
    assert apply(home, wanted, "why", dry_run=True).routes == ("triage",)
    assert list_routes(home) == []
    done = apply(home, wanted, "why")
    assert (done.upstreams, done.routes, done.unchanged) == ((), ("triage",), ("gpt-4",))
    stage_shadow(home, "triage", "desk@v1")
    assert apply(home, wanted, "again").routes == ()
    with pytest.raises(AskError, match="did you mean 'policy'"):
        parse_gateway({"routes": [{"name": "triage", "polcy": "gpt-4"}]}, "gateway.yaml")


def test_an_upstream_in_use_is_not_removed(home):
    declare_route(home, Route(name="triage", policy={"use": "fallback", "to": ["desk@live", "gpt-4"]}))
    with pytest.raises(AskError, match="triage"):
        remove_upstream(home, "gpt-4", "too dear")
    remove_route(home, "triage", "over")
    remove_upstream(home, "gpt-4", "too dear")
    assert list_upstreams(home) == []


def test_no_name_waits_for_the_models_of_another(home):
    """While one variant is being loaded other names answer, and its own name says to come again."""
    go, handles = threading.Event(), Handles(home)

    class Slow:
        def probabilities(self, work):
            assert go.wait(20)
            return handles.models.probabilities(work)

        ask, embed = handles.models.ask, handles.models.embed

    aids = Aids(background=lambda work: False, shadowed=lambda *_: None, purse=None, clock=time.monotonic)
    routes = RoutingTable(home, Handles(home, Slow()), aids)
    routes.refresh()
    assert routes.resolve("gpt-4", ADMIN).variant == "gpt-4"
    with pytest.raises(BusyError, match="being loaded"):
        routes.resolve("desk", ADMIN)
    go.set()
    routes.settle()
    assert routes.resolve("desk", ADMIN).version == "desk@v1"
    late = routes.resolve("desk@v1", ADMIN)
    (answer,) = asyncio.run(late.predictor.predict([Request("my card did not arrive today")]))
    assert answer.output == "card"
    routes.stop()
