"""Every address × method × {no key, a wrong key, another tenant's key, each role}, straight from the table."""

import json
import re
from typing import Any

from api_house import House

from sartor.core.access import ROLES
from sartor.interfaces.api.table import ENDPOINTS
from sartor.store.credentials import new_text

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND")
BODIES: dict[str, Any] = {
    "declare_route": {"spec": {"name": "nowhere", "policy": "nothing"}},
    "declare_upstream": {"spec": {"name": "u", "base_url": "http://169.254.169.254/v1"}},
    "stage_shadow": {"target": "nothing"},
}


def target_of(endpoint: Any) -> str:
    queries = {"/api/v1/diff": "?a=x&b=y"}
    return re.sub(r"\{\w+\}", "nowhere", endpoint.path) + queries.get(endpoint.path, "")


def body_of(endpoint: Any) -> Any:
    name = endpoint.deed.rpartition(".")[2]
    return BODIES.get(name, {}) if endpoint.body else None


def test_every_address_is_refused_or_let_in_as_its_line_in_the_table_says(house: House) -> None:
    wrong = new_text()[1]
    for endpoint in ENDPOINTS:
        target, body = target_of(endpoint), body_of(endpoint)
        open_to_all = endpoint.permission == "anyone"
        for nobody in ("", wrong, wrong[:-1], house.texts["root"][:-9], "none"):
            answer = house.send(endpoint.method, target, body, by=nobody)
            assert (answer.status == 401) != open_to_all, (endpoint.name, nobody, answer.body)
        for tenant in ("default", "acme"):
            for role, may in ROLES.items():
                answer = house.send(endpoint.method, target, body, by=f"{tenant}-{role}")
                case = endpoint.name, tenant, role, answer.status, answer.body[:200]
                near = endpoint.reach == "own" or (endpoint.reach == "house" and tenant == "default")
                allowed = endpoint.permission in may and near
                if not allowed and not open_to_all:
                    assert answer.status == 403, case
                    assert answer.code in ("role_not_allowed", "tenant_not_allowed"), case
                else:
                    assert answer.status in (200, 400, 403, 404), case
                    assert answer.status != 403 or answer.code in ("not_every_tenant", "more_than_own"), case


def test_methods_that_no_line_declares_are_refused_whoever_asks(house: House) -> None:
    declared = {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    declared |= {("HEAD", path) for method, path in declared if method == "GET"}
    for path in {endpoint.path for endpoint in ENDPOINTS}:
        target = re.sub(r"\{\w+\}", "nowhere", path)
        for method in METHODS:
            if (method, path) not in declared:
                for who in ("", "root"):
                    answer = house.send(method, target, by=who)
                    assert (answer.status, answer.code) == (405, "method_not_allowed"), (method, path)
                    assert "GET" in answer.headers["allow"] or "POST" in answer.headers["allow"]


def test_head_takes_what_get_takes(house: House) -> None:
    assert house.send("HEAD", "/api/v1/keys").status == 401
    assert house.send("HEAD", "/api/v1/keys", by="default-viewer").status == 403
    assert house.send("HEAD", "/api/v1/keys", by="default-admin").status == 200


PATHS = [
    "//api/v1/keys",
    "/api/v1//keys",
    "/api/v1/keys/",
    "/api/v1/health/../keys",
    "/api/v1/health/..;/keys",
    "/api/v1/%6beys",
    "/api/v1%2fkeys",
    "/api/v1/health%2f..%2fkeys",
    "/API/V1/KEYS",
    "/api/v1/keys%00",
    "/api/v1/keys;x=1",
    "http://localhost/api/v1/keys",
    "/api/v1/keys#x",
    "\\api\\v1\\keys",
    "/metrics/../metrics",
]


def test_no_other_way_of_writing_a_path_leads_anywhere(house: House) -> None:
    for path in PATHS:
        for who in ("", "root"):
            assert house.send("GET", path, by=who).status == 404, path


ODD_NAMES = ["..", "..%2f..%2fetc", "a%2fb", "%2e%2e", "a%00b", "a%0ab", "%ff", "A", "a b", "x" * 300]


def test_odd_names_in_paths_are_not_found(house: House) -> None:
    for name in ODD_NAMES:
        for path in (f"/keys/{name}", f"/variants/{name}", f"/variants/{name}/lineage", f"/tenants/{name}"):
            assert house.send("GET", f"/api/v1{path}", by="root").status == 404, path


HOSTS = [
    "evil.example",
    "localhost.evil.example",
    "localhost/x",
    "localhost?x",
    "localhost#x",
    "e@localhost",
    "localhost:80:80",
    "",
]


def test_foreign_hosts_are_refused_before_anything_else(house: House) -> None:
    for host in HOSTS:
        answer = house.send("GET", "/api/v1/keys", by="root", host=host)
        assert (answer.status, answer.code) == (403, "host_not_allowed"), host


def test_pages_of_other_origins_are_refused(house: House) -> None:
    for origin in ("https://evil.example", "null", "http://localhost:1"):
        answer = house.send("POST", "/api/v1/keys", {}, by="root", origin=origin)
        assert (answer.status, answer.code) == (403, "origin_not_allowed")
    assert house.send("GET", "/api/v1/keys", by="root", origin="http://localhost").status == 200


def test_a_key_in_an_address_is_no_key(house: House) -> None:
    said = house.texts["root"]
    for target in (f"/api/v1/keys?api_key={said}", f"/api/v1/keys?key={said}"):
        assert house.send("GET", target).code == house.send("GET", target, by="root").code == "key_in_address"


def test_the_table_is_whole() -> None:
    import inspect

    assert len({endpoint.name for endpoint in ENDPOINTS}) == len(ENDPOINTS)
    for endpoint in ENDPOINTS:
        given = {"shop", "caller", "counted", "asked", *re.findall(r"\{(\w+)\}", endpoint.path)}
        for model in (endpoint.body, endpoint.query):
            given |= set(model.model_fields) if model else set()
        parameters = inspect.signature(endpoint.function).parameters
        needed = {n for n, p in parameters.items() if p.default is p.empty}
        assert needed <= given, endpoint.name
        if "asked" not in parameters:
            assert given - {"shop", "caller", "counted", "asked"} <= set(parameters), endpoint.name
        if endpoint.reach == "own" and endpoint.permission != "anyone":
            assert "caller" in parameters, f"{endpoint.name} is open to tenants and does not look at which"


def test_without_keys_whoever_reaches_the_server_is_an_administrator_of_the_house(bare: House) -> None:
    assert bare.send("GET", "/api/v1/keys").json == []
    made = bare.send("POST", "/api/v1/keys", {"role": "admin"}).json
    assert made["tenant"] == "default"
    bare.ring.refresh()
    assert bare.send("GET", "/api/v1/keys").status == 401
    assert [key["id"] for key in bare.send("GET", "/api/v1/keys", by=made["key"]).json] == [made["id"]]
    assert json.dumps(bare.send("GET", "/api/v1/keys", by=made["key"]).json).count(made["key"].split("_")[2]) == 0
