"""Print the pages that are made of tables in the source: `python docs/_render.py` writes them.

With the file that the tests of zero code wrote as an argument, the table of what was tried is made anew of it.

They are committed, so that they can be read where the source is read; tests/house compares the two.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from ocm_otel._setting import Setting
from ocm_otel._table import TABLE
from ocm_otel._verdict import Failure, Verdict, judge, judge_failure

FOLDER = Path(__file__).parent

HEAD = """\
# Settings

<!-- Printed from the table in src/ocm_otel/_settings.py by docs/_render.py: change it there. -->

All of them are optional but the key. Each can be given as an environment variable, or in code as an argument
of `Settings(…)` with the name in brackets. An empty variable counts as unset. A variable that cannot be used
is reported once, and the default is used in its place; the application is never stopped by it.
"""


def settings_page() -> str:
    """Return the text of docs/settings.md."""
    return "\n".join([HEAD, *(_section(setting) for setting in TABLE)])


def _section(setting: Setting) -> str:
    lines = [
        f"## `{setting.variable}`",
        "",
        f"({setting.field}) {setting.help}",
        "",
        f"- Default: {_default(setting)}",
    ]
    if setting.stands_in:
        lines.append(f"- While it is unset, OpenTelemetry's own `{setting.stands_in}` is honoured.")
    if setting.secret:
        lines.append("- Its value is never shown in a log line, an error or a listing.")
    return "\n".join([*lines, ""])


def _default(setting: Setting) -> str:
    if setting.default in (None, (), ""):
        return "unset" + (f" (in {setting.unit})" if setting.unit else "")
    if isinstance(setting.default, bool):
        return f"`{str(setting.default).lower()}`"
    if isinstance(setting.default, tuple):
        return f"`{','.join(setting.default)}`"
    return f"`{setting.default}`" + (f" {setting.unit}" if setting.unit else "")


VERDICTS_HEAD = """\
# Verdicts: what each answer means

<!-- Printed by docs/_render.py from what src/ocm_otel/_verdict.py says: change it there. -->

Each event is one call, and each call has a verdict of its own: what becomes of the event, under which name the books
count it, and whether it is *ambiguous*, that is, whether the event may have been counted although no answer says so.
Of the API's own errors its guide names one, `NO-TYPE-PARAMETER`; the rest is what the gateway in front of it, AWS API
Gateway, is documented to answer, and what a network can do.

| fate | the event | the others |
| --- | --- | --- |
| delivered | ends | go on |
| refused | is kept in the refused file, with the reason | go on |
| retry | is sent again, a little later each time | go on; if only failures come, all wait, and one call asks |
| throttled | is sent again | all wait as long as the API said, then one call asks |
| locked out | is kept: the configuration is wrong | all wait, one call now and then asks, one message helps |

An ambiguous call is counted, then handled as [`OTEL_EXPORTER_OCM_ON_AMBIGUOUS`](settings.md) says: sent again (it may
count twice), or given up (it may not count at all). A 504 is ambiguous, too: it says that the back end was slow, not
that it did not count.

A `Retry-After`, in seconds or as a date, is honoured up to an hour; one that is past means now, one that cannot be read
is as if it were not there. Of a body 64 KiB are read at most.

## Answers

| answer | fate | name in the books | ambiguous |
| --- | --- | --- | --- |
"""

FAILURES_HEAD = """
## No answer

