"""Keys, tenants and audit over HTTP: nobody makes more than they have, sees more than is theirs, or leaves no trace."""

import json
import logging
import re
from typing import Any

import pytest
from api_house import House

from sartor.core.access import Caller
from sartor.core.errors import AskError, ForbiddenError
from sartor.core.traffic import Content, Exchange, HopRow
from sartor.interfaces.api.endpoint import Endpoint
from sartor.interfaces.api.plane import ControlPlane
from sartor.interfaces.api.table import ENDPOINTS
from sartor.pipeline.access import OWNER, audited, create_key, rotate_key, verify_audit

SPITE = [
    "' OR '1'='1",
    "x'; DROP TABLE access_key; --",
    "acme' --",
    "%",
    "__proto__",
    '"; SELECT 1; --',
    "*",
    "../..",
]


def test_a_key_is_shown_once_and_works_until_it_is_revoked(house: House) -> None:
    made = house.post("/keys", {"role": "viewer", "tenant": "acme", "label": "for the board", "days": 1}).json
    house.ring.refresh()
    assert house.ring.identify({b"x-api-key": made["key"].encode()}) == Caller("acme", "viewer", made["id"], (), {})
    shown = house.get(f"/keys/{made['id']}")
    assert (shown["label"], shown["state"], shown["used"]) == ("for the board", "active", {})
    assert shown["expires"] - shown["created"] == pytest.approx(86400)
    secret = made["key"].split("_")[2]
    assert secret not in json.dumps([shown, house.get("/keys"), house.get("/audit")])
    assert house.post(f"/keys/{made['id']}/revoke").json["state"] == "revoked"
    house.ring.refresh()
    assert house.send("GET", "/api/v1/tenants", by=made["key"]).code == "key_revoked"


def test_a_key_can_be_rotated_with_an_overlap(house: House) -> None:
    old = house.ids["acme-viewer"]
    made = house.post(f"/keys/{old}/rotate", {"overlap_hours": 2}, by="acme-admin").json
    house.ring.refresh()
    assert (made["replaces"], made["role"], made["tenant"]) == (old, "viewer", "acme")
    assert house.get("/tenants", by="acme-viewer") == house.get("/tenants", by=made["key"])
    left = house.get(f"/keys/{old}")["expires"] - made["created"]
    assert left == pytest.approx(7200)
    house.post(f"/keys/{old}/revoke")
    assert house.post(f"/keys/{old}/rotate", {}).code == "key_not_active"


def test_no_key_makes_more_than_itself(house: House) -> None:
    def refused(caller: Caller, **how: Any) -> str:
        with pytest.raises(ForbiddenError) as caught:
            create_key(house.shop, caller, **how)
        assert caught.value.code == "more_than_own"
        return caught.value.message

    admin = Caller("acme", "admin", house.ids["acme-admin"])
    assert "tenant 'other'" in refused(admin, tenant="other")
    refused(admin, tenant="*")
    refused(Caller("acme", "operator"), role="approver")
    refused(Caller("acme", "viewer"), role="application")
    narrow = Caller("acme", "admin", "", ("desk*", "triage"))
    for scope in ((), ("*",), ("des*",), ("desk", "other"), ("triage*",), ("triage@v7x", "x")):
        refused(narrow, scope=scope)
    for scope in (("desk*",), ("desk-two", "triage"), ("desk-t*",)):
        assert create_key(house.shop, narrow, scope=scope)["scope"] == list(scope)
    capped = Caller("acme", "admin", "", (), {"money_per_day": 5.0})
    refused(capped)
    ending = create_key(house.shop, OWNER, tenant="acme", role="admin", days=2)
    mortal = Caller("acme", "admin", ending["id"])
    assert "outlives" in refused(mortal)
    refused(mortal, days=3)
    create_key(house.shop, mortal, days=1)


def test_a_rotation_makes_no_more_than_its_maker_either(house: House) -> None:
    narrow = Caller("acme", "admin", "", ("desk",))
    with pytest.raises(ForbiddenError):
        rotate_key(house.shop, narrow, house.ids["acme-viewer"])
    assert house.get(f"/keys/{house.ids['acme-viewer']}")["expires"] is None


def test_limits_are_kept_and_a_child_may_have_less(house: House) -> None:
    body = {"role": "admin", "tenant": "acme", "limits": {"money_per_day": 5, "requests_per_minute": 60}}
    made = house.post("/keys", body).json
    assert made["limits"] == {"money_per_day": 5.0, "requests_per_minute": 60.0}
    house.ring.refresh()
    for limits, status in (
        ({}, 403),
        ({"money_per_day": 5}, 403),
        ({"money_per_day": 6, "requests_per_minute": 1}, 403),
    ):
        assert house.post("/keys", {"limits": limits}, by=made["key"]).status == status
    less = {"money_per_day": 4, "requests_per_minute": 60, "tokens_per_minute": 10}
    assert house.post("/keys", {"limits": less}, by=made["key"]).status == 200


