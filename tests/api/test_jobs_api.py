"""Jobs over HTTP: asked for, seen, changed, followed; each key sees its tenant's alone."""

import asyncio
import json
from typing import Any

import pytest
from api_house import House

from sartor.core.jobs import Job, JobRequest
from sartor.gateway.wire.http import Request


def claim(house: House) -> Job:
    job = house.shop.store.leases.claim("w", ["cpu"], kinds=["learn"])
    assert job is not None
    return job


def test_a_job_from_its_asking_to_its_end(house: House) -> None:
    made = house.post(
        "/jobs", {"kind": "learn", "task": "desk", "args": {"task": "desk"}, "priority": 2, "once": "w"},
        by="default-operator",
    ).json  # fmt: skip
    assert (made["state"], made["queue"], made["tenant"], made["priority"]) == ("queued", "cpu", "default", 2)
    assert made["who"] == f"key {house.ids['default-operator']}"
    assert house.get(f"/jobs/{made['id']}", by="default-viewer") == made
    assert house.get("/jobs?state=queued&task=desk&kind=learn", by="default-viewer") == [made]
    assert house.get("/jobs?state=running") == []
    for change, state in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled"), ("cancel", "cancelled")):
        assert house.post(f"/jobs/{made['id']}/{change}", by="default-operator").json["state"] == state
    assert house.post(f"/jobs/{made['id']}/pause").code == "job_ended"
    assert house.post(f"/jobs/{made['id']}/retry").json["state"] == "queued"
    house.shop.store.leases.enter("w", ["cpu"])
    held = claim(house)
    assert [w["jobs"] for w in house.get("/workers")] == [[made["id"]]]
    house.shop.store.leases.succeed(held, {"n": 1})
    assert house.get(f"/jobs/{made['id']}")["result"] == {"n": 1}
    assert house.post(f"/jobs/{made['id']}/retry").code == "job_succeeded"
    events = house.get(f"/jobs/{made['id']}/events?after=1")
    assert [event["seq"] for event in events] == list(range(2, 2 + len(events)))
    assert events[-1]["message"] == "succeeded"


@pytest.mark.parametrize(
    ("body", "status", "code", "says"),
    [
        ({}, 400, "bad_body", "kind"),
        ({"kind": "lern"}, 404, "job_kind_not_found", "Did you mean 'learn'?"),
        ({"kind": "learn", "queue": "tpu"}, 404, "queue_not_found", "Known: cpu, gpu"),
        ({"kind": "learn", "most_attempts": 0}, 400, "bad_body", "most_attempts"),
        ({"kind": "learn", "schedule": "* * * * *"}, 400, "bad_body", "schedule"),
        ({"kind": "run", "args": {"task": "x", "base_dir": "/etc"}}, 403, "command_line_only", "sartor jobs submit"),
        ({"kind": "rebuild", "args": {"task": "desk"}}, 403, "command_line_only", "address of its own"),
        ({"kind": "learn", "args": {"task": "desk", "file": "name: desk"}}, 403, "command_line_only", "not 'file'"),
    ],
)
def test_what_can_not_be_asked_for_is_said(
    house: House, body: dict[str, Any], status: int, code: str, says: str
) -> None:
    answer = house.post("/jobs", body, by="default-operator")
    assert (answer.status, answer.code) == (status, code)
    assert says in answer.message
    assert house.get("/jobs") == []
    assert house.send("GET", "/api/v1/jobs?state=asleep", by="root").code == "job_state_not_found"


def test_each_tenant_sees_and_changes_its_own_jobs_alone(house: House) -> None:
    jobs = house.shop.store.jobs
    mine, theirs = (jobs.submit(JobRequest("learn", tenant=tenant)) for tenant in ("acme", "other"))
    assert [job["id"] for job in house.get("/jobs", by="acme-viewer")] == [mine.id]
    for method, path in (
        ("GET", ""), ("GET", "/events"), ("GET", "/events?stream=true"),
        ("POST", "/cancel"), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/retry"),
    ):  # fmt: skip
        answer = house.send(method, f"/api/v1/jobs/{theirs.id}{path}", by="acme-admin")
        assert (answer.status, answer.code) == (404, "job_not_found"), path
        assert mine.id in answer.message
        assert theirs.id not in answer.message.replace(f"'{theirs.id}'", "")
    assert house.post(f"/jobs/{mine.id}/cancel", by="acme-operator").json["state"] == "cancelled"
    assert house.post(f"/jobs/{theirs.id}/cancel", by="other-viewer").status == 403
    assert len(house.get("/jobs")) == 2


def events_of(house: House, target: str, headers: dict[bytes, bytes], steps: Any) -> tuple[Any, list[dict[str, str]]]:
    """The head of a stream and its events; after each, what `steps` does comes next."""

    async def follow() -> tuple[Any, list[dict[str, str]]]:
        key = b"Bearer " + house.texts["root"].encode()
        sent = {b"host": b"localhost", b"authorization": key} | headers
        response = await house.plane.handle(Request("GET", target, sent, b""))
        assert not isinstance(response.body, bytes)
        found = []
        async for piece in response.body:
            found.append(dict(line.split(": ", 1) for line in piece.decode().strip().split("\n")))
            await asyncio.to_thread(next, steps, None)
        return dict(response.headers), found

    return asyncio.run(follow())


@pytest.mark.parametrize("last", ["", "2"])
def test_a_job_is_followed_as_events_until_it_has_ended(house: House, last: str) -> None:
    job = house.shop.store.jobs.submit(JobRequest("learn", {"secret": "long text"}))
    house.shop.store.leases.enter("w", ["cpu"])
    held = claim(house)

    def steps() -> Any:
        yield house.shop.store.leases.note(held, "train", 1, 2, [("info", "half-way", {})])
        yield
        yield house.shop.store.leases.succeed(held, {"n": 1})

    headers = {b"accept": b"text/event-stream"} | ({b"last-event-id": last.encode()} if last else {})
    head, found = events_of(house, f"/api/v1/jobs/{job.id}/events", headers, steps())
    assert head[b"content-type"] == b"text/event-stream; charset=utf-8"
    said = [(event["id"], json.loads(event["data"])["message"]) for event in found if event["event"] == "said"]
    everything = [("1", "asked for by somebody"), ("2", "attempt 1 began on w"), ("3", "half-way"), ("4", "succeeded")]
    assert said == everything[int(last or 0) :]
    stands = [json.loads(event["data"]) for event in found if event["event"] == "job"]
    assert (stands[-1]["state"], stands[-1]["result"], "args" in stands[-1]) == ("succeeded", {"n": 1}, False)
    assert found[-1]["event"] == "job"