| what happened | fate | name in the books | ambiguous |
| --- | --- | --- | --- |
"""

ANSWERS: tuple[tuple[str, int, bytes, str | None], ...] = (
    ("2xx", 200, b'{"status": "OK"}', None),
    ("2xx whose body bears `NO-TYPE-PARAMETER`", 200, b'{"error": "NO-TYPE-PARAMETER"}', None),
    ("2xx whose body bears another error", 200, b'{"error": "INTERNAL"}', None),
    ("2xx or 400 with a web page (a proxy, a login page)", 200, b"<!doctype html><html>", None),
    ("3xx, never followed", 302, b"", None),
    ("400 with `NO-TYPE-PARAMETER`", 400, b'{"error": "NO-TYPE-PARAMETER"}', None),
    ("400, 409, 422 otherwise", 400, b"{}", None),
    ("401, and 403 `Forbidden`", 403, b'{"message": "Forbidden"}', None),
    ("403 `… explicit deny` (the IP address)", 403, b'{"message": "... with an explicit deny"}', None),
    ("403 `Missing Authentication Token`", 403, b'{"message": "Missing Authentication Token"}', None),
    ("404", 404, b"", None),
    ("407, from a proxy", 407, b"", None),
    ("408", 408, b"", None),
    ("413, 414, 431", 414, b"", None),
    ("other 4xx", 405, b"", None),
    ("429 `Too Many Requests`", 429, b'{"message": "Too Many Requests"}', "5"),
    ("429 `Limit Exceeded`", 429, b'{"message": "Limit Exceeded"}', None),
    ("500", 500, b"", None),
    ("502", 502, b"", None),
    ("503, with or without Retry-After", 503, b"", "5"),
    ("504", 504, b"", None),
)

FAILURES = {
    Failure.NO_CONNECTION: "nobody is there, the name is unknown, the connection is refused",
    Failure.NO_TLS: "no TLS connection came about",
    Failure.UNTRUSTED: "the server's certificate is not trusted",
    Failure.MISCONFIGURED: "the connection cannot be set up with these settings",
    Failure.CUT_OFF: "closed or reset while the request was being written",
    Failure.NO_ANSWER: "closed or reset after the request had left",
    Failure.SILENCE: "no answer within the timeout",
    Failure.NOT_HTTP: "the answer was no HTTP",
    Failure.BROKEN: "something failed in our own client",
}


def verdicts_page() -> str:
    """Return the text of docs/verdicts.md."""
    answers = (_row(name, judge(status, body, wait)) for name, status, body, wait in ANSWERS)
    failures = (_row(name, judge_failure(failure)) for failure, name in FAILURES.items())
    return VERDICTS_HEAD + "".join(answers) + FAILURES_HEAD + "".join(failures)


def _row(name: str, verdict: Verdict) -> str:
    return f"| {name} | {verdict.fate.value} | `{verdict.reason}` | {'yes' if verdict.ambiguous else 'no'} |\n"


#: What tests/hosts/test_zero_code.py has tried: for each release of the SDK the ways, for each way the exporters.
TRIED = FOLDER.parent / "tests/hosts/zero_code.json"
_MATRIX = re.compile(r"(?<=<!-- matrix -->\n).*(?=<!-- /matrix -->)", re.DOTALL)


def zero_code_page() -> str:
    """Return the text of docs/zero-code.md: what stands there, with the table of what was tried."""
    tried = json.loads(TRIED.read_text(encoding="utf-8"))
    cells = dict.fromkeys((way, each) for ways in tried.values() for way, found in ways.items() for each in found)
    rows = [
        f"| `{way}` | `{each}` | " + " | ".join("✓" if each in ways.get(way, ()) else "-" for ways in tried.values())
        for way, each in sorted(cells, key=lambda cell: (_ORDER.index(cell[0]), _ORDER.index(cell[1])))
    ]
    head = [f"| way | exporters | {' | '.join(tried)}", "| --- | --- " + "| :-: " * len(tried)]
    table = "".join(f"{row} |\n" for row in [*head, *rows])
    return _MATRIX.sub(lambda _: table, (FOLDER / "zero-code.md").read_text(encoding="utf-8"))


def record(results: str) -> None:
    """Write what the tests of zero code have noted, `SDK way exporters` a line, to be the table's source."""
    tried: dict[str, dict[str, list[str]]] = {}
    for line in sorted(set(results.splitlines()), key=lambda line: [_rank(word) for word in line.split()]):
        sdk, way, exporters = line.split()
        tried.setdefault(sdk, {}).setdefault(way, []).append(exporters)
    TRIED.write_text(json.dumps(tried, indent=1) + "\n", encoding="utf-8")


def _rank(word: str) -> tuple[int, ...]:
    return (_ORDER.index(word),) if word in _ORDER else tuple(map(int, word.split(".")))


_ORDER = ("command", "initialize", "file", "azure", "logfire", "none", "otlp", "ocm", "otlp,ocm")

PAGES = {"settings.md": settings_page, "verdicts.md": verdicts_page, "zero-code.md": zero_code_page}

if __name__ == "__main__":
    for argument in sys.argv[1:]:
        record(Path(argument).read_text(encoding="utf-8"))
    for name, text in PAGES.items():
        (FOLDER / name).write_text(text(), encoding="utf-8")