@pytest.mark.parametrize(
    "field",
    [
        "id",
        "mark",
        "key",
        "created_by",
        "expires",
        "revoked",
        "replaces",
        "admin",
        "who",
        "shop",
        "caller",
        "__proto__",
    ],
)
def test_what_a_body_does_not_name_is_not_set(house: House, field: str) -> None:
    answer = house.post("/keys", {"role": "viewer", field: "x"}, by="acme-admin")
    assert (answer.status, answer.code) == (400, "bad_body")
    assert field in answer.message
    assert house.send("GET", f"/api/v1/keys?{field}=x", by="acme-admin").status == 400


def test_words_of_the_wrong_type_or_size_are_named(house: House) -> None:
    for body, named in (
        ({"role": "boss"}, "role"),
        ({"role": 7}, "role"),
        ({"scope": "desk"}, "scope"),
        ({"scope": [1]}, "scope"),
        ({"limits": {"money_per_day": -1}}, "money_per_day"),
        ({"limits": {"money_per_day": "5"}}, "money_per_day"),
        ({"limits": {"euros": 5}}, "euros"),
        ({"days": -1}, "days"),
        ({"label": "x" * 1001}, "label"),
    ):
        answer = house.post("/keys", body)
        assert answer.status == 400, body
        assert named in answer.message
    for raw in (b"{", b"[]", b"null", b"\xff", b'{"a":1,"a":2}', b'{"days": NaN}', b"[" * 5000, b'{"label":"\\ud800"}'):
        assert house.post("/keys", raw).status == 400, raw
    assert house.post("/keys", b'{"label": "' + b"x" * 1024 * 1024 + b'"}').status == 413
    assert house.send("GET", "/api/v1/keys", {"limit": 1}, by="root").code == "bad_body"


def test_names_of_tenants_and_scopes_are_names(house: House) -> None:
    for spite in SPITE:
        if spite != "*":
            assert house.post("/keys", {"tenant": spite}).code == "bad_name"
            assert house.post("/keys", {"scope": [spite]}).code == "bad_scope"
        assert house.send("POST", f"/api/v1/tenants/{re.sub('[^ -~]|[ #?/]', '', spite)}", {}, by="root").status in (
            404,
            405,
        )
    with pytest.raises(AskError):
        create_key(house.shop, OWNER, tenant="Acme")


@pytest.mark.parametrize("spite", SPITE)
def test_no_text_is_read_as_sql_anywhere(house: House, spite: str) -> None:
    from urllib.parse import quote

    said = quote(spite, safe="")
    before = house.get("/keys")
    for target in (
        f"/keys?after={said}",
        f"/keys?limit={said}",
        f"/keys/{said}",
        f"/audit?below={said}",
        f"/variants?where=task%3D{said}",
        f"/variants?where={said}%3Dx",
        f"/decisions?task={said}",
        f"/decisions/{said}",
        f"/diff?a={said}&b={said}",
    ):
        answer = house.send("GET", f"/api/v1{target}", by="root")
        assert answer.status in (200, 400, 404), target
        if answer.status == 200 and target.startswith(("/variants", "/decisions")):
            assert answer.json == []
    for header in ("authorization", "api_key", "x_api_key"):
        sent = f"Bearer {spite}" if header == "authorization" else spite
        assert house.send("GET", "/api/v1/keys", **{header: sent}).status == 401
    assert house.get("/keys") == before


