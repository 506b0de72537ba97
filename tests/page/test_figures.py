"""A hundred thousand events: each figure on the page is what the generator's own list says, and the page is quick."""

from __future__ import annotations

import csv
import http.client
import io
import random
import shutil
import threading
import time
from collections import Counter, defaultdict
from contextlib import closing
from datetime import datetime, timedelta, timezone
from statistics import median

import pytest

from ocm_otel.emulator import Emulator
from ocm_otel.emulator.store import Received, Store

pytestmark = pytest.mark.timeout(300)

NONE = "\N{EN DASH}"
START = 1_790_000_000
COUNT = 100_000
TYPES = {
    "search": 30, "courses-search": 4, "course-click": 22, "course-save": 9, "Course_Saved": 1, "course-suggest": 3,
    "course-complete": 6, "course-completed": 1, "menu-click": 18, "logout": 4, "profile-access": 2,
}  # fmt: skip
STEPS = {"search": "search", "courses-search": "search", "course-click": "click", "course-save": "save",
         "Course_Saved": "save", "course-suggest": "suggestion", "course-complete": "completion",
         "course-completed": "completion"}  # fmt: skip
MADRID = timezone(timedelta(hours=2))  # in September, where the browser thinks it is
FORM = "%Y-%m-%d %H:%M:%S"
MINUTES = {str(number): float(6 * (number % 9 + 1)) for number in range(100)}


