"""The demo itself: an emulated events API, a learning site, people who use it, and the count at the end.

Everything is real but the API: HTTP requests, spans, log lines, the outbox. It needs no key and no
network, and reads no setting of the environment, so that it is the same on every machine.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING

from ocm_otel._outbox import Outbox
from ocm_otel._settings import Settings
from ocm_otel.demo import screen
from ocm_otel.demo.telemetry import Census, instrumented_site
from ocm_otel.demo.visitors import PEOPLE, Act, Browser, Fact, afternoon, first_visit, mistakes, short_visit
from ocm_otel.emulator import Emulator
from ocm_otel.emulator.service import Service, listen

if TYPE_CHECKING:
    from collections.abc import Iterable

SEED = 7
HICCUP = 5
_PATIENCE = 10.0


class Stage:
    """The people at the site, and what is to be seen of it at the API.

    Args:
        api: where the events should arrive.
        browser: makes the requests.
    """

    def __init__(self, api: Emulator, browser: Browser) -> None:
        self._api = api
        self._browser = browser
        self.due: list[Fact] = []
        self._patience = _PATIENCE  # seconds that may still be waited in vain, all in all

    def one_person(self) -> None:
        """Show each request of one person, and when its event was there."""
        screen.heading("One person, request by request; each way to tag is used")
        screen.columns()
        self._one_by_one(first_visit("ann"))

    def wrong_tags(self) -> None:
        """Show two views with mistakes in them, and what the log says of that."""
        screen.heading("Two views with wrong tags: the site goes on, and the log tells it once")
        self._one_by_one(mistakes("bob"))

    def crowd(self) -> None:
        """Let the others come, all at once, and show what came of each."""
        screen.heading("The others, all at once; the API takes 20 ms for a call")
        self._api.latency = 0.02
        dice = random.Random(SEED)  # seeded: each run is the same
        plans = {person: list(afternoon(person, dice)) for person in PEOPLE if person != "ann"}
        before = {person: self._arrived_of(person) for person in plans}
        with ThreadPoolExecutor(len(plans)) as pool:
            running = {pool.submit(self._play, plan): person for person, plan in plans.items()}
            for ended in as_completed(running):
                ended.result()
                person = running[ended]
                facts = [act.fact for act in plans[person] if act.fact]
                self.due += facts
                there = self._wait_for_all_of(person, before[person] + len(facts)) - before[person]
                tail = f"{len(plans[person]):3} requests, {len(facts):3} tagged, {there:3} arrived"
                screen.say(f"  {person:<6} {tail}")
        self._api.latency = 0.0

    def hiccup(self) -> None:
        """Let the API fail for a moment while somebody works on."""
        screen.heading(f"The API has a problem: its next {HICCUP} answers are 503")
        screen.columns()
        self._api.script(*[503] * HICCUP)
        began = time.monotonic()
        self._one_by_one(short_visit("greta"), patience=0.02)
        self._arrived(len(self.due), _PATIENCE)
        late = f"{time.monotonic() - began:.1f} s"
        screen.say(f"  {self._api.count} of {len(self.due)} events are there, {late} after it began")

    def _one_by_one(self, acts: Iterable[Act], patience: float = 2.0) -> None:
        for act in acts:
            began = time.monotonic()
            self._browser.do(act)
            there = True
            if act.fact:
                self.due.append(act.fact)
                there = self._arrived(len(self.due), patience)
            screen.act(act, time.monotonic() - began if there else None)
            time.sleep(0.15)  # slowly enough to be read

    def _play(self, acts: Iterable[Act]) -> None:
        for act in acts:
            self._browser.do(act)
            time.sleep(0.03)

    def _arrived(self, count: int, patience: float) -> bool:
        """Return whether so many events have arrived, as soon as they have or the patience is at its end."""
        began = time.monotonic()
        if self._api.wait_for(count, min(patience, self._patience)):
            return True
        self._patience -= time.monotonic() - began
        return False

    def _wait_for_all_of(self, person: str, count: int) -> int:
        """Return how many events of a person have arrived, as soon as it is `count`."""
        while (there := self._arrived_of(person)) < count and self._patience > 0:
            self._arrived(self._api.count + 1, 0.2)
        return there

    def _arrived_of(self, person: str) -> int:
        return [event["user_id"] for event in self._api.events()].count(person)


def run(*, keep: bool = False) -> bool:
    """Show the demo; returns True if everything that was tagged arrived exactly once.

    Args:
        keep: leave the emulator there afterwards, until Ctrl-C, to look at its report page.
    """
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        del os.environ[name]  # of this process
    logger = logging.getLogger("ocm_otel")
    log: logging.StreamHandler[screen.Sheet] = logging.StreamHandler(screen.Sheet())
    log.setFormatter(screen.Voice())
    logger.addHandler(log)
    logger.propagate = False
    with Emulator() as api:
        screen.say("A learning site, its people and an emulated events API, all on this machine.")
        screen.say(f"\n  events API     {api.endpoint}")
        # In memory: nothing of the demo is left on this disk.
        outbox = Outbox(Settings(endpoint=api.endpoint, api_key=api.key, durability="memory"))
        census = Census()
        due = _perform(api, outbox, census)
        good = _conclude(api, outbox, census, due)
        if keep:
            screen.say(f"\nThe report page: {api.url}/   (Ctrl-C ends it)")
            _wait_to_be_told()
    return good


def _perform(api: Emulator, outbox: Outbox, census: Census) -> list[Fact]:
    """Run the site and its people; return the events that should be at the API in the end."""
    site, provider = instrumented_site(outbox, census)
    listener = listen("127.0.0.1", 0)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    service = Service(site, listener, lambda: None)
    service.start()
    screen.say(f"  learning site  {address}")
    try:
        with Browser(address) as browser:
            stage = Stage(api, browser)
            for scene in (stage.one_person, stage.wrong_tags, stage.crowd, stage.hiccup):
                scene()
    finally:
        service.stop()
        provider.shutdown()
        outbox.close(_PATIENCE)
    return stage.due


def _conclude(api: Emulator, outbox: Outbox, census: Census, due: list[Fact]) -> bool:
    """Write the report, the books and the count; return whether all of it is right."""
    came = [Fact(e["type"], e["course_id"], e["user_id"], e["entity_id"]) for e in api.events()]
    missing, surplus = Counter(due) - Counter(came), Counter(came) - Counter(due)
    now = outbox.books.snapshot()
    screen.heading("The report of the events API")
    screen.say(api.report().rstrip())
    screen.heading("The books of the outbox")
    screen.books(now)
    screen.verdict(len(due), len(came), missing, surplus, census.untagged)
    screen.say()
    screen.say(screen.NEXT_STEPS.rstrip())
    return not missing and not surplus and now.balanced and now.delivered == len(due)


def _wait_to_be_told() -> None:
    """Return at Ctrl-C, or when the process is asked to end."""
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.set())
    told.wait()