def test_two_tenants_never_see_each_other(house: House) -> None:
    mark = "canary-7f3a"
    house.make(mark, tenant="acme", role="viewer", scope=(f"{mark}*",))
    house.post(f"/tenants/{mark}", {"limits": {"money_per_day": 77.5}})
    with audited(house.shop, "key.create", mark, Caller("acme")):
        pass
    theirs = [house.ids[name] for name in house.ids if name.startswith("acme") or name == mark]
    seen = b""
    for endpoint in (e for e in ENDPOINTS if e.method == "GET"):
        for name in (*theirs, mark, "acme"):
            answer = house.send("GET", re.sub(r"\{\w+\}", name, endpoint.path), by="other-admin")
            seen += answer.body.replace(name.encode(), b"") if "{" in endpoint.path else answer.body
    for endpoint in (e for e in ENDPOINTS if "{" in e.path and e.method != "GET"):
        for name in (*theirs, mark, "acme"):
            path = re.sub(r"\{\w+\}", name, endpoint.path)
            answer = house.send(endpoint.method, path, by="other-admin")
            # What wants a body says so before it looks whose the name is, which tells nothing.
            assert answer.status in (403, 404) or answer.code == "bad_body", path
    for secret in (mark, "acme", "77.5", *theirs):
        assert secret.encode() not in seen, secret
    assert {key["tenant"] for key in house.get("/keys", by="other-admin")} == {"other"}
    assert {key["tenant"] for key in house.get("/keys", by="default-admin")} == {"default"}
    assert {key["tenant"] for key in house.get("/keys")} == {"*", "default", "acme", "other"}
    assert all(key["state"] == "active" for key in house.get("/keys", by="acme-admin"))
    assert {line["tenant"] for line in house.get("/audit", by="other-admin")} == {"other"}
    assert mark in json.dumps(house.get("/audit", by="acme-admin"))


def test_every_write_is_audited_with_its_outcome(house: House) -> None:
    assert house.post("/keys", {"label": "new"}, by="acme-admin").status == 200
    assert house.post("/keys", {"tenant": "other"}, by="acme-admin").status == 403
    assert house.post(f"/keys/{house.ids['other-viewer']}/revoke", by="acme-admin").status == 404
    lines = house.get("/audit", by="acme-admin")
    who = f"key {house.ids['acme-admin']}"
    assert {line["who"] for line in lines} == {who}
    assert [(line["action"], line["target"], line["outcome"]) for line in lines] == [
        ("access.revoke_key", house.ids["other-viewer"], "key_not_found"),
        ("access.revoke_key", house.ids["other-viewer"], "begun"),
        ("access.create_key", "other", "more_than_own"),
        ("access.create_key", "other", "begun"),
        ("access.create_key", "new", "done"),
        ("access.create_key", "new", "begun"),
    ]
    assert house.get("/audit/verify")["newest"] == lines[0]["seq"]
    assert verify_audit(house.shop)["hash"] == lines[0]["hash"]
    assert house.get("/audit?limit=2&below=3") == house.get("/audit")[-2:]