def generated():
    """Return the calls, the same each time."""
    dice = random.Random(20)
    kinds, weights = list(TYPES), list(TYPES.values())
    calls = []
    for number, type in enumerate(dice.choices(kinds, weights, k=COUNT)):
        call = {"at": START + number * 2.5, "type": type, "counted": dice.random() > 0.01}
        if dice.random() > 0.05:
            call["user_id"] = f"u{dice.randrange(4000)}"
        if dice.random() > 0.2:
            call["entity_id"] = f"entity {dice.randrange(20)}"
        if type.lower().startswith("course-") or type == "Course_Saved":
            call["course_id"] = str(min(int(dice.paretovariate(0.8)), 120))
        calls.append(call)
    return calls


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The calls in a file of an emulator, put there once."""
    path = tmp_path_factory.mktemp("figures") / "events.sqlite"
    store = Store(path)
    store._connection.execute("BEGIN")  # one by one they take three times as long
    for call in generated():
        fields = {name: call[name] for name in ("type", "course_id", "user_id", "entity_id") if name in call}
        status, reason = (200, None) if call["counted"] else (400, "type is empty")
        place = (call["at"], 0.0, "127.0.0.1:1", "GET", "/v2.0/events", "")
        store.add(Received(*place, status, reason, call["counted"], "key-1a2b3c4d", fields))
    store._connection.execute("COMMIT")
    store.measure(MINUTES)
    store.close()
    return path


@pytest.fixture
def emulator(file, tmp_path):
    """An emulator that has received the calls."""
    with Emulator(path=shutil.copy(file, tmp_path)) as running:
        yield running


def expected(calls):
    """Return what the page should show of the calls, computed from the list alone."""
    events = [call for call in calls if call["counted"]]
    people = {call.get("user_id") for call in events} - {None}
    steps, doers = Counter(), defaultdict(set)
    for call in events:
        step = STEPS.get(call["type"])
        steps[step] += 1
        doers[step].add(call.get("user_id"))
    done = [call for call in events if STEPS.get(call["type"]) == "completion"]
    minutes = sum(MINUTES.get(call["course_id"], 0) for call in done)
    return {
        "events": f"{len(events):,}",
        "refused": f"{len(calls) - len(events):,}",
        "people": f"{len(people):,}",
        "entities-count": f"{len({call.get('entity_id') for call in events} - {None}):,}",
        "searches": f"{steps['search']:,}",
        "completions": f"{steps['completion']:,}",
        "people-with-completion": f"{len(doers['completion'] - {None}):,}",
        "per-hundred": f"{100 * steps['completion'] / steps['search']:,.1f}" if steps["search"] else NONE,
        "hours": f"{minutes / 60:,.1f}",
    }, [
        (f"{steps[step]:,}", f"by {len(doers[step] - {None}):,} ") for step in ("search", "click", "save", "completion")
    ]


def courses(calls):
    """Return the lines of the table of courses by their course, computed from the list alone."""
    found = defaultdict(Counter)
    for call in calls:
        if call["counted"] and "course_id" in call:
            found[call["course_id"]][STEPS[call["type"]]] += 1
            found[call["course_id"]]["all"] += 1
    return {
        course: [
            course, *(f"{counts[step]:,}" for step in ("click", "save", "suggestion", "completion")),
            f"{counts['completion'] * MINUTES[course] / 60:,.1f}" if course in MINUTES else NONE, f"{counts['all']:,}",
        ]
        for course, counts in found.items()
    }  # fmt: skip


def parted(calls, name):
    """Return the calls by the value of a parameter, without those that lack it."""
    found = defaultdict(list)
    for call in calls:
        if name in call:
            found[call[name]].append(call)
    return found


def sizes(calls, *names):
    """Return how many calls there are, and how many different values of parameters, as the page writes it."""
    return [f"{len(calls):,}", *(f"{len({call.get(name) for call in calls} - {None}):,}" for name in names)]


def completed(calls):
    """Return how many completions are among the calls, and the hours of training in them, as the page writes it."""
    done = [call for call in calls if STEPS.get(call["type"]) == "completion"]
    return f"{len(done):,}", f"{sum(MINUTES.get(call['course_id'], 0) for call in done) / 60:,.1f}"


def moment(at):
    """Return a time as the page writes it."""
    return datetime.fromtimestamp(at, MADRID).strftime(FORM)


def shown(page, wanted):
    """Wait until the page shows what is wanted, and return what it shows."""
    page.wait_for_function(
        "wanted => Object.entries(wanted).every(([id, text]) => document.getElementById(id).textContent === text)",
        arg=wanted, timeout=90_000,
    )  # fmt: skip


CELLS = "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"


def rows(page, table):
    return page.eval_on_selector_all(f"#{table} tbody tr", CELLS)


def test_each_figure_is_what_the_generator_says(emulator, visit):
    """Of all events, and of those of a type, an entity and a period, page and CSV show the generator's own sums."""
    calls = generated()
    page = visit(emulator)
    figures, funnel = expected(calls)
    shown(page, figures)
    lines = page.locator("#funnel li").all_inner_texts()
    assert all(number in line and by in line for line, (number, by) in zip(lines, funnel, strict=True))

    table = courses(calls)
    found = rows(page, "courses")
    assert len(found) == 50
    assert all(table[row[0]] == row for row in found)
    with page.expect_download() as download:
        page.click("a[data-table=courses]")
    lines = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))
    assert {line["course_id"]: (line["saves"], line["completions"]) for line in lines} == {
        course: (row[2].replace(",", ""), row[4].replace(",", "")) for course, row in table.items()
    }
    events = [call for call in calls if call["counted"]]
    assert {row[0]: row[1:] for row in rows(page, "by-type")} == {
        type: [*sizes(some, "user_id"), moment(some[-1]["at"])] for type, some in parted(events, "type").items()
    }
    assert {row[0]: row[1:] for row in rows(page, "by-entity")} == {
        entity: [*sizes(some, "user_id"), *completed(some)] for entity, some in parted(events, "entity_id").items()
    }
    page.click("text=As a table")
    pieces = rows(page, "time-table")[::-1]
    assert 20 <= len(pieces) <= 60
    starts = [datetime.strptime(row[0], FORM).replace(tzinfo=MADRID).timestamp() for row in pieces]
    for row, start, end in zip(pieces, starts, [*starts[1:], 2**62], strict=True):
        inside = [call for call in calls if start <= call["at"] < end]
        some = [call for call in inside if call["counted"]]
        refused = f"{len(inside) - len(some):,}"
        number, people, entities = sizes(some, "user_id", "entity_id")
        assert row[1:] == [number, refused, people, entities, completed(some)[0]], row

    page.fill("[name=type]", "course-complete")
    shown(page, expected([call for call in calls if call["type"] == "course-complete"])[0])
    page.fill("[name=entity_id]", "entity 3")
    both = [call for call in calls if call["type"] == "course-complete" and call.get("entity_id") == "entity 3"]
    shown(page, expected(both)[0])
    page.click("#everything")
    page.select_option("[name=period]", "between")
    for name, at in (("from", START + 100_000), ("to", START + 110_000)):
        page.fill(f"[name={name}]", datetime.fromtimestamp(at, MADRID).strftime("%Y-%m-%dT%H:%M:%S"))
    shown(page, expected([call for call in calls if START + 100_000 <= call["at"] < START + 110_000])[0])


def test_the_api_answers_while_the_report_is_computed(emulator, visit):
    """With a hundred thousand events on the page, calls are answered at once and a new one is soon seen."""
    page = visit(emulator)
    before = emulator.count
    shown(page, {"events": f"{before:,}"})
    waits, reports, over = [], [], threading.Event()

    def report():
        while not over.is_set():
            start = time.monotonic()
            with closing(http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=30)) as connection:
                connection.request("GET", "/emulator/report")
                connection.getresponse().read()
            reports.append(time.monotonic() - start)

    reader = threading.Thread(target=report)
    reader.start()
    with closing(http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=30)) as connection:
        for _ in range(100):
            start = time.monotonic()
            connection.request("GET", "/v2.0/events?type=search", headers={"x-api-key": "demo-key"})
            connection.getresponse().read()
            waits.append(time.monotonic() - start)
    over.set()
    reader.join(60)
    assert reports
    assert median(waits) < median(reports) / 2, "behind each other, a call waits for a whole report"
    print(f"a report takes {median(reports):.3f} s, a call beside it {median(waits):.3f} s")
    shown(page, {"events": f"{before + 100:,}"})
