"""The chain on a small task: released once, found again, replayed, rolled back; nothing done twice."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sartor.core.errors import AskError, RefusedError, StoreError
from sartor.core.records import Dataset, Decision, Report, Run
from sartor.pipeline import stock
from sartor.pipeline.decide import replay
from sartor.pipeline.plan import plan
from sartor.pipeline.predict import predict_file
from sartor.pipeline.run import run
from sartor.pipeline.serve import Handles


def changed(task, **fields):
    return type(task).model_validate(task.body() | fields)


def runs(shop, verb):
    return shop.store.ledger.count(Run, verb=verb, status="done")


def test_rows_become_a_released_variant_that_answers(shop, desk, rows_folder):
    result = run(shop, desk, rows_folder)
    assert result.decision.verdict == "ship", result.decision.reasons
    assert result.version == "desk@v1"
    served = Handles(shop).resolve("desk")
    assert served.version == "desk@v1"
    assert result.report.is_file()
    assert {line.role for line in result.lines} == {"released, floor", "incumbent"}
    assert json.loads(result.report.with_suffix(".json").read_text())["verdict"]["verdict"] == "ship"


def test_running_again_does_nothing_and_decides_nothing(shop, desk, rows_folder):
    first = run(shop, desk, rows_folder)
    before = shop.store.ledger.count(Run), shop.store.ledger.count(Decision), shop.store.ledger.count(Report)
    again = run(shop, desk, rows_folder)
    assert again.decision.digest == first.decision.digest
    assert (shop.store.ledger.count(Run), shop.store.ledger.count(Decision), shop.store.ledger.count(Report)) == before
    assert all(line.cached for line in plan(shop, desk, rows_folder))


def test_another_value_function_retrains_nothing_and_is_what_is_served(shop, desk, rows_folder):
    run(shop, desk, rows_folder)
    dearer = changed(desk, value=desk.body()["value"] | {"wrong": 50})
    result = run(shop, dearer, rows_folder)
    assert runs(shop, "make") == 1
    assert runs(shop, "answer") == 2
    assert result.decision.verdict == "ship", result.decision.reasons
    assert Handles(shop).resolve("desk").task.value.wrong == 50


def test_what_weighs_examples_is_made_anew_when_the_value_changes(shop, desk, rows_folder):
    weighed = changed(desk, candidates=[{"recipe": "linear", "size": "small", "value_weights": True}])
    run(shop, weighed, rows_folder)
    run(shop, changed(weighed, value=desk.body()["value"] | {"wrong": 6}), rows_folder)
    assert runs(shop, "make") == 2


def test_decision_replays_and_a_flipped_byte_fails(shop, desk, rows_folder):
    decision = run(shop, desk, rows_folder).decision
    outcome = replay(shop, decision.digest)
    assert (outcome.recorded, outcome.reached) == ("ship", "ship")
    report = shop.store.ledger.get(decision.evidence["candidate"].digest)
    answers = shop.store.vault.path(report.files["answers.parquet"])
    data = bytearray(answers.read_bytes())
    data[len(data) // 2] ^= 1
    answers.chmod(0o600)
    answers.write_bytes(data)
    with pytest.raises(StoreError):
        replay(shop, decision.digest)


def test_a_changed_record_of_the_evidence_fails(shop, desk, rows_folder):
    import pysqlite3

    decision = run(shop, desk, rows_folder).decision
    with pysqlite3.connect(str(shop.store.root / "ledger.db")) as database:
        edits = {decision.digest: ('"tester"', '"someone"'), decision.evidence["candidate"].digest: ("0.", "1.")}
        for digest, (old, new) in edits.items():
            (body,) = database.execute("SELECT body FROM record WHERE digest = ?", [digest]).fetchone()
            tampered = body.replace(old, new, 1)
            assert tampered != body
            database.execute("UPDATE record SET body = ? WHERE digest = ?", [tampered, digest])
            database.commit()
            with pytest.raises(RefusedError, match="not what was signed"):
                replay(shop, decision.digest)
            database.execute("UPDATE record SET body = ? WHERE digest = ?", [body, digest])
            database.commit()
    assert replay(shop, decision.digest).reached == "ship"


def test_new_rows_make_a_new_version_held_against_the_live_one(shop, desk, rows_folder, tmp_path):
    run(shop, desk, rows_folder)
    lines = (rows_folder / "rows.jsonl").read_text().splitlines()
    (tmp_path / "rows.jsonl").write_text("\n".join(lines[:-60]) + "\n")
    result = run(shop, desk, tmp_path)
    assert shop.store.ledger.count(Dataset) == 2
    assert {v.name for v in _versions(shop)} == {"desk@v1", "desk@v2"}
    assert any(line.title.startswith("live:") and "incumbent" in line.role for line in result.lines)


def _versions(shop):
    from sartor.registry.variants import versions

    return versions(shop.store.ledger, "desk")


def test_a_gate_not_passed_releases_nothing_and_says_why(shop, desk, rows_folder):
    strict = changed(desk, gate={"min_rows": 100_000, "guards": {}})
    result = run(shop, strict, rows_folder)
    assert result.decision.verdict == "hold"
    assert result.version == ""
    assert "more are needed" in " ".join(result.decision.reasons)
    assert stock.tasks(shop)[0]["state"] == "not released"


def test_unknown_licence_holds_unless_allowed_by_name(shop, desk, rows_folder):
    source = {"use": "jsonl", "path": "rows.jsonl", "licence": "Acme-1"}
    unknown = changed(desk, data=desk.body()["data"] | {"sources": [source]})
    assert run(shop, unknown, rows_folder).decision.verdict == "hold"
    allowed = changed(unknown, gate={"min_rows": 50, "guards": {}, "allow_licences": ["Acme-1"]})
    assert run(shop, allowed, rows_folder).decision.verdict == "ship"


def test_task_that_does_not_fit_its_rows_stops_before_training(shop, desk, rows_folder):
    with pytest.raises(AskError, match="does not fit its rows"):
        run(shop, changed(desk, fallback="nobody"), rows_folder)
    assert runs(shop, "make") == 0


def test_failed_step_is_recorded_and_leaves_nothing(shop, desk, rows_folder, monkeypatch):
    from sartor.core import errors
    from sartor.training.recipes import linear

    def broken(*_):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(linear, "_fit", broken)
    with pytest.raises(errors.PluginError, match="'linear' failed: ZeroDivisionError: planted"):
        run(shop, desk, rows_folder)
    (failed,) = shop.store.ledger.find(Run, status="failed")
    assert "planted" in failed.error
    monkeypatch.undo()
    assert run(shop, desk, rows_folder).decision.verdict == "ship"


def test_rollback_retire_and_back_without_torch(shop, desk, rows_folder, tmp_path):
    run(shop, desk, rows_folder)
    lines = (rows_folder / "rows.jsonl").read_text().splitlines()
    (tmp_path / "rows.jsonl").write_text("\n".join(lines[:-60]) + "\n")
    cheaper = changed(desk, incumbent={"kind": "person"})
    assert run(shop, cheaper, tmp_path).version == "desk@v2"
    code = (
        "import sys; from pathlib import Path; from sartor.interfaces.settings import Settings\n"
        "from sartor.pipeline import stock\n"
        f"shop = Settings.read(Path({str(shop.store.root)!r})).workshop()\n"
        "moved = stock.rollback(shop, 'desk', 'worse at night')\n"
        "assert 'torch' not in sys.modules and 'sklearn' not in sys.modules\n"
        "print(moved['live'])"
    )
    environment = {"SARTOR_KEY": str(shop.key), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == _versions(shop)[0].digest
    assert Handles(shop).resolve("desk").version == "desk@v1"
    stock.retire(shop, "desk", "no longer needed")
    with pytest.raises(RefusedError, match="retired"):
        Handles(shop).resolve("desk")
    assert stock.rollback(shop, "desk", "")["live"] == _versions(shop)[0].digest
    assert [d.verb for d in shop.store.ledger.find(Decision)][:3] == ["restore", "retire", "rollback"]


def test_lineage_verify_diff_search_and_bill_of_a_variant(shop, desk, rows_folder):
    result = run(shop, desk, rows_folder)
    assert result.dataset.digest[:12] in stock.lineage(shop, "desk", down=False).text
    assert stock.verify(shop, "desk")["records"] >= 2
    assert stock.search(shop, ["task=desk", "recipe=linear"], 10)[0]["digest"] == result.variants["linear"]
    assert stock.show(shop, "desk@v1")["names"] == ["desk@live", "desk@v1"]
    assert stock.diff(shop, "desk", "desk@v1") is not None
    assert stock.bom(shop, "desk")["bomFormat"] == "CycloneDX"


def test_batch_prediction_answers_as_the_server_does(shop, desk, rows_folder, tmp_path):
    run(shop, desk, rows_folder)
    out = tmp_path / "answers.parquet"
    done = predict_file(shop, "", rows_folder / "rows.jsonl", out)
    assert (done.rows, done.version) == (480, "desk@v1")
    import pyarrow.parquet as pq

    answers = pq.read_table(out).to_pylist()
    assert sum(a["answer"] == a["label"] for a in answers) / len(answers) > 0.95
    with pytest.raises(AskError, match="must end in"):
        predict_file(shop, "", rows_folder / "rows.jsonl", Path("answers.txt"))


def test_same_seed_same_digests_in_another_store(shop, desk, rows_folder, tmp_path):
    from sartor.pipeline.workshop import Workshop
    from sartor.store.opening import open_store

    one = run(shop, desk, rows_folder)
    store = open_store(tmp_path / "other")
    two = run(Workshop(store=store, key=shop.key, cache=shop.cache, who="tester"), desk, rows_folder)
    assert one.variants == two.variants
    assert one.dataset.digest == two.dataset.digest
    assert one.decision.digest == two.decision.digest
    store.close()
