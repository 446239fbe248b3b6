"""The books of a store: what was captured, what runs took, what people booked; forecasts kept and held against them."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from ledger_sample import DAY, START, Given, exchange, traffic

from benchmarks.economics import kills
from sartor.core.errors import AskError, NotFoundError
from sartor.core.records import Metric, Report, Run, TaskRecord
from sartor.core.task import Task
from sartor.core.traffic import NANO, Feedback, HopRow
from sartor.pipeline.bookings import Booking, Scope, book, entries, seconds
from sartor.pipeline.economics import ledger, prices
from sartor.pipeline.economics_page import forecast_page, ledger_page
from sartor.pipeline.forecast import actual, forecast, read_assumed

TASK = {
    "name": "t",
    "data": {"sources": [{"use": "csv", "path": "a.csv", "licence": "owned"}]},
    "value": {"currency": "USD", "wrong": 2.0},
}
NOW = START + 40 * DAY


def keep_task(shop):
    body = Task.model_validate(TASK).body()
    shop.store.ledger.put(TaskRecord(name="t", contract=body))


def run(shop, *, cost, task="t", created="2024-10-05T10:00:00.000+00:00", **rest):
    shop.store.ledger.put(Run(verb="make", task=task, key=f"{cost}{created}", cost=cost, created=created, **rest))


def log(shop, done, feedback=()):
    writer = shop.store.traffic.log("w0")
    for item in done:
        writer.append(item, None, sync=False)
    for item in feedback:
        writer.append_feedback(item, sync=False)
    writer.close()


def test_captured_traffic_is_booked_to_the_last_unit_in_every_view(any_shop):
    done = [exchange(i, tenant="ab"[i % 2], cost=333_333_333 + i, at=START + i * 9000.5) for i in range(100)]
    done += [exchange(200 + i, endpoint="shadow", shadow_of=f"chatcmpl-{i}", cost=7) for i in range(30)]
    done += [exchange(300, cost=9, hops=[HopRow("v", "local", 4), HopRow("gpt-4", "upstream", 5, 9, 9)])]
    log(any_shop, done)
    for by in ((), ("tenant",), ("route", "day"), ("variant", "task")):
        view = ledger(any_shop, by)
        assert view.reconciled.exact
        assert view.reconciled.hops == view.sum.total == sum(d.cost for d in done)
        assert view.sum.requests == 101
    days = any_shop.store.traffic.index.totals(None, ("day",))
    assert {row.line.key[0]: row.line.total for row in ledger(any_shop, ["day"]).rows} == {
        d["day"]: d["cost"] for d in days
    }
    only = ledger(any_shop, ["tenant"], Scope(tenant="a"))
    assert [row.line.key for row in only.rows] == [("a",)]


def test_feedback_of_the_log_says_how_many_are_right(shop):
    keep_task(shop)
    done = [exchange(i, task="t", variant="v", at=START + i, business=f"b{i}") for i in range(40)]
    said = [Feedback(f"f{i}", START, "acme", "correct", i >= 4, exchange=f"chatcmpl-{i}") for i in range(20)]
    said += [Feedback(f"f{i}", START, "acme", "correct", value=True, business=f"b{i}") for i in range(20, 40)]
    said += [Feedback("x", START, "beta", "correct", value=False, exchange="chatcmpl-39")]
    log(shop, done, said)
    (row,) = ledger(shop, ["task"]).rows
    assert (row.correct.value, row.correct.how) == (36, "measured")
    assert row.per_1000_correct.value == pytest.approx(1000 * 40_000 / NANO / 36)
    assert row.lost.value == pytest.approx(4 * 2.0 * 0.5), "in euros"


def test_without_feedback_the_report_of_the_variant_counts(shop):
    keep_task(shop)
    found = Metric(value=0.9, low=0.88, high=0.92, n=500)
    shop.store.ledger.put(Report(subject="v", task="t", split="test", metrics={"accuracy": found}))
    shop.store.ledger.put(Report(subject="v", task="t", split="validation", metrics={"accuracy": Metric(value=1.0)}))
    (row,) = ledger(shop, traffic=Given([exchange(i, task="t", variant="v") for i in range(10)])).rows
    assert (row.correct.value, row.correct.how) == (pytest.approx(9), "assumed")
    assert "90.0 % of 500 test rows" in row.correct.note


def test_bookings_and_runs_stand_beside_answers_in_the_currency_of_the_books(any_shop):
    keep_task(any_shop)
    run(any_shop, cost=3.0)
    run(any_shop, cost=1.0, status="failed", created="2024-10-06T10:00:00.000+00:00")
    run(any_shop, cost=1.0, task="")
    book(any_shop, Booking("labelling", "t", minutes=42, hourly=60, start="2024-10-05"))
    book(any_shop, Booking("judge", "t", money=5.0, currency="USD", start="2024-10-05"))
    book(any_shop, Booking("adjustment", "t", money=-2.0, start="2024-10-06"))
    view = ledger(any_shop, ["task"], traffic=Given([exchange(1, task="t")]))
    parts = {row.line.key[0]: dict(row.line.parts) for row in view.rows}
    assert parts["t"] == {
        "upstream": 1000,
        "training": 2 * NANO,
        "labelling": 42 * NANO,
        "judge": 5 * NANO // 2,
        "adjustment": -2 * NANO,
    }
    assert parts[""] == {"training": NANO}
    of_a_day = ledger(any_shop, ["day"], Scope(task="t", since=seconds("2024-10-06")), traffic=Given([]))
    assert [(row.line.key, row.line.total) for row in of_a_day.rows] == [(("2024-10-06",), -3 * NANO // 2)]
    assert entries(any_shop, Scope(tenant="acme")) == ([], [])


def test_a_machine_s_idle_hours_fill_up_its_bill(shop):
    book(shop, Booking("machine", hourly=0.5, start="2024-10-04", until="2024-10-06"))
    used = exchange(1, by="v", kind="local", cost=3 * NANO, at=START + 5)
    rows = ledger(shop, ["day"], traffic=Given([used])).rows
    assert {row.line.key[0]: row.line.parts["idle"] for row in rows} == {
        "2024-10-04": 9 * NANO,
        "2024-10-05": 12 * NANO,
    }


@pytest.mark.parametrize(
    ("booking", "said"),
    [
        (Booking("labelling", minutes=3), "How much is it"),
        (Booking("judge", money=-1), "Only an adjustment may be negative"),
        (Booking("machine"), "A machine takes its price"),
        (Booking("machine", hourly=1, start="2024-10-06", until="2024-10-05"), "must come after"),
        (Booking("judge", money=1, start="tomorrow"), "'tomorrow' is no day or time"),
        (Booking("judge", money=1, currency="CHF"), "amount in CHF can't be booked in EUR"),
        (Booking("labeling", money=1), "Did you mean 'labelling'"),
        (Booking("judge", money=1e300), "no amount that can be booked"),
        (Booking("adjustment", money=float("nan")), "no amount that can be booked"),
        (Booking("machine", hourly=float("inf")), "no amount that can be booked"),
        (Booking("labelling", minutes=1e200, hourly=1e200), "no amount that can be booked"),
        (Booking("machine", hourly=1, start="0001-01-01"), "before 2000"),
        (Booking("judge", money=1, start="0001-01-01T00:00:00+14:00"), "no day or time"),
    ],
)
def test_bookings_that_do_not_fit_are_refused(shop, booking, said):
    with pytest.raises(AskError, match=said):
        book(shop, booking)
    assert entries(shop) == ([], [])


def test_a_task_whose_currency_has_no_rate_is_refused(shop):
    keep_task(shop)
    with pytest.raises(AskError, match="no rate is stated"):
        ledger(replace(shop, rates={}), traffic=Given([exchange(1, task="t")]))


def test_prices_are_told_in_the_currency_of_the_books_where_a_rate_is_stated(shop):
    (price,) = prices(shop, "gpt-4")
    assert (price.input_million, price.currency) == (15.0, "EUR")
    (price,) = prices(replace(shop, rates={}), "gpt-4")
    assert (price.input_million, price.currency) == (30.0, "USD")
    assert len(prices(shop)) > 10


def test_a_forecast_is_kept_and_what_came_true_is_held_against_it(shop):
    done = traffic(40, volume=150, growth=0.004)
    past, later = [[d for d in done if (d.at < START + 25 * DAY) == old] for old in (True, False)]
    found = forecast(shop, "desk", days=60, traffic=Given(past), now=START + 25 * DAY)
    options = {o.option.name: o for o in found.outlooks}
    assert list(options) == ["now", "giant", "prompt", "few-shot", "tuned", "cascade"]
    giant = options["giant"].month
    assert giant.low < giant.value < giant.high
    assert options["prompt"].month.high < options["few-shot"].month.low < giant.low
    assert options["few-shot"].month.value / giant.value == pytest.approx((932 - 453 + 10) / (932 + 10), rel=0.01)
    assert options["cascade"].month.value == pytest.approx(0.2 * giant.value, rel=0.01)
    assert json.loads(json.dumps(found.body()))["options"][1]["month"]["value"] == giant.value
    beside = actual(shop, "desk", now=NOW, traffic=Given(done))
    assert beside.forecast == found.report.digest
    assert beside.days == 15
    assert beside.actual == pytest.approx(sum(d.cost for d in later) / NANO)
    assert beside.inside
    assert abs(beside.body()["share"]) < 0.15


def test_a_forecast_at_a_stated_volume_and_with_machines(shop):
    given = Given(traffic(15, volume=100))
    wanted = read_assumed(
        ["machine=60", "capacity=40000", "labelling=500", "local_share=0.9,0.9,0.9", "rows=100", "volume=1e5"]
    )
    found = forecast(shop, "desk", days=365, assumed=wanted, traffic=given)
    options = {o.option.name: o for o in found.outlooks}
    assert options["tuned"].month.value == pytest.approx(180, rel=0.15), "three machines"
    assert options["tuned"].made_for.value == pytest.approx(500, abs=1)
    pays = options["tuned"].pays_back
    assert pays.early <= pays.day <= pays.late
    told = next(o for o in found.report.facts["options"] if o["option"] == "tuned")["pays_back"]
    first = seconds(found.report.facts["start"])
    assert {n: (seconds(day) - first) / DAY + 1 for n, day in told["dates"].items()} == {
        "day": pays.day,
        "early": pays.early,
        "late": pays.late,
    }
    assert pays.chance == 1


def test_a_forecast_of_what_never_asked_a_giant_tells_only_what_is_now(shop):
    local = [exchange(i, by="v", kind="local", cost=10**6, at=START + i * 3600) for i in range(200)]
    found = forecast(shop, "desk", traffic=Given(local))
    assert [o.option.name for o in found.outlooks] == ["now"]
    assert "Forecast: desk" in forecast_page(found)


def test_questions_that_have_no_answer_say_why(shop):
    with pytest.raises(AskError, match="No traffic of a task or route 'nobody'"):
        forecast(shop, "nobody")
    with pytest.raises(NotFoundError, match="never forecast"):
        actual(shop, "desk")
    forecast(shop, "desk", traffic=Given(traffic(5)), now=START + 5 * DAY)
    with pytest.raises(AskError, match="No day of the forecast is over"):
        actual(shop, "desk", now=START + 5 * DAY, traffic=Given([]))
    with pytest.raises(NotFoundError, match="no 'tund'"):
        actual(shop, "desk", option="tund", now=NOW, traffic=Given([]))
    with pytest.raises(NotFoundError, match="Did you mean 'labelling'"):
        read_assumed(["labeling=5"])
    with pytest.raises(AskError, match="looks 1 to 1096 days ahead"):
        forecast(shop, "desk", days=5000, traffic=Given([]))
    with pytest.raises(AskError, match="at least one request"):
        forecast(shop, "desk", assumed=read_assumed(["capacity=1e-9"]), traffic=Given([]))
    for wrong in (
        "rows=many",
        "machine=1e300",
        "rows=" + "9" * 400,
        "machine=-1",
        "local_share=0.9,0.5,0.1",
        "local_share=1,2",
        "labelling=nan",
    ):
        with pytest.raises(AskError, match="can't be read"):
            read_assumed([wrong])


def test_pages_hold_what_they_are_given_and_nothing_that_runs(shop):
    done = traffic(10, routes=("desk", "<script>alert(1)</script>"))
    book(shop, Booking("labelling", minutes=42, hourly=60, note="<b>"))
    view = ledger(shop, ["route"], traffic=Given(done))
    found = forecast(shop, "desk", traffic=Given(done))
    for page in (ledger_page(view), forecast_page(found)):
        assert "<script" not in page
        assert "default-src &#x27;none&#x27;" in page
    assert "add up to the same" in ledger_page(view)
    assert "Money a month by volume" in forecast_page(found)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_books_are_exact_after_writers_were_killed(tmp_path, mode):
    found = kills(tmp_path / "home", mode, 1)
    assert found["told"] > 20
    assert found["exact"]
    if mode == "sync":
        assert found["lost"] == 0


def test_the_command_line_books_and_tells(shop, tmp_path):
    log(shop, [exchange(i) for i in range(3)])

    def sartor(*words):
        command = [sys.executable, "-m", "sartor.interfaces.cli.main", "--home", str(tmp_path / "home"), "economics"]
        return subprocess.run([*command, *words], capture_output=True, text=True, check=False)

    assert "Booked 42.00 EUR of labelling" in sartor("book", "labelling", "--minutes", "42", "--hourly", "60").stdout
    done = sartor("ledger", "--by", "route", "--json", "--html", str(tmp_path / "books.html"))
    rows = json.loads(done.stdout)["rows"]
    assert {row["route"]: row["total"] for row in rows} == {"": 42 * NANO, "desk": 3000}
    assert "Books" in (tmp_path / "books.html").read_text()
    assert sartor("ledger", "--by", "dya").returncode == 4
