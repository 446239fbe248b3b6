"""Books and forecasts as a browser shows them: nothing is fetched, nothing overflows, the style sheet is let in."""

import shutil

import pytest
from ledger_sample import START, Given, exchange, traffic

from sartor.pipeline.bookings import Booking, book
from sartor.pipeline.economics import ledger
from sartor.pipeline.economics_page import forecast_page, ledger_page
from sartor.pipeline.forecast import actual, forecast, read_assumed

CHROMIUM = shutil.which("chromium")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]


def test_pages_stand_alone_at_every_width(shop, tmp_path):
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'sartor[dev]'")
    done = traffic(12, volume=60, routes=("desk", "a-route-whose-name-is-very-long-indeed_and_has_no_space"))
    done += [exchange(10**6 + i, by="v" * 64, kind="local", cost=10**5, at=START + i * 900) for i in range(50)]
    book(shop, Booking("labelling", minutes=42, hourly=60, start="2024-10-05"))
    wanted = read_assumed(["machine=60", "labelling=100"])
    found = forecast(shop, "desk", assumed=wanted, traffic=Given(done), now=START + 12 * 86_400)
    beside = actual(shop, "desk", now=START + 20 * 86_400, traffic=Given(done))
    pages = {
        "forecast": forecast_page(found, beside),
        "books": ledger_page(ledger(shop, ["route", "variant"], traffic=Given(done))),
    }
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        for name, text in pages.items():
            file = tmp_path / f"{name}.html"
            file.write_text(text, encoding="utf-8")
            for width in (360, 1200):
                page = browser.new_page(viewport={"width": width, "height": 900})
                said, fetched = [], []
                page.on("console", lambda message, said=said: said.append(message.text))
                page.on("request", lambda request, fetched=fetched: fetched.append(request.url))
                page.goto(f"file://{file}")
                assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} at {width}"
                assert page.evaluate("getComputedStyle(document.querySelector('table')).borderCollapse") == "collapse"
                assert (said, fetched) == ([], [f"file://{file}"])
                page.close()
        browser.close()
