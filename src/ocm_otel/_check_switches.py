"""What OpenTelemetry's own variables will switch on, off, or cut, judged before anything runs.

Pure: the variables and what is installed are handed in. It does not know what is in the process (that is
`_check_process`); it says what `opentelemetry-instrument` would make of these variables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ocm_otel._findings import Finding, fine, problem, warning
from ocm_otel._setting import PREFIX
from ocm_otel._terminal import short

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ocm_otel._check_versions import Installed

_AUTO = "pip install 'ocm-otel[auto]'"
_SIGNALS = ("traces", "logs", "metrics")
_OTLP = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_COUNTS = (
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
)
_LENGTHS = (
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
)
#: Fewer attributes than this, and a usual HTTP span pushes a tag out; a shorter length, and a UUID is cut.
_FEW, _SHORT = 32, 36
#: Samplers that drop a part: what they drop, nobody sees.
_DROPPING = ("always_off", "traceidratio", "parentbased_always_off", "parentbased_traceidratio")


def disabled(environ: Mapping[str, str]) -> bool:
    """Return whether OpenTelemetry is switched off."""
    return environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def judge(environ: Mapping[str, str], there: Installed, *, running: bool) -> list[Finding]:
    """Return what the variables do to tags and events under `opentelemetry-instrument`.

    Args:
        environ: the variables.
        there: what is installed.
        running: True if `opentelemetry-instrument` has set this process up: what became of doors and sampler can
            then be seen in it.
    """
    if disabled(environ):
        return [
            problem(
                "opentelemetry",
                "OTEL_SDK_DISABLED is true: there are no spans and no log records, so none "
                "becomes an event; `emit()` and structlog's OCMProcessor still work",
                "Unset OTEL_SDK_DISABLED.",
            )
        ]
    if path := environ.get("OTEL_CONFIG_FILE", "").strip():
        found = [
            fine(
                "opentelemetry",
                f"OTEL_CONFIG_FILE is {short(path)}: it decides on exporters and samplers; the "
                "variables for these are not read",
            )
        ]
    else:
        found = exporters(environ, there, running=running)
        found += [] if running else [*doors(environ, there), *sampler(environ, there)]
    return [*found, *limits(environ)]


def exporters(environ: Mapping[str, str], there: Installed, *, running: bool) -> list[Finding]:
    """Return which exporters are named that nobody brought: one of them, and nothing is set up."""
    findings = []
    unsaid: dict[str, str] = {}
    nothing = "under `opentelemetry-instrument` nothing at all is set up"
    for signal in _SIGNALS:
        variable = f"OTEL_{signal.upper()}_EXPORTER"
        for name in names(environ, signal, there):
            point = _entry_point(name, signal, environ)
            if point in there.names[f"opentelemetry_{signal}_exporter"]:
                continue
            if variable not in environ:
                unsaid[variable] = point
                continue
            said = f"{variable} names {short(name)}, and no package here brings {short(point)}: {nothing}"
            findings.append(problem("opentelemetry", said, f"Install that exporter, or take it out of {variable}."))
    if unsaid:
        said = (
            f"{', '.join(unsaid)} are not set: opentelemetry-distro takes otlp for them, and no package here brings "
            f"{' or '.join(sorted(set(unsaid.values())))}: {nothing}"
        )
        tell = problem if running else warning
        findings.append(tell("opentelemetry", said, "Install that exporter, or set them to none."))
    if names(environ, "traces", there) == ["ocm"]:
        findings.append(
            warning(
                "opentelemetry",
                "OTEL_TRACES_EXPORTER is ocm alone: it takes the place of otlp, so spans are exported nowhere else",
                "If they should be, set OTEL_TRACES_EXPORTER=otlp,ocm.",
            )
        )
    return findings


def _entry_point(name: str, signal: str, environ: Mapping[str, str]) -> str:
    """Return the entry point that the SDK looks for under an exporter's name."""
    if name != "otlp":
        return name
    for variable in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if protocol := environ.get(variable, "").strip():
            return _OTLP.get(protocol, protocol)
    return _OTLP["grpc"]


def names(environ: Mapping[str, str], signal: str, there: Installed) -> list[str]:
    """Return the exporters that are named for a signal, those that opentelemetry-distro would name included."""
    said = environ.get(f"OTEL_{signal.upper()}_EXPORTER")
    if said is None:
        said = "otlp" if there.has("opentelemetry-distro") else ""
    return [name for part in said.split(",") if (name := part.strip()) and name.lower() != "none"]