def test_what_can_not_be_written_down_is_not_done(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from sartor.core.errors import StoreError
    from sartor.store.audit import Audit

    def full(*_: Any) -> None:
        raise StoreError("The disk is full.", code="store_full")

    before = house.get("/keys")
    monkeypatch.setattr(Audit, "append", full)
    answer = house.post("/keys", {})
    assert (answer.status, answer.code) == (507, "store_full")
    assert house.get("/keys") == before


def test_an_upstream_can_not_turn_the_server_against_its_own_network_or_secrets(house: House) -> None:
    def declare(by: str, **spec: Any) -> Any:
        price = {"input_million": 1.0, "output_million": 1.0, "currency": "EUR"}
        return house.post(
            "/upstreams", {"spec": {"name": "u", "base_url": "https://8.8.8.8/v1", "price": price} | spec}, by=by
        )

    for url in (
        "http://169.254.169.254/latest",
        "http://[fd00:ec2::254]/v1",
        "http://[::ffff:169.254.169.254]/v1",
        "http://127.0.0.1:5432/v1",
        "http://10.0.0.1/v1",
        "http://[::1]/v1",
        "http://0x7f000001/v1",
        "http://2130706433/v1",
        "file:///etc/passwd",
        "gopher://x/v1",
        "https://user:pass@8.8.8.8/v1",
        "https://8.8.8.8/v1?x=1",
        "https://8.8.8.8\\@127.0.0.1/v1",
        "https://8.8.8.8/v1#x",
    ):
        assert declare("root", base_url=url).status == 400, url
    for who in ("root", "default-operator"):
        assert declare(who, allow_private=True, base_url="http://10.0.0.1/v1").code == "command_line_only"
        assert declare(who, key={"file": "/etc/passwd"}).code == "command_line_only"
    assert declare("default-operator", key={"env": "OPENAI_API_KEY"}).code == "new_address_of_key"
    assert declare("default-admin", key={"env": "OPENAI_API_KEY"}).status == 200
    assert declare("default-operator", key={"env": "OPENAI_API_KEY"}, concurrency=5).status == 200
    moved = declare("default-operator", key={"env": "OPENAI_API_KEY"}, base_url="https://9.9.9.9/v1")
    assert moved.code == "new_address_of_key"
    assert house.get("/upstreams/u", by="default-viewer")["base_url"] == "https://8.8.8.8/v1"
    assert house.send("DELETE", "/api/v1/upstreams/u?why=done", by="default-operator").status == 200
    assert house.get("/upstreams") == []


def test_no_secret_is_in_a_log_or_an_error(house: House, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise RuntimeError("inside /etc/hidden")

    caplog.set_level(logging.DEBUG)
    plane = ControlPlane(house.shop, house.ring, endpoints=[*ENDPOINTS, Endpoint("GET", "/broken", "view", broken)])
    house.plane.close()
    house.plane = plane
    said = house.texts["root"]
    secret = said.split("_")[2]
    answers = [
        house.send("GET", path, by=text)
        for path in ("/broken", "/api/v1/keys", f"/x/{said}")
        for text in (said, said[:-1], secret)
    ]
    answers += [house.send("GET", "/api/v1/keys", x_api_key=said + "x"), house.post(f"/keys/{said}/revoke")]
    assert house.send("GET", "/broken", by=said).status == 500
    assert "hidden" not in house.send("GET", "/broken", by=said).body.decode()
    assert secret not in caplog.text
    assert "hidden" in caplog.text
    for answer in answers:
        assert secret not in answer.body.decode()
    dumped = b"".join(path.read_bytes() for path in house.shop.store.root.rglob("*") if path.is_file())
    assert secret.encode() not in dumped


def test_a_verb_that_takes_too_long_is_overdue_and_too_many_are_refused(house: House) -> None:
    import threading

    held = threading.Event()

    def slow() -> None:
        held.wait(10)

    plane = ControlPlane(house.shop, house.ring, endpoints=[Endpoint("GET", "/slow", "view", slow)], seconds=0.05)
    house.plane.close()
    house.plane = plane
    answer = house.send("GET", "/slow", by="root")
    held.set()
    assert (answer.status, answer.code) == (504, "answer_timeout")
    plane._under_way = 64
    answer = house.send("GET", "/slow", by="root")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


def test_metrics_are_text_and_for_the_house(house: House) -> None:
    answer = house.send("GET", "/metrics", by="default-viewer")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert answer.body.startswith(b"sartor_requests_total 7\n")
    assert b'sartor_jobs{state="queued"} 0\n' in answer.body
    assert house.send("GET", "/metrics", by="acme-admin").status == 403


def test_traffic_and_books_of_two_tenants_are_kept_apart(house: House) -> None:
    log = house.shop.store.traffic.log("w0")
    for tenant, said, cost in (
        ("acme", "canary-said-by-acme", 7_770_000_000),
        ("other", "said-by-other", 5_000_000_000),
    ):
        exchange = Exchange(
            id=f"chatcmpl-{tenant}",
            at=1_700_000_000.0,
            tenant=tenant,
            key=house.ids[f"{tenant}-application"],
            route=f"route-{tenant}",
            model="giant",
            cost=cost,
            hops=[HopRow("giant", "upstream", cost)],
        )
        log.append(exchange, Content(said.encode(), said.encode()))
        log.flush()
    assert [e["id"] for e in house.get("/exchanges", by="other-viewer")["exchanges"]] == ["chatcmpl-other"]
    assert [e["id"] for e in house.get("/exchanges?tenant=acme")["exchanges"]] == ["chatcmpl-acme"]
    assert "canary-said-by-acme" in json.dumps(house.get("/exchanges/chatcmpl-acme", by="acme-viewer"))
    assert house.get("/economics/ledger?by=tenant")["rows"]
    leaks = b""
    for path in (
        "/exchanges?tenant=acme",
        "/exchanges?where=route%3Droute-acme",
        "/exchanges?route=route-acme",
        "/exchanges?after=",
        "/exchanges/chatcmpl-acme",
        "/exchanges/chatcmpl-acme/explain",
        "/economics/ledger?by=tenant,route,day",
        "/economics/ledger?tenant=acme",
        "/economics/ledger?route=route-acme&by=variant",
        "/traffic",
        "/economics/actual/route-acme",
        "/metrics",
    ):
        for by in ("other-admin", "default-admin"):
            leaks += house.send("GET", f"/api/v1{path}".replace("/api/v1/metrics", "/metrics"), by=by).body
    for secret in (
        b"canary-said",
        b"7.77",
        b"7770000000",
        house.ids["acme-application"].encode(),
        b'"acme"',
        b'"route-acme"',
    ):
        assert secret not in leaks, secret
    assert house.post("/erasures", {"subject": "x", "tenant": "acme"}, by="other-admin").status == 403
    assert house.post("/erasures", {"subject": "x"}).code == "no_tenant"
    assert house.post("/erasures", {"subject": "x"}, by="other-admin").json == {"keys_destroyed": 0}
    log.close()
