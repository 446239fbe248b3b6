"""The report as a browser shows it: nothing is fetched, nothing overflows, everything can be read."""

import shutil

import pytest
from report_sample import sample

from sartor.evaluation.report.render import render
from sartor.evaluation.report.view import VerdictView

CHROMIUM = shutil.which("chromium")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip
CONTRAST = """() => {
  document.querySelectorAll('details').forEach(d => d.open = true);
  const paint = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = color => {
    paint.clearRect(0, 0, 1, 1); paint.fillStyle = color; paint.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = paint.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3]));
  const light = color => {
    const [r, g, b] = color.map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = element => {
    const layers = [];
    for (; element; element = element.parentElement) layers.push(rgba(getComputedStyle(element).backgroundColor));
    return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const words = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!words || ['title', 'desc'].includes(element.tagName)) continue;
    const style = getComputedStyle(element), under = ground(element);
    const color = rgba(element.namespaceURI.includes('svg') ? style.fill : style.color);
    const [a, b] = [light(over(color, under)), light(under)];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), element.textContent.slice(0, 40)]);
  }
  return found;
}"""

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'sartor[dev]'")
    with api.sync_playwright() as play:
        running = play.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield running
        running.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    for verdict in ("ship", "hold", "need_data"):
        told = VerdictView(verdict=verdict, candidate="blend", incumbent="gpt-4", reasons=("why",))
        (folder / f"{verdict}.html").write_text(render(sample(verdict=told)), encoding="utf-8")
    return folder


@pytest.mark.parametrize("width", [360, 620, 760, 1200])
def test_nothing_overflows_nothing_is_fetched_nothing_is_refused(browser, file, width):
    context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=True)
    page = context.new_page()
    said, fetched = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(f"file://{file / 'ship.html'}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    styled = page.evaluate("getComputedStyle(document.querySelector('.verdict')).borderRadius")
    assert styled == "14px", "the content policy refused the page's own style sheet"
    assert (said, fetched) == ([], [f"file://{file / 'ship.html'}"])
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("verdict", ["ship", "hold", "need_data"])
def test_every_word_stands_out_from_its_ground(browser, file, verdict, scheme):
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.goto(f"file://{file / f'{verdict}.html'}")
    found = page.evaluate(CONTRAST)
    assert len(found) > 500
    assert [item for item in found if item[0] < 4.5] == []
    context.close()


def test_it_reads_with_scripts_off_and_prints_every_fold(browser, file):
    context = browser.new_context(
        java_script_enabled=False, color_scheme="dark", viewport={"width": 680, "height": 900}
    )
    page = context.new_page()
    page.goto(f"file://{file / 'ship.html'}")
    page.emulate_media(media="print")
    assert page.locator("h2.word").inner_text() == "SHIP"
    assert page.locator("details table").first.bounding_box()["height"] > 100
    assert not page.locator("nav").is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")
    context.close()
