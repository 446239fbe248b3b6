"""Judges through the store: measured on people's words before they count, asked about the rest, booked."""

import json
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.kill import ENDS, LABELS, VERBS
from sartor.core.errors import AskError, NotFoundError
from sartor.core.records import Report, Run
from sartor.core.route import Upstream
from sartor.core.task import Task
from sartor.core.traffic import Content, Exchange, Feedback, HopRow
from sartor.interfaces.cli.main import app
from sartor.pipeline.judge_cases import known_of
from sartor.pipeline.judges import counting, judge, measure_judge, status
from sartor.pipeline.run import run
from sartor.pipeline.upstreams import declare_upstream

WRONG_EVERY = 4
"""One answer in so many is wrong."""
ERRS_EVERY = 10
"""The large model errs once in so many texts, by their words."""


def truth_of(text):
    return next(label for label, starts in LABELS.items() if any(text.startswith(start) for start in starts))


class Giant(BaseHTTPRequestHandler):
    """Labels texts by their first words, over OpenAI's protocol."""

    asked = 0

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = body["messages"][1]["content"].split("\n")[1]
        Giant.asked += 1
        said = truth_of(text)
        if sum(map(ord, text)) % ERRS_EVERY == 0:
            said = next(label for label in sorted(LABELS) if label != said)
        message = {"role": "assistant", "content": said}
        usage = {"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        answer = {"id": "x", "object": "chat.completion", "created": 1, "model": "giant", "choices": [choice]}
        data = json.dumps(answer | {"usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def giant():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Giant)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    Giant.asked = 0
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def home(shop, desk, rows_folder, giant):
    judges = [
        {"use": "llm", "name": "giant", "model": "giant", "min_golden": 40},
        {"use": "rule", "name": "cards", "patterns": [{"pattern": "card", "label": min(LABELS)}]},
    ]
    run(shop, Task.model_validate(desk.body() | {"judges": judges}), rows_folder)
    price = {"input_million": 1.0, "output_million": 1.0, "currency": "EUR"}
    body = {"name": "giant", "base_url": giant, "allow_private": True, "price": price, "concurrency": 4}
    declare_upstream(shop, Upstream.model_validate(body))
    return shop


def traffic(shop, count, people=(), drawn=False):
    """Answers, a quarter of them wrong; people say of some whether they are right."""
    draw, log, start = random.Random(3), shop.store.traffic.log("w0"), time.time()
    names = sorted(LABELS)
    for number in range(count):
        truth = draw.choice(names)
        text = f"{draw.choice(LABELS[truth])} {draw.choice(VERBS)} {draw.choice(ENDS)} {number}"
        truth = truth_of(text)
        said = truth if number % WRONG_EVERY else next(label for label in names if label != truth)
        done = Exchange(
            id=f"chatcmpl-{number}", at=start + number * 1e-3, tenant="default", key="", route="desk", model="desk",
            task="desk", variant="v", label=said, confidence=0.9, hops=[HopRow("v", "local", 0, label=said)],
        )  # fmt: skip
        asked = {"model": "desk", "messages": [{"role": "user", "content": text}]}
        log.append(done, Content(json.dumps(asked).encode(), b"{}"))
        if number in people:
            tags = {"sample": "random"} if drawn else {}
            word = Feedback(f"p{number}", done.at + 1, "default", "demonstration", truth, exchange=done.id, tags=tags)
            log.append_feedback(word, sync=False)
    log.flush()
    log.close()


def test_a_judge_counts_once_it_was_measured_and_its_error_stays_in_the_figure(home):
    traffic(home, 200, people=range(60), drawn=True)
    assert counting(home, "desk") == ()
    report = measure_judge(home, "desk", "giant")
    assert report.facts["golden"]["right_right"] + report.facts["golden"]["wrong_wrong"] > 48
    assert report.facts["counts"]
    assert report.metrics["informedness"].low < report.metrics["informedness"].value
    assert counting(home, "desk") == ("giant",)
    assert (Giant.asked, home.store.ledger.count(Report, purpose="judge")) == (60, 1)
    done = judge(home, "desk", "giant")
    assert (done.asked, done.right + done.wrong, done.without_content) == (140, 140, 0)
    assert done.cost == pytest.approx(140 * 102e-6)
    booked = [r for r in home.store.ledger.find(Run, verb="booked") if r.plugin == "economics/judge"]
    assert sum(r.cost for r in booked) == pytest.approx(200 * 102e-6)
    # Nothing is asked twice.
    assert judge(home, "desk", "giant").asked == 0
    assert Giant.asked == 200
    (found, _) = status(home, "desk")
    assert (found["counts"], found["judged"], found["right"]["way"]) == (True, 140, "prediction_powered")
    assert found["right"]["right"]["low"] < 0.75 < found["right"]["right"]["high"]
    assert set(found["doubted"]) <= {one.id for one in known_of(home, "desk")}
    assert found["doubted"]


def test_people_of_their_own_choice_make_it_the_wider_way_and_too_few_do_not_count(home):
    traffic(home, 100, people=range(30))
    report = measure_judge(home, "desk", "giant")
    assert not report.facts["counts"]
    assert "it takes 40" in report.facts["why"][0]
    assert counting(home, "desk") == ()
    more = measure_judge(home, "desk", "giant", rows=True)
    assert more.facts["counts"] or "informedness" in more.facts["why"][0] or "no answer wrong" in more.facts["why"][0]
    assert more.facts["from_rows"] > 50


def test_limit_and_budget_stop_it(home):
    traffic(home, 100)
    assert judge(home, "desk", "giant", limit=10).stopped == "limit"
    stopped = judge(home, "desk", "giant", budget=102e-6)
    assert (stopped.stopped, stopped.asked) == ("budget", 32)
    by_rule = judge(home, "desk", "cards")
    assert (by_rule.asked, by_rule.cost) == (100, 0.0)
    assert by_rule.no_verdict["no rule applies"] > 0


def test_a_judge_that_changes_counts_no_more(home):
    traffic(home, 400, people=range(400))
    log = home.store.traffic.log("w1")
    for number, one in enumerate(known_of(home, "desk")):
        said = one.truth if number < 200 else True  # at last it calls everything right
        log.append_feedback(
            Feedback(f"j{number}", one.told + 1, "default", "correct", said, exchange=one.id, source="judge",
                     source_id="giant"), sync=False,
        )  # fmt: skip
    log.flush()
    log.close()
    report = measure_judge(home, "desk", "giant")
    assert not report.facts["counts"]
    assert [alarm["view"] for alarm in report.facts["alarms"]] == ["specificity"]
    assert Giant.asked == 0


def test_bad_asks(home, shop):
    with pytest.raises(NotFoundError, match="Did you mean 'giant'"):
        judge(home, "desk", "gaint")
    with pytest.raises(AskError, match="sartor label desk"):
        measure_judge(home, "desk", "giant")
    assert next(one["why"] for one in status(home, "desk")) == ["not measured: sartor judge measure desk giant"]


def test_the_same_on_the_command_line_for_people_and_machines(home, tmp_path, monkeypatch, capsys):
    traffic(home, 120, people=range(60), drawn=True)
    home.store.traffic.index.catch_up()
    monkeypatch.setenv("SARTOR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SARTOR_KEY", str(home.key))

    def said(*arguments):
        app(args=list(arguments), prog_name="sartor", standalone_mode=False)
        return capsys.readouterr().out

    assert "Its word counts" in said("judge", "measure", "desk", "giant")
    ran = json.loads(said("--json", "judge", "run", "desk", "giant", "--limit", "50"))
    assert (ran["asked"], ran["stopped"]) == (50, "limit")
    (giant, cards) = json.loads(said("--json", "judge", "status", "desk"))
    assert (giant["counts"], giant["judged"], cards["counts"]) == (True, 50, False)
    assert "prediction_powered" in said("judge", "status", "desk")
    board = json.loads(said("--json", "drift", "desk"))
    assert board["requests"] == 0
    assert "No alarm" in said("drift", "desk")
