"""The report page as people use it: at a desk, on a phone, by keyboard, by ear, and against hostile strings."""

from __future__ import annotations

import csv
import http.client
import io
import os
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest

from ocm_otel.emulator import Emulator

pytestmark = pytest.mark.timeout(180)

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "'; DROP TABLE calls; --",
    "=cmd|' /C calc'!A0",
    "abc\u202egnp.exe",
    "{{7*7}}${7*7}",
    "a" + "\u0301" * 300,
    "x" * 3000,
]
SCRIPT = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from ocm_otel import OCMSpanProcessor, tags

provider = TracerProvider()
provider.add_span_processor(OCMSpanProcessor())
trace.set_tracer_provider(provider)
with trace.get_tracer("courses").start_as_current_span("save") as span:
    span.set_attributes(tags("course-save", course_id=7, user_id="ann"))
provider.shutdown()
"""


def send(emulator, key="demo-key", **fields):
    """Send one event; a reset connection is an answer, too."""
    with closing(http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=10)) as connection:
        connection.request("GET", f"/v2.0/events?{urlencode(fields)}", headers={"x-api-key": key} if key else {})
        connection.getresponse().read()


def texts(page, selector):
    return page.locator(selector).all_inner_texts()


def has(page, id, text):
    page.wait_for_function("([id, text]) => document.getElementById(id).innerText === text", arg=[id, text])


@contextmanager
def program(*arguments):
    """Run `ocm-otel emulator`; yield the address of its report page."""
    command = [sys.executable, "-m", "ocm_otel.cli", "emulator", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield next(line.split()[-1] for line in running.stdout if "report page" in line)
        finally:
            running.terminate()


def test_a_newcomers_minute(chromium, tmp_path):
    """The command, the page, a script of ten lines: the event appears, with nothing else to set up."""
    with program() as url, closing(chromium.new_context()) as context:
        page = context.new_page()
        page.goto(url)
        page.wait_for_selector("#welcome", state="visible")
        assert "Nothing has come in yet" in page.inner_text("#welcome")
        told = dict(line.removeprefix("export ").split("=", 1) for line in page.inner_text("#exports").splitlines())
        env = {**os.environ, **told, "XDG_STATE_HOME": str(tmp_path), "OTEL_EXPORTER_OCM_SHUTDOWN_TIMEOUT": "20000"}
        subprocess.run([sys.executable, "-c", SCRIPT], env=env, check=True, timeout=60)
        start = time.monotonic()
        page.wait_for_function("() => document.getElementById('events').textContent === '1'", timeout=60_000)
        print(f"seen {time.monotonic() - start:.2f} s after the script's end")
        assert page.locator("#welcome").is_hidden()
        assert texts(page, "#calls tbody th, #calls tbody td")[3:6] == ["course-save", "7", "ann"]


def test_a_page_shows_no_key_that_somebody_chose(visit):
    """With keys of one's own the examples have a place for one; the keys themselves are not on the page."""
    with Emulator(keys=("mine-alone", "another")) as emulator:
        page = visit(emulator, errors=True)  # it ends before the page does
        page.wait_for_selector("#which-key", state="visible")
        assert "x-api-key: YOUR-KEY" in page.inner_text("#example")
        assert "API_KEY=YOUR-KEY" in page.inner_text("#exports")
        assert "mine-alone" not in page.content()


def test_hostile_strings_are_shown_and_never_executed(emulator, visit):
    """Types and ids that are markup, code, piles of marks or 3 to 10 kB long are text on the page and in CSV."""
    send(emulator, type="course-save", course_id="7", user_id="y" * 10_240)
    for hostile in HOSTILE:
        send(emulator, type=hostile[:250], course_id=hostile, user_id=hostile, entity_id=hostile)
        send(emulator, key=None, type=hostile[:250], course_id=hostile)
    page = visit(emulator)
    has(page, "events", str(len(HOSTILE)))
    assert page.locator("main img, main script, main a:not([data-table])").count() == 0
    cells = " ".join(texts(page, "#calls td"))
    for hostile in HOSTILE[:-2]:
        assert hostile.replace("\u202e", "<U+202E>") in cells
    assert "(3,000 characters)" in cells
    assert "\u0301" * 4 + "<43 more marks>… (301 characters)" in cells
    assert "(10,240 characters)" in cells
    assert "make the ids shorter" in cells
    assert "\u202e" not in page.inner_text("body")
    page.get_by_role("button", name="<script>alert(1)</script>").first.click()
    has(page, "events", "1")
    with page.expect_download() as download:
        page.click("a[data-table=calls]")
    lines = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))
    assert {line["course_id"] for line in lines} == {HOSTILE[0]}


