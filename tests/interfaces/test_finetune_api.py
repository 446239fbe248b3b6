"""OpenAI's fine-tuning through its official client, unmodified: from a file to an answer of the tuned model."""

import http.client
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from finetune_house import House, ask, chats, client, ended, house, opened, send
from serve_house import serving, until

from sartor.core.records import Decision

NEVER = "file-000000000000000000000000"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("finetune")) as found:
        yield found


def refused(call: Any) -> tuple[int, str | None, str | None]:
    """Status, code and param of a refusal."""
    with pytest.raises(openai.APIStatusError) as error:
        call()
    return error.value.status_code, error.value.code, error.value.param


def test_from_a_file_to_an_answer_of_the_tuned_model_for_its_owner_alone(place: House) -> None:
    acme, other = place.client("acme"), place.client("other")
    rows, check = chats(400), chats(60, seed=2)
    training, validation = send(acme, rows), send(acme, check, "check.jsonl")
    assert (training.bytes, training.purpose, training.filename) == (len(rows), "fine-tune", "topics.jsonl")
    job = acme.fine_tuning.jobs.create(
        model="linear",
        training_file=training.id,
        validation_file=validation.id,
        suffix="My Topics",
        seed=5,
        metadata={"team": "desk"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": "auto"}}},
    )
    assert (job.status, job.model, job.seed, job.organization_id) == ("queued", "linear", 5, "acme")
    assert job.fine_tuned_model is None
    job, seen = ended(acme, job.id)
    assert job.status == "succeeded", job.error
    assert [state for state in ("queued", "validating_files", "running", "succeeded") if state in seen] == seen
    name = f"ft:linear:acme:my-topics:{job.id.removeprefix('ftjob-')[:12]}"
    assert (job.fine_tuned_model, job.error, job.metadata) == (name, None, {"team": "desk"})
    assert job.trained_tokens
    assert job.finished_at
    # At once by name, in the list as soon as the server has looked again; and for nobody else.
    assert ask(acme, name) == "card"
    assert acme.models.retrieve(name).id == name
    until(lambda: name in [model.id for model in acme.models.list()])
    assert name in [model.id for model in place.client("everybody").models.list()]
    assert ask(place.client("application"), name, "what does it cost, which fee") == "fees"
    for stranger in (other, place.client("house")):
        assert refused(lambda who=stranger: ask(who, name))[:2] == (404, "model_not_found")
        assert name not in [model.id for model in stranger.models.list()]
        assert refused(lambda who=stranger: who.models.delete(name))[:2] == (404, "model_not_found")
    # What was found.
    events = acme.fine_tuning.jobs.list_events(job.id).data
    told = " ".join(event.message for event in events)
    assert "400 examples of 3 labels, and 60 to validate" in told
    assert "The gate says hold: Only" in told
    assert "A draft task: nothing goes live by itself." in told
    assert [event.type for event in events].count("metrics") == 1
    assert "tester" not in told
    results = acme.files.content(job.result_files[0]).text.splitlines()
    assert results[0] == "split,metric,value,low,high,rows"
    assert results[1].startswith("validation,accuracy,")
    assert acme.files.retrieve(job.result_files[0]).purpose == "fine-tune-results"
    (point,) = acme.fine_tuning.jobs.checkpoints.list(job.id).data
    assert (point.fine_tuned_model_checkpoint, point.fine_tuning_job_id) == (name, job.id)
    assert point.metrics.full_valid_mean_token_accuracy == pytest.approx(1.0, abs=0.1)
    # Retired by its owner.
    assert acme.models.delete(name).deleted
    until(lambda: name not in [model.id for model in acme.models.list()])
    assert refused(lambda: ask(acme, name))[:2] == (404, "model_not_found")
    assert refused(lambda: acme.models.delete(name))[:2] == (404, "model_not_found")


def test_the_gate_alone_moves_what_is_live_and_only_for_the_house(place: House) -> None:
    house_client, acme = place.client(), place.client("acme")
    training = send(house_client, chats(300, seed=3))
    mine = send(acme, chats(300, seed=4))
    borrowed = acme.fine_tuning.jobs.create(model="auto", training_file=mine.id, metadata={"task": "desk"})
    job = house_client.fine_tuning.jobs.create(model="auto", training_file=training.id, metadata={"task": "desk"})
    job, _ = ended(house_client, job.id)
    borrowed, _ = ended(acme, borrowed.id)
    assert (job.status, borrowed.status) == ("succeeded", "succeeded"), (job.error, borrowed.error)
    verdicts = {}
    for who, found in ((house_client, job), (acme, borrowed)):
        (told,) = (
            event for event in who.fine_tuning.jobs.list_events(found.id) if event.message.startswith("The gate")
        )
        verdicts[found.id] = told
    assert "desk@v2 is live." in verdicts[job.id].message
    assert "A draft task" in verdicts[borrowed.id].message
    shop = opened(place.home)
    ledger = shop.store.ledger
    live, version = ledger.resolve("desk@live"), ledger.resolve("desk@v2")
    decision = ledger.get(verdicts[job.id].data["decision"])  # type: ignore[index]
    assert isinstance(decision, Decision)
    assert live is not None
    assert version is not None
    assert live.digest == version.digest == decision.candidate
    assert decision.verdict == "ship"
    # The house's rows test, acme's own rows test acme's; neither the stock nor the contract of the task changed.
    assert ledger.resolve("desk@v3") is None
    assert [pointer.name for pointer in ledger.pointers("draft-")] == []
    assert {pointer.name for pointer in ledger.pointers("desk@")} >= {
        "desk@live",
        "desk@previous",
        "desk@v1",
        "desk@v2",
    }
    shop.store.close()
    assert ask(house_client, job.fine_tuned_model) == "card"
    until(lambda: ask(house_client, "desk") == "card")  # servers follow a moment later


def test_a_file_that_cant_be_learned_from_fails_its_job_and_says_why(place: House) -> None:
    acme = place.client("acme")
    lines = chats(3000).splitlines(keepends=True)
    lines[1234] = b'{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": ""}]}\n'
    bad, good = send(acme, b"".join(lines)), send(acme, chats(50))
    gone = send(acme, chats(30))
    jobs = [
        acme.fine_tuning.jobs.create(model="linear", training_file=bad.id),
        acme.fine_tuning.jobs.create(model="linear", training_file=good.id, validation_file=bad.id),
        place.client().fine_tuning.jobs.create(
            model="linear",
            training_file=send(place.client(), chats(30) + chats(1).replace(b'"card"', b'"crad"')).id,
            metadata={"task": "desk"},
        ),
        acme.fine_tuning.jobs.create(model="linear", training_file=gone.id),
    ]
    acme.files.delete(gone.id)
    found = [ended(place.client("everybody"), job.id)[0] for job in jobs]
    assert [(job.status, job.error.code, job.error.param) for job in found[:2]] == [
        ("failed", "invalid_training_file", "training_file"),
        ("failed", "invalid_validation_file", "validation_file"),
    ]
    assert (
        "1 of 3,000 lines can't be learned from. Line 1,235: the assistant's answer is empty." in found[0].error.message
    )
    assert found[0].fine_tuned_model is None
    assert found[3].status in ("failed", "succeeded")  # deleted before or after it was read
    events = acme.fine_tuning.jobs.list_events(jobs[0].id).data
    assert (events[0].level, events[0].message) == ("error", found[0].error.message)


def test_what_is_not_supported_is_refused_by_its_name(place: House) -> None:
    acme = place.client("acme")
    file = send(acme, chats(20))
    create = acme.fine_tuning.jobs.create

    def job(**fields: Any) -> tuple[int, str | None, str | None]:
        return refused(lambda: create(**({"model": "linear", "training_file": file.id} | fields)))

    unsupported = (400, "unsupported_parameter")
    wandb = [{"type": "wandb", "wandb": {"project": "x"}}]
    assert job(integrations=wandb) == (*unsupported, "integrations")
    assert job(method={"type": "dpo", "dpo": {}}) == (*unsupported, "method")
    assert job(method={"type": "reinforcement"}) == (*unsupported, "method")
    assert job(hyperparameters={"n_epochs": 3}) == (*unsupported, "hyperparameters")
    assert job(model="auto", hyperparameters={"batch_size": 8}) == (*unsupported, "hyperparameters")
    assert job(model="minilm", hyperparameters={"n_epochs": 0}) == (400, "bad_request", "hyperparameters")
    assert job(suffix="x" * 65) == (400, "bad_request", "suffix")
    assert job(seed=-1) == (400, "bad_request", "seed")
    assert job(metadata={"a": "b" * 513}) == (400, "bad_request", "metadata")
    assert job(extra_body={"colour": "red"}) == (400, "bad_request", "colour")
    assert job(model="gpt-4o-mini") == (404, "model_not_found", "model")
    assert job(training_file=NEVER) == (404, "file_not_found", "training_file")
    assert job(validation_file=NEVER) == (404, "file_not_found", "validation_file")
    assert job(metadata={"task": "dask"}) == (404, "task_not_found", "metadata")
    said_twice = {"method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}}}
    assert job(model="minilm", hyperparameters={"n_epochs": 3}, **said_twice) == (400, "said_twice", "hyperparameters")
    assert refused(acme.evals.list)[:2] == (404, "evals_not_served")
    assert refused(lambda: acme.models.delete("desk"))[:2] == (403, "not_fine_tuned")
    for purpose in ("assistants", "batch", "evals", "user_data", "vision"):
        sent = lambda purpose=purpose: acme.files.create(file=("a.jsonl", b"{}"), purpose=purpose)  # noqa: E731
        assert refused(sent) == (*unsupported, "purpose")
    assert refused(lambda: send(acme, b"")) == (400, "empty_file", "file")
    assert refused(lambda: send(acme, b"{}", expires_after={"anchor": "created_at", "seconds": 5}))[1] == "bad_request"
    assert refused(lambda: send(acme, b"x" * (2 << 20)))[:2] == (413, "file_too_large")
    assert refused(lambda: send(place.client("application"), b"{}"))[:2] == (403, "role_not_allowed")
    assert refused(place.client("application").files.list)[:2] == (403, "role_not_allowed")
    assert refused(lambda: send(place.client("viewer"), b"{}"))[:2] == (403, "role_not_allowed")
    with pytest.raises(openai.NotFoundError, match="Known: adapter:minilm, adapter:mpnet, auto, head:minilm"):
        create(model="gpt-4o-mini", training_file=file.id)


def test_lists_go_page_by_page_and_are_each_tenants_own(place: House) -> None:
    other = place.client("other")
    files = [send(other, chats(12, seed=number), f"{number}.jsonl") for number in range(5)]
    names = [file.id for file in files]
    assert [file.id for file in other.files.list(limit=2)] == names[::-1]
    assert [file.id for file in other.files.list(limit=2, order="asc")] == names
    page = other.files.list(limit=2)
    assert (page.has_more, len(page.data)) == (True, 2)
    assert other.files.list(purpose="fine-tune-results").data == []
    assert refused(lambda: other.files.list(after="file-x")) == (404, "file_not_found", None)
    assert refused(lambda: other.files.list(limit=0)) == (400, "bad_request", "limit")
    acme = place.client("acme")
    for call in (acme.files.retrieve, acme.files.delete, acme.files.content):
        assert refused(lambda call=call: call(names[0])) == (404, "file_not_found", None)
    jobs = [
        other.fine_tuning.jobs.create(model="linear", training_file=name, metadata={"number": str(at)})
        for at, name in enumerate(names[:3])
    ]
    for job in jobs:
        ended(other, job.id)
    idents = [job.id for job in jobs]
    assert [job.id for job in other.fine_tuning.jobs.list(limit=1)] == idents[::-1]
    assert [job.id for job in other.fine_tuning.jobs.list(metadata={"number": "1"})] == [idents[1]]
    events = list(other.fine_tuning.jobs.list_events(idents[0], limit=2))
    assert len(events) == len({event.id for event in events}) > 4
    assert refused(lambda: acme.fine_tuning.jobs.retrieve(idents[0])) == (404, "job_not_found", None)
    assert refused(lambda: acme.fine_tuning.jobs.list_events(idents[0])) == (404, "job_not_found", None)
    assert refused(lambda: acme.fine_tuning.jobs.cancel(idents[0])) == (404, "job_not_found", None)
    assert refused(lambda: other.fine_tuning.jobs.cancel(idents[0]))[:2] == (409, "job_ended")
    assert other.files.delete(names[0]).deleted
    assert refused(lambda: other.files.retrieve(names[0]))[:2] == (404, "file_not_found")


def test_what_was_acknowledged_outlives_a_kill_and_two_cancels_are_one(tmp_path: Path) -> None:
    home = tmp_path / "home"
    opened(home).store.close()
    rows = chats(60)
    with serving(home) as found:
        kept = send(client(found), rows, expires_after={"anchor": "created_at", "seconds": 3600})
        found.stop(signal.SIGKILL)
    with serving(home) as found:
        who = client(found)
        assert who.files.content(kept.id).read() == rows
        assert who.files.retrieve(kept.id).expires_at == kept.created_at + 3600
        job = who.fine_tuning.jobs.create(model="linear", training_file=kept.id, suffix="kept")
        found.stop(signal.SIGKILL)
    with serving(home) as found:
        jobs = client(found).fine_tuning.jobs
        assert [(known.id, known.status) for known in jobs.list()] == [(job.id, "queued")]
        assert [jobs.pause(job.id).status for _ in range(2)] == ["paused"] * 2
        assert jobs.resume(job.id).status == "queued"
        second = jobs.create(model="linear", training_file=kept.id)
        assert [jobs.cancel(second.id).status for _ in range(2)] == ["cancelled"] * 2
        assert refused(lambda: jobs.resume(second.id))[:2] == (409, "job_ended")
    with serving(home, "--with-worker") as found:
        who = client(found)
        done, _ = ended(who, job.id)
        assert done.status == "succeeded", done.error
        assert ask(who, done.fine_tuned_model) == "card"
        # A file whose sender is cut off on the way is never there, and nothing of it stays on disk.
        cut_off(found.port)
        time.sleep(0.2)
        assert [file.purpose for file in who.files.list()] == ["fine-tune-results", "fine-tune"]
        assert not [path for path in (home / "temp").iterdir() if path.is_file()]


def cut_off(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest("POST", "/v1/files")
    connection.putheader("content-type", "multipart/form-data; boundary=b")
    connection.putheader("content-length", "1000000")
    connection.endheaders()
    connection.send(b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n' + b"x" * 100_000)
    connection.close()


def test_what_is_no_form_is_told_so(place: House) -> None:
    head = {"authorization": f"Bearer {place.keys['acme']}"}
    form = "multipart/form-data; boundary=b"
    part = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\nrow\r\n'
    purpose = b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    cases: dict[str, tuple[str, bytes, str]] = {
        "json": ("application/json", b"{}", "no_form"),
        "no boundary": ("multipart/form-data", part, "no_form"),
        "nothing": (form, b"", "bad_form"),
        "cut off": (form, part, "bad_form"),
        "no parts": (form, b"--b--\r\n", "no_file"),
        "no file": (form, purpose + b"--b--\r\n", "no_file"),
        "no purpose": (form, part + b"--b--\r\n", "bad_request"),
        "two files": (form, part + part + b"--b--\r\n", "bad_form"),
        "unknown field": (
            form,
            part + purpose.replace(b'"purpose"', b'"colour"') + b"--b--\r\n",
            "unsupported_parameter",
        ),
        "good": (form, part + purpose + b"--b--\r\n", ""),
    }
    for name, (kind, body, code) in cases.items():
        connection = http.client.HTTPConnection("127.0.0.1", place.serving.port, timeout=10)
        connection.request("POST", "/v1/files", body, head | {"content-type": kind})
        answer = connection.getresponse()
        told = json.loads(answer.read())
        connection.close()
        assert (told.get("error", {}).get("code", ""), answer.status) == (code, 400 if code else 200), (name, told)
    assert len(cases) == 10
