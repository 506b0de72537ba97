"""How a person writes a fault down, at an option, in a file or over HTTP: one grammar for the three.

A fault is one line: a name, then ``key=value`` words. ``503 rate=10% after=100 for=5s`` is a 503 for every
tenth call on average, for five seconds from the hundred and first call on. A plan is a JSON object with such
lines. Only words become faults here; which call gets one is decided in ``faults``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .answers import Answer
from .faults import Fault, FaultPlan
from .rules import EXPLICIT_DENY_BODY, FORBIDDEN_BODY, OK_BODY, QUOTA_BODY

MAX_FAULTS = 100
MAX_SECONDS = 86_400.0
_WRONG_JSON = OK_BODY[:-3]


@dataclass(frozen=True)
class _Kind:
    """A named fault: what it takes besides the words that all take, and the answer it makes."""

    make: Callable[[dict[str, str]], Answer]
    words: tuple[str, ...] = ()


def _seconds(name: str, text: str) -> float:
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m)?", text)
    value = float(found[1]) * {"ms": 0.001, "m": 60.0}.get(found[2] or "s", 1.0) if found else -1.0
    if not 0 <= value <= MAX_SECONDS:
        raise ValueError(f"{name}={text[:40]!r} is no length of time: write 5s, 200ms or 2m, a day at most")
    return value


def _throttle(status: int, body: bytes | None, words: dict[str, str]) -> Answer:
    text = words.get("retry-after")
    if text is None:
        return Answer(status, body)
    as_date = text.startswith("date:")
    wait = _seconds("retry-after", text.removeprefix("date:"))
    return Answer(status, body, retry_after=wait, as_date=as_date)


def _redirect(words: dict[str, str]) -> Answer:
    target = words.get("to", "/moved")
    if not target.isascii() or not target.isprintable():
        raise ValueError(f"to={target[:40]!r} is no address: write it in ASCII")
    return Answer(302, b"", {"location": target})


def _slow(words: dict[str, str]) -> Answer:
    return Answer(200, manner="slow", over=_seconds("over", words.get("over", "3s")))


_KINDS = {
    "quota": _Kind(lambda words: _throttle(429, QUOTA_BODY, words), ("retry-after",)),
    "key-refused": _Kind(lambda _: Answer(403, FORBIDDEN_BODY)),
    "address-refused": _Kind(lambda _: Answer(403, EXPLICIT_DENY_BODY)),
    "redirect": _Kind(_redirect, ("to",)),
    "wrong-json": _Kind(lambda _: Answer(200, _WRONG_JSON)),
    "slow-body": _Kind(_slow, ("over",)),
    "split-body": _Kind(lambda _: Answer(200, manner="split")),
    "black-hole": _Kind(lambda _: Answer(200, counted=False, manner="silence")),
    "reset-before": _Kind(lambda _: Answer(200, counted=False, manner="reset")),
    "reset-after": _Kind(lambda _: Answer(200, counted=True, manner="reset")),
}
NAMES = ("a status such as 503", *_KINDS)
_SHARED = ("rate", "after", "for", "times", "counted", "latency")


def _kind(name: str) -> _Kind:
    if name in _KINDS:
        return _KINDS[name]
    if re.fullmatch(r"[2-5]\d\d", name):
        status = int(name)
        return _Kind(lambda words: _throttle(status, None, words), ("retry-after",))
    raise ValueError(f"there is no fault {name[:40]!r}: take one of {', '.join(NAMES)}")


def _rate(text: str) -> float:
    found = re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?)(%?)", text)
    value = float(found[1]) / (100 if found[2] else 1) if found else -1.0
    if not 0 < value <= 1:
        raise ValueError(f"rate={text[:40]!r} is no share of the calls: write 10% or 0.1")
    return value


def _extent(name: str, text: str) -> tuple[int | None, float | None]:
    """Return a number of calls, or of seconds."""
    if re.fullmatch(r"\d{1,9}", text):
        return int(text), None
    try:
        return None, _seconds(name, text)
    except ValueError:
        raise ValueError(f"{name}={text[:40]!r} is neither calls nor time: write 100, or 5s") from None


def parse(line: str) -> Fault:
    """Return the fault that one line describes.

    Args:
        line: a name and ``key=value`` words, such as ``429 retry-after=2 rate=5%``.

    Raises:
        ValueError: a name, a word or a value is not known; with what is.
    """
    name, *given = line.split()[:20] or [""]
    kind = _kind(name)
    known = (*_SHARED, *kind.words)
    words: dict[str, str] = {}
    for word in given:
        key, equals, value = word.partition("=")
        if not equals or key not in known or key in words:
            raise ValueError(
                f"{word[:40]!r} does not go with {name}: it takes {', '.join(f'{k}=…' for k in known)}, once"
            )
        words[key] = value
    answer = kind.make(words)
    if "counted" in words and words["counted"] not in {"yes", "no"}:
        raise ValueError(f"counted={words['counted'][:40]!r}: write yes or no")
    if not re.fullmatch(r"\d{1,9}", words.get("times", "1")):
        raise ValueError(f"times={words['times'][:40]!r} is no number: write times=1")
    times = int(words["times"]) if "times" in words else None
    counted = words["counted"] == "yes" if "counted" in words else answer.counts
    latency = _seconds("latency", words["latency"]) if "latency" in words else None
    text = " ".join([name, *given])
    after, after_seconds = _extent("after", words.get("after", "0"))
    calls, seconds = _extent("for", words["for"]) if "for" in words else (None, None)
    return Fault(
        Answer(**{**vars(answer), "counted": counted, "label": name, "latency": latency}),
        _rate(words.get("rate", "100%")), after or 0, after_seconds or 0.0, calls, seconds, times, text,
    )  # fmt: skip


def parse_all(lines: Iterable[str]) -> list[Fault]:
    """Return the faults of some lines; see ``parse``."""
    faults = [parse(line) for line in lines]
    if len(faults) > MAX_FAULTS:
        raise ValueError(f"{len(faults)} faults are too many: {MAX_FAULTS} at most")
    return faults


def _number(document: dict[str, Any], name: str, most: float) -> float | None:
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise ValueError(f"{name} {str(value)[:40]!r} is no number from 0 to {most:g}")
    return value


def apply(plan: FaultPlan, text: str | bytes, more: Iterable[str] = (), seed: int | None = None) -> None:
    """Make a plan what a JSON document says, or leave it as it was.

    Args:
        plan: what is changed: its faults and, where the document names them, seed, latency and jitter.
        text: an object with ``faults`` (lines) and, all optional, ``seed``, ``latency_ms``, ``jitter_ms``.
        more: lines that come after those of the document.
        seed: in the place of the document's.

    Raises:
        ValueError: it is not such a document; with what is wrong in it.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ValueError(f'this is no JSON ({error}): write {{"faults": ["503 rate=10%"]}}') from None
    known = {"faults", "seed", "latency_ms", "jitter_ms"}
    if not isinstance(document, dict) or set(document) - known:
        raise ValueError(f"a plan is an object that has {', '.join(sorted(known))}, and nothing else")
    lines = document.get("faults", [])
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise ValueError('faults is no list of lines: write ["503 rate=10%", "reset-after times=1"]')
    faults = parse_all([*lines, *more])
    given, latency, jitter = (
        _number(document, name, most)
        for name, most in (("seed", 2**53), ("latency_ms", 3_600_000), ("jitter_ms", 3_600_000))
    )
    plan.latency = plan.latency if latency is None else latency / 1000
    plan.jitter = plan.jitter if jitter is None else jitter / 1000
    plan.replace(faults, seed if given is None or seed is not None else int(given))


def describe(plan: FaultPlan) -> dict[str, Any]:
    """Return a plan as the document that would make it, and how often each fault was given."""
    standing = plan.standing()
    return {
        "faults": [fault.text for fault, _ in standing],
        "given": [given for _, given in standing],
        "seed": plan.seed,
        "latency_ms": round(plan.latency * 1000, 3),
        "jitter_ms": round(plan.jitter * 1000, 3),
    }