def test_what_was_wrong_is_said_with_the_remedy(emulator, visit):
    """Refused calls stand there with their reason and what to do; one tick leaves only these."""
    send(emulator, type="course-save", course_id="7")
    send(emulator, key=None, type="course-save")
    send(emulator, key="wrong", type="course-save")
    send(emulator, type=" ")
    page = visit(emulator)
    page.check("#only-refused")
    page.wait_for_function("() => document.querySelectorAll('#calls tbody tr').length === 3")
    assert [row.splitlines() for row in texts(page, "#calls td.reason")] == [
        ["type is empty", "send type=…, a text of 1 to 256 characters without control characters"],
        ["wrong key", "send one of the keys that this emulator was started with"],
        ["no key", "send a key in the header x-api-key"],
    ]
    assert "wrong" not in emulator.requests()[2]["key"]


def test_events_appear_as_they_arrive_unless_paused(emulator, visit):
    """The page follows without being touched; Pause holds it, and goes on where the events are by then."""
    page = visit(emulator)
    send(emulator, type="search", user_id="ann")
    has(page, "searches", "1")
    page.click("#pause")
    assert page.get_attribute("#pause", "aria-pressed") == "true"
    send(emulator, type="search", user_id="bob")
    emulator.wait_for(2)
    has(page, "live", "Paused")
    assert page.inner_text("#searches") == "1"
    page.click("#pause")
    has(page, "searches", "2")


def test_an_emulator_that_went_away_is_told_and_found_again(tmp_path, visit):
    """The page says that nobody answers, keeps what it shows, and goes on when the emulator is back."""
    with Emulator(path=tmp_path / "events.sqlite") as first:
        send(first, type="search")
        page, port = visit(first, errors=True), first.port
        has(page, "events", "1")
    page.wait_for_selector("#live[data-state=lost]")
    assert "Is it still running?" in page.inner_text("#trouble")
    assert page.inner_text("#events") == "1"
    with Emulator(path=tmp_path / "events.sqlite", port=port) as second:
        send(second, type="search")
        has(page, "events", "2")
        assert page.locator("#trouble").is_hidden()


def test_durations_are_loaded_on_the_page(emulator, visit):
    """A table of durations gives the hours; one that is none is told with its line, and changes nothing."""
    send(emulator, type="course-complete", course_id="7", user_id="ann")
    page = visit(emulator, errors=True)
    page.set_input_files("#durations", {"name": "a.csv", "mimeType": "text/csv", "buffer": b"course_id,hours\n7,1.5\n"})
    has(page, "hours", "1.5")
    page.set_input_files(
        "#durations", {"name": "b.csv", "mimeType": "text/csv", "buffer": b"course_id,hours\n7,soon\n"}
    )
    page.wait_for_function("() => document.getElementById('durations-help').innerText.includes('line 2')")
    assert page.inner_text("#hours") == "1.5"


def test_planned_faults_are_on_the_page(emulator, visit):
    """Who wonders about errors sees that they were asked for, and how often they were given."""
    page = visit(emulator)
    assert page.locator("#faults").is_hidden()
    emulator.set_faults("503 times=2")
    emulator.latency = 0.005
    send(emulator, type="search")
    told = "() => document.getElementById('faults').innerText.includes('503 times=2: given 1 time')"
    page.wait_for_function(told)
    assert "waits 5 ms" in page.inner_text("#faults")