def doors(environ: Mapping[str, str], there: Installed) -> list[Finding]:
    """Return which of our doors would be set up without a line of code."""
    if not there.has("opentelemetry-instrumentation") or not there.names["opentelemetry_configurator"]:
        said = "opentelemetry-instrumentation and -distro are not both installed: no variable sets anything up"
        return [warning("doors", f"{said}, and the doors have to be added in code", _AUTO)]
    by_name = [signal for signal in ("traces", "logs") if "ocm" in names(environ, signal, there)]
    ours, off = _instrumentor(environ, there)
    adds = "`opentelemetry-instrument` adds the doors"
    findings = []
    if ours and off:
        said = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS switches ocm off"
        findings.append(warning("doors", said, "Take ocm (or *) out of it, or add the doors in code."))
    elif ours:
        findings.append(fine("doors", f"the instrumentation ocm is installed: {adds}"))
    if by_name:
        findings.append(fine("doors", f"the exporter ocm is named for {' and '.join(by_name)}: {adds}"))
    elif not ours:
        remedy = "Set OTEL_TRACES_EXPORTER=otlp,ocm, or add OCMSpanProcessor in code."
        findings.append(warning("doors", "no variable names ocm, so no door would be added", remedy))
    if not there.has("opentelemetry-instrumentation-logging"):
        said = "opentelemetry-instrumentation-logging is not installed: lines of logging do not reach OpenTelemetry"
        findings.append(warning("doors", said, _AUTO))
    return findings


def _instrumentor(environ: Mapping[str, str], there: Installed) -> tuple[bool, bool]:
    """Return whether the instrumentation ocm is installed, and whether it is switched off."""
    off = {part.strip() for part in environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")}
    return "ocm" in there.names["opentelemetry_instrumentor"], bool(off & {"ocm", "*"})


def sampler(environ: Mapping[str, str], there: Installed) -> list[Finding]:
    """Return what the sampler that is named does to tagged spans."""
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    if not name:
        return []
    if name not in there.names["opentelemetry_traces_sampler"]:
        return [
            problem(
                "sampler",
                f"OTEL_TRACES_SAMPLER is {short(name)}, which no package here brings: "
                "OpenTelemetry takes its default instead",
                "Correct the name; the real sampler goes to OTEL_TRACES_SAMPLER_ARG of ocm_record.",
            )
        ]
    if name == "ocm_record" or (name in _DROPPING and _instrumentor(environ, there) == (True, False)):
        return [_ours(environ.get(f"{PREFIX}SAMPLER_MODE", "").strip().lower() or "all", name)]
    if name in _DROPPING:
        argument = environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
        whole = short(f"{name},{argument}" if argument else name)
        return [
            warning(
                "sampler",
                f"{whole} drops spans, and a dropped span's tags are seen by nobody",
                f"Set OTEL_TRACES_SAMPLER=ocm_record and OTEL_TRACES_SAMPLER_ARG={whole}.",
            )
        ]
    return [fine("sampler", f"{name}: nothing is dropped that a caller did not drop")]


def _ours(mode: str, name: str) -> Finding:
    """Return what our sampler does in a mode, whether it is named or put around the one that is."""
    said = "ocm_record" if name == "ocm_record" else f"{name}, and the instrumentation ocm puts ours around it"
    if mode == "all":
        return fine("sampler", f"{said}: a tagged span is an event whether it is sampled or not")
    said = f"{said}, with {PREFIX}SAMPLER_MODE={short(mode)}: not all dropped spans are recorded"
    return warning("sampler", said, "Set it to all, unless you know which of your spans bear tags.")


def limits(environ: Mapping[str, str]) -> list[Finding]:
    """Return which limits could push a tag out of a span or a line, or cut it."""
    findings = []
    for variable in (*_COUNTS, *_LENGTHS):
        text = environ.get(variable, "").strip()
        if not text or text.lower() == "none":
            continue
        if not text.isascii() or not text.isdigit():
            findings.append(
                problem(
                    "limits",
                    f"{variable} is {short(text)}, which is no number: OpenTelemetry does not start",
                    f"Correct or unset {variable}.",
                )
            )
        elif variable in _COUNTS and int(text) < _FEW:
            findings.append(
                warning(
                    "limits",
                    f"{variable} is {text}: of more attributes the oldest are dropped, tags as well",
                    f"Raise it to {_FEW} at least, or set the tags last.",
                )
            )
        elif variable in _LENGTHS and int(text) < _SHORT:
            findings.append(
                warning(
                    "limits",
                    f"{variable} is {text}: longer types and ids are cut, and count as others",
                    f"Raise it to {_SHORT} at least (a UUID has as many).",
                )
            )
    return findings
