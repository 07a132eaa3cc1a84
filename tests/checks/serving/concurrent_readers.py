"""Ten nights of 100,000 customers are published while 20 readers ask three named queries, and ten more while 5 readers
turn the pages: no error, never anything but a whole night, and answers about as quick as when nothing is published.

What a reader may see of a night is known beforehand: the same nights are first published to a store of its own.
"""

import hashlib
import multiprocessing
import random
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from pipeline.config.settings import Settings
from pipeline.serving.queries import QUERIES
from pipeline.steps.publish import publish
from tests.checks.serving.browser import serving
from tests.support.published import query
from tests.support.worlds.published_world import leave_scores, night_of

CUSTOMERS, NIGHTS, FIRST_NIGHTS = 100_000, 10, 2
SQL_READERS, PAGE_READERS, QUIET_SECONDS, PAUSE = 20, 5, 20, 0.25
CUSTOMER = "c0000042"
NAMED = {
    "most_at_risk": QUERIES["most_at_risk"][2],
    "risen_since_yesterday": QUERIES["risen_since_yesterday"][2],
    "customer": QUERIES["customer"][2].replace(":customer_id", f"'{CUSTOMER}'"),
}
PAGES = ("/", f"/customer?customer_id={CUSTOMER}", "/predictions/most_at_risk", "/predictions/in_a_band")
AT_MOST_SLOWER, AT_MOST_SECONDS = 3.0, 2.0
Seen = tuple[str, float, str]


def main() -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        settings, known = Settings(root=Path(scratch) / "read"), Settings(root=Path(scratch) / "known")
        right, rates = _what_is_right(known)
        alone = f"{max(rates):,.0f} rows/s at best, {sorted(rates)[len(rates) // 2]:,.0f} in the middle"
        print(f"published alone: {alone}", flush=True)
        for number in range(FIRST_NIGHTS):
            _publish(settings, number)
        quiet = _read(lambda: time.sleep(QUIET_SECONDS), _ask, SQL_READERS, settings, None)
        print(f"{len(quiet):,} answers when quiet, p99 {_p99(quiet):.3f} s", flush=True)
        first = FIRST_NIGHTS
        busy = _read(lambda: _publish_all(settings, first), _ask, SQL_READERS, settings, None)
        nights = len({digest for what, _, digest in busy if what == "most_at_risk"})
        slower = _p99(busy) / _p99(quiet)
        print(f"{len(busy):,} while {NIGHTS} nights were published, of which {nights} were seen")
        print(f"p99 {_p99(busy):.3f} s while publishing: {slower:.2f} times", flush=True)
        with serving(settings) as address:
            pages = _read(lambda: _publish_all(settings, first + NIGHTS), _turn, PAGE_READERS, settings, address)
    errors = [words for what, _, words in [*quiet, *busy, *pages] if what == "error"]
    partial = [what for what, _, digest in [*quiet, *busy] if what in NAMED and digest not in right[what]]
    slowest = max(seconds for _, seconds, _ in pages)
    print(f"errors: {len(errors)} {errors[:2]}; answers that are no whole night: {len(partial)}")
    print(f"{len(pages):,} pages for {PAGE_READERS} readers, the slowest after {slowest:.2f} s")
    print(f"p99 ratio: {slower:.2f}")
    return not errors and not partial and nights > 1 and slower <= AT_MOST_SLOWER and slowest <= AT_MOST_SECONDS


def _what_is_right(settings: Settings) -> tuple[dict[str, set[str]], list[float]]:
    """Of each named query the answers after each night, and the rows that were published a second."""
    right: dict[str, set[str]] = {name: set() for name in NAMED}
    rates = []
    for number in range(FIRST_NIGHTS + NIGHTS):
        leave_scores(settings, number, CUSTOMERS)
        started = time.monotonic()
        publish(settings, night_of(number))
        rates.append(CUSTOMERS / (time.monotonic() - started))
        for name, sql in NAMED.items():
            right[name].add(_digest(query(settings, sql)))
    return right, rates


def _publish(settings: Settings, number: int) -> None:
    leave_scores(settings, number, CUSTOMERS)
    publish(settings, night_of(number))


def _publish_all(settings: Settings, first: int) -> None:
    for number in range(first, first + NIGHTS):
        _publish(settings, number)


def _read(
    meanwhile: Callable[[], None], reader: Callable[..., None], readers: int, settings: Settings, address: str | None
) -> list[Seen]:
    """What `readers` processes saw, and in how many seconds, while `meanwhile` ran in this one."""
    # Forked, since each reader is to cost what it asks and not what it imports; this process has one thread.
    context = multiprocessing.get_context("fork" if sys.platform != "darwin" else "spawn")
    stop, answers = context.Event(), context.Queue()
    processes = [
        context.Process(target=reader, args=(number, settings, address, stop, answers), daemon=True)
        for number in range(readers)
    ]
    for process in processes:
        process.start()
    meanwhile()
    stop.set()
    seen = [answer for _ in processes for answer in answers.get(timeout=120)]
    for process in processes:
        process.join()
    return seen


def _ask(number: int, settings: Settings, _: None, stop: Event, answers: "Queue[list[Seen]]") -> None:
    """A reader in SQL: the named queries in turn, by `recur query`'s own function, with a pause between."""
    _until(
        stop, answers, number, [(name, lambda sql=sql: _digest(query(settings, sql))) for name, sql in NAMED.items()]
    )


def _turn(number: int, _: Settings, address: str, stop: Event, answers: "Queue[list[Seen]]") -> None:
    """A reader of the pages, one after the other, with a pause between."""

    def fetched(path: str) -> str:
        with urllib.request.urlopen(address + path, timeout=60) as page:
            return hashlib.sha256(page.read()).hexdigest()

    _until(stop, answers, number, [(path, lambda path=path: fetched(path)) for path in PAGES])


Query = tuple[str, Callable[[], str]]


def _until(
    stop: Event, answers: "Queue[list[Seen]]", number: int, queries: list[tuple[str, Callable[[], str]]]
) -> None:
    seen: list[Seen] = []
    waits = random.Random(number)
    turn = number
    while not stop.is_set():
        what, run = queries[turn % len(queries)]
        turn += 1
        started = time.monotonic()
        try:
            seen.append((what, 0.0, run()))
            seen[-1] = (what, time.monotonic() - started, seen[-1][2])
        except Exception as error:  # whatever it is, it counts
            seen.append(("error", time.monotonic() - started, f"{what}: {type(error).__name__}: {error}"))
        time.sleep(waits.uniform(0.5, 1.5) * PAUSE)
    answers.put(seen)


def _digest(answer: Any) -> str:
    return hashlib.sha256(repr(answer).encode()).hexdigest()


def _p99(seen: list[Seen]) -> float:
    times = sorted(seconds for _, seconds, _ in seen)
    return times[int(0.99 * (len(times) - 1))]