def test_the_filters_are_kept_to_by_every_link(emulator, visit):
    """A press on a type filters by it, all links to CSV follow, and all is shown again with one button."""
    send(emulator, type="search", entity_id="IT")
    send(emulator, type="course-save", course_id="7", entity_id="R&D")
    page = visit(emulator)
    page.get_by_role("button", name="R&D").first.click()
    has(page, "events", "1")
    links = page.eval_on_selector_all("a.csv", "links => links.map(link => link.getAttribute('href'))")
    assert len(links) == 7
    assert all(link.endswith("?entity_id=R%26D") for link in links)
    page.click("#everything")
    has(page, "events", "2")
    assert page.evaluate("document.activeElement.name") == "type"


def test_the_keyboard_reaches_everything(emulator, visit):
    """Tab goes from the skip link over the controls into the report; the arrow keys read the chart aloud."""
    send(emulator, type="search", user_id="ann")
    page = visit(emulator)
    page.wait_for_selector("#calls tbody td.text")
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(
            "[document.activeElement.id || document.activeElement.name || document.activeElement.className,"
            " document.activeElement.id === 'durations' ||"
            " getComputedStyle(document.activeElement).outlineStyle !== 'none']"
        ))  # fmt: skip
    names = [name for name, _ in seen]
    wanted = [
        "skip",
        "pause",
        "theme",
        "type",
        "entity_id",
        "period",
        "durations",
        "time-events",
        "pick",
        "only-refused",
    ]
    assert [name for name in wanted if name not in names] == []
    assert all(marked for name, marked in seen if name), "the focus cannot be seen"
    page.focus("#time-events")
    page.keyboard.press("End")
    assert page.inner_text("#time-events .legend").startswith("Events 1")
    assert page.get_attribute("#time-events .legend", "aria-live") == "polite"
    page.focus(".skip")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "report"


def test_the_colours_are_the_systems_or_the_readers(emulator, visit):
    """Dark follows the system; a choice goes before it and is remembered."""

    def ground(page):
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light, dark = visit(emulator, color_scheme="light"), visit(emulator, color_scheme="dark")
    assert (ground(light), ground(dark)) == ("rgb(244, 246, 249)", "rgb(14, 19, 26)")
    light.select_option("#theme", "dark")
    assert ground(light) == ground(dark)
    light.reload()
    light.wait_for_selector("#live[data-state=live]")
    assert ground(light) == ground(dark)


def crowd(emulator):
    """Send what fills every part of the page, errors and long ids among it."""
    for number in range(60):
        type = ("search", "course-click", "course-save", "course-complete")[number % 4]
        send(emulator, type=type, course_id=str(number % 7), user_id=f"u{number % 9}", entity_id=f"Team {number % 3}")
    send(emulator, type="a" * 250, course_id="b" * 3000, user_id="c" * 3000, entity_id="d" * 3000)
    send(emulator, key=None, type="course-save")
    emulator.load_durations(b"course_id,hours\n1,2\n3,1.5\n")
    emulator.set_faults("503 rate=1%")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("full", [False, True], ids=["empty", "busy"])
def test_the_page_is_accessible_and_fits(emulator, visit, tmp_path, full, width, scheme):
    """Empty and full, wide and narrow, light and dark: axe finds nothing, and nothing sticks out of the window."""
    if full:
        crowd(emulator)
    page = visit(emulator, viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce")
    if full:
        has(page, "events", "61")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    if full:
        region = page.locator("div.scroll:has(#calls)")
        sideways = region.evaluate("region => region.scrollWidth > region.clientWidth")
        assert not sideways, "what was wrong with a call has to be looked for sideways"
    page.evaluate(Path(os.environ["OCM_TEST_AXE"]).read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert [(one["id"], [node["html"][:120] for node in one["nodes"][:3]]) for one in found["violations"]] == []
    folder = Path(os.environ.get("OCM_TEST_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{'busy' if full else 'empty'}-{width}-{scheme}.png", full_page=True)
