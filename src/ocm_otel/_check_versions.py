"""What is installed beside us, and which of it is known not to go together.

The judgements are pure: what is installed is handed to them as texts.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ocm_otel._findings import Finding, fine, problem, warning

if TYPE_CHECKING:
    from collections.abc import Mapping

SHOWN = (
    "ocm-otel",
    "opentelemetry-api",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation",
    "opentelemetry-instrumentation-logging",
    "opentelemetry-distro",
    "structlog",
    "httpx",
)
_GROUPS = (
    "opentelemetry_traces_exporter",
    "opentelemetry_metrics_exporter",
    "opentelemetry_logs_exporter",
    "opentelemetry_traces_sampler",
    "opentelemetry_instrumentor",
    "opentelemetry_configurator",
)
#: The oldest release that works, and the first that does not, None where none is known.
_BOUNDS: Mapping[str, tuple[tuple[int, ...], tuple[int, ...] | None]] = {
    "opentelemetry-sdk": ((1, 39), None),
    "structlog": ((23, 1), None),
    "httpx": ((0, 27), (1,)),
}
#: Releases of OpenTelemetry's instrumentation are numbered 0.66b1 where the SDK's are 1.45.1.
_APART = 21


@dataclass(frozen=True)
class Installed:
    """What is there.

    Attributes:
        python: the interpreter's version.
        versions: of each distribution of ours and of OpenTelemetry's that is installed.
        names: the entry points of each group of OpenTelemetry's.
    """

    python: tuple[int, int, int]
    versions: Mapping[str, str]
    names: Mapping[str, frozenset[str]]

    def has(self, distribution: str) -> bool:
        """Return whether a distribution is installed."""
        return distribution in self.versions


def installed() -> Installed:
    """Return what is installed for this interpreter."""
    from importlib.metadata import PackageNotFoundError, entry_points, version  # not for the help of all commands

    found = {}
    for name in SHOWN:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    names = {group: frozenset(point.name for point in entry_points(group=group)) for group in _GROUPS}
    return Installed(sys.version_info[:3], found, names)


def judge(there: Installed) -> list[Finding]:
    """Return the versions, and what of them does not go together."""
    python = ".".join(map(str, there.python))
    listed = ", ".join(f"{name} {there.versions[name]}" for name in SHOWN if there.has(name))
    findings = [fine("versions", f"Python {python}, {listed}"), *_unfit(there), *_unequal(there)]
    if (3, 12, 0) <= there.python < (3, 12, 2):
        findings.append(
            warning(
                "versions",
                f"Python {python} starts no thread while it ends: what OpenTelemetry's log handler gets then "
                "prints a traceback; an event that comes then waits on disk",
                "Take a newer release of Python 3.12.",
            )
        )
    return findings


def _unfit(there: Installed) -> list[Finding]:
    """Return what is too old, or of a release that is another library."""
    findings = []
    for name, (oldest, end) in _BOUNDS.items():
        have = numbers(there.versions.get(name, ""))
        if have and (have < oldest or (end is not None and have >= end)):
            wanted = ">=" + ".".join(map(str, oldest)) + ("" if end is None else ",<" + ".".join(map(str, end)))
            findings.append(
                problem("versions", f"{name} {there.versions[name]} does not do", f"pip install '{name}{wanted}'")
            )
    return findings


def _unequal(there: Installed) -> list[Finding]:
    """Return which of OpenTelemetry's packages are not of one release."""
    findings = []
    api, sdk = (there.versions.get(f"opentelemetry-{part}", "") for part in ("api", "sdk"))
    if api != sdk:
        findings.append(
            problem(
                "versions",
                f"opentelemetry-api {api} and opentelemetry-sdk {sdk} are not of one "
                "release, and need not work together",
                f"pip install 'opentelemetry-api=={sdk}'",
            )
        )
    minor = (*numbers(sdk), 0, 0)[1]
    for name in SHOWN:
        have = there.versions.get(name, "")
        beta = re.match(r"0\.(\d+)b", have)
        if beta and int(beta.group(1)) != minor + _APART:
            findings.append(
                warning(
                    "versions",
                    f"{name} {have} belongs to another release than opentelemetry-sdk {sdk}",
                    f"pip install '{name}==0.{minor + _APART}b*'",
                )
            )
    return findings


def numbers(text: str) -> tuple[int, ...]:
    """Return the numbers at the beginning of a version; none for what has none."""
    found = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, found.group().split("."))) if found else ()
