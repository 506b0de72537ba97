"""What a check finds: one sentence about one subject, how bad it is, and what to do about it.

Pure. It knows neither what is looked at nor how a finding is shown.
"""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: what it is about, in a word: ``key``, ``endpoint``, ``spool`` …
        level: ``ok``; ``warning``: events get through, and something may be lost or is odd; ``problem``: events
            do not get through, or not as was asked for.
        found: what there is, one sentence.
        remedy: what to do; empty where nothing is to be done.
    """

    subject: str
    level: str
    found: str
    remedy: str = ""


def fine(subject: str, found: str) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding(subject, OK, found)


def warning(subject: str, found: str, remedy: str) -> Finding:
    """Return a finding that a person should know of."""
    return Finding(subject, WARNING, found, remedy)


def problem(subject: str, found: str, remedy: str) -> Finding:
    """Return a finding because of which it will not work."""
    return Finding(subject, PROBLEM, found, remedy)
