"""The judgements of `ocm-otel check`, as tables: what is there, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocm_otel import _check_call, _check_chain, _check_process, _check_spool, _check_switches, _check_versions
from ocm_otel._check_versions import Installed
from ocm_otel._findings import OK, PROBLEM, WARNING, Finding
from ocm_otel._verdict import Failure, judge, judge_failure

MIB = 1024 * 1024


def installed(
    versions: dict[str, str] | None = None,
    python: tuple[int, int, int] = (3, 13, 1),
    **names: set[str],
) -> Installed:
    """A complete and good installation, but for what is given."""
    usual = {
        "ocm-otel": "0.1.0", "opentelemetry-api": "1.45.1", "opentelemetry-sdk": "1.45.1",
        "opentelemetry-instrumentation": "0.66b1", "opentelemetry-instrumentation-logging": "0.66b1",
        "opentelemetry-distro": "0.66b1", "structlog": "26.1.0", "httpx": "0.28.1",
    }  # fmt: skip
    points = {
        "opentelemetry_traces_exporter": {"ocm", "console", "otlp_proto_http", "otlp_proto_grpc"},
        "opentelemetry_logs_exporter": {"ocm", "console", "otlp_proto_http", "otlp_proto_grpc"},
        "opentelemetry_metrics_exporter": {"console", "otlp_proto_http", "otlp_proto_grpc"},
        "opentelemetry_traces_sampler": {"always_on", "traceidratio", "parentbased_always_on", "ocm_record"},
        "opentelemetry_instrumentor": {"ocm", "logging"},
        "opentelemetry_configurator": {"configurator"},
    }
    there = {name: version for name, version in {**usual, **(versions or {})}.items() if version}
    return Installed(python, there, {group: frozenset(found) for group, found in {**points, **names}.items()})


def levels(findings: list[Finding]) -> list[str]:
    """What is not fine in the findings, with its subject."""
    return [f"{found.subject}: {found.level}" for found in findings if found.level != OK]


def only(findings: list[Finding], level: str) -> Finding:
    """The one finding of a level."""
    (found,) = [one for one in findings if one.level == level]
    assert found.remedy, "a finding that is not fine says what to do"
    return found


# --- versions ----------------------------------------------------------------------------------------------


def test_a_good_installation_is_fine() -> None:
    """Packages of one release: one finding, which names them."""
    (found,) = _check_versions.judge(installed())
    assert found.level == OK
    assert "Python 3.13.1, ocm-otel 0.1.0, opentelemetry-api 1.45.1" in found.found


@pytest.mark.parametrize(
    ("versions", "level", "said"),
    [
        ({"opentelemetry-api": "1.44.0"}, PROBLEM, "1.44.0 and opentelemetry-sdk 1.45.1 are not of one"),
        ({"opentelemetry-sdk": "1.38.0", "opentelemetry-api": "1.38.0", "opentelemetry-instrumentation": "",
          "opentelemetry-instrumentation-logging": "", "opentelemetry-distro": ""}, PROBLEM, "sdk 1.38.0 does not do"),
        ({"structlog": "22.3.0"}, PROBLEM, "structlog 22.3.0 does not do"),
        ({"httpx": "1.0.dev3"}, PROBLEM, "httpx 1.0.dev3 does not do"),
        ({"httpx": "0.26.0"}, PROBLEM, "httpx 0.26.0 does not do"),
        ({"opentelemetry-distro": "0.64b0"}, WARNING, "opentelemetry-distro 0.64b0 belongs to another release"),
    ],
)  # fmt: skip
def test_what_does_not_go_together(versions: dict[str, str], level: str, said: str) -> None:
    """Packages of different releases, too old ones, and the httpx that is another library are told."""
    assert said in only(_check_versions.judge(installed(versions)), level).found


@pytest.mark.parametrize(("python", "told"), [((3, 12, 1), True), ((3, 12, 2), False), ((3, 11, 9), False)])
def test_a_python_that_starts_no_thread_at_its_end(python: tuple[int, int, int], told: bool) -> None:
    """Python 3.12.0 and 3.12.1 have their warning."""
    assert bool(levels(_check_versions.judge(installed(python=python)))) is told


# --- variables ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "expected", "said"),
    [
        ({}, [], ""),
        ({"OTEL_SDK_DISABLED": "True"}, ["opentelemetry: problem"], "OTEL_SDK_DISABLED is true"),
        ({"OTEL_CONFIG_FILE": "otel.yaml", "OTEL_TRACES_EXPORTER": "x"}, [], ""),
        ({"OTEL_TRACES_EXPORTER": "otlp,zipkin"}, ["opentelemetry: problem"], "names zipkin, and no package"),
        ({"OTEL_TRACES_EXPORTER": "otlp,ocm", "OTEL_LOGS_EXPORTER": "none"}, [], ""),
        ({"OTEL_TRACES_EXPORTER": "ocm"}, ["opentelemetry: warning"], "takes the place of otlp"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json", "OTEL_LOGS_EXPORTER": "otlp", "OTEL_TRACES_EXPORTER": "none",
          "OTEL_METRICS_EXPORTER": "none"}, ["opentelemetry: problem"], "no package here brings http/json"),
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "flask, ocm"}, ["doors: warning"], "switches ocm off"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"}, [], "puts ours around it"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1",
          "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"}, ["doors: warning", "sampler: warning"],
         "traceidratio,0.1 drops spans"),
        ({"OTEL_TRACES_SAMPLER": "ocm_record", "OTEL_TRACES_SAMPLER_ARG": "traceidratio,0.1"}, [], ""),
        ({"OTEL_TRACES_SAMPLER": "ocm_record", "OTEL_EXPORTER_OCM_SAMPLER_MODE": "entry"}, ["sampler: warning"],
         "not all dropped spans are recorded"),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, [], ""),
        ({"OTEL_TRACES_SAMPLER": "mine"}, ["sampler: problem"], "is mine, which no package here brings"),
        ({"OTEL_ATTRIBUTE_COUNT_LIMIT": "8"}, ["limits: warning"], "the oldest are dropped"),
        ({"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "16"}, ["limits: warning"], "longer types and ids are cut"),
        ({"OTEL_ATTRIBUTE_COUNT_LIMIT": "128", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "none"}, [], ""),
        ({"OTEL_ATTRIBUTE_COUNT_LIMIT": "-1"}, ["limits: problem"], "is no number"),
    ],
)  # fmt: skip
def test_what_the_variables_do(environ: dict[str, str], expected: list[str], said: str) -> None:
    """Each variable of OpenTelemetry's that takes events away has its finding, and those that do not have none."""
    findings = _check_switches.judge(environ, installed(), running=False)
    assert levels(findings) == expected
    assert any(said in finding.found for finding in findings)


def test_an_exporter_that_nobody_asked_for_and_nobody_brought() -> None:
    """Unset exporters mean otlp over gRPC: a warning before, and a problem in a process that was set up by them."""
    bare = installed(**{f"opentelemetry_{signal}_exporter": {"ocm"} for signal in ("traces", "logs", "metrics")})
    before, after = (_check_switches.judge({}, bare, running=running) for running in (False, True))
    assert "no package here brings otlp_proto_grpc" in only(before, WARNING).found
    assert "no package here brings otlp_proto_grpc" in only(after, PROBLEM).found


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("opentelemetry-distro", "are not both installed"),
        ("opentelemetry-instrumentation", "are not both installed"),
        ("opentelemetry-instrumentation-logging", "logging is not installed"),
    ],
)
def test_what_zero_code_needs(missing: str, said: str) -> None:
    """Each package without which `opentelemetry-instrument` does less is named, with how to install it."""
    points = {"opentelemetry_configurator": set()} if missing == "opentelemetry-distro" else {}
    findings = _check_switches.judge(
        {"OTEL_TRACES_EXPORTER": "otlp,ocm"}, installed({missing: ""}, **points), running=False
    )
    told = only(findings, WARNING)
    assert said in told.found
    assert told.remedy == "pip install 'ocm-otel[auto]'"


def test_no_door_at_all() -> None:
    """Where no variable and no instrumentation brings a door, that is said."""
    findings = _check_switches.judge({}, installed(opentelemetry_instrumentor={"logging"}), running=False)
    assert "no door would be added" in only(findings, WARNING).found


# --- the answer --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "level", "said"),
    [
        (400, b'{"error":"NO-TYPE-PARAMETER"}', OK, "takes the key"),
        (200, b'{"error":"NO-TYPE-PARAMETER"}', OK, "takes the key"),
        (200, b'{"status":"OK"}', WARNING, "this may not be the events API"),
        (400, b"{}", WARNING, "this may not be the events API"),
        (200, b"<!doctype html><html>", PROBLEM, "A web page came back"),
        (403, b'{"message":"Forbidden"}', PROBLEM, "refuses the key"),
        (403, b'{"message":"... with an explicit deny"}', PROBLEM, "refuses this machine's IP address"),
        (404, b"", PROBLEM, "no such address"),
        (429, b'{"message":"Too Many Requests"}', WARNING, "asks to go slower"),
        (503, b"", PROBLEM, "has a problem (HTTP 503)"),
    ],
)
def test_what_the_answer_to_an_empty_request_says(status: int, body: bytes, level: str, said: str) -> None:
    """Only NO-TYPE-PARAMETER shows that key and address are right; success without a type is no good sign."""
    found = _check_call.judge_empty(judge(status, body), "3 ms")
    assert (found.level, said in found.found) == (level, True)
    assert bool(found.remedy) is (level != OK)


@pytest.mark.parametrize("failure", list(Failure))
def test_no_answer_is_a_problem(failure: Failure) -> None:
    """Without an answer it will not work, whichever way it failed."""
    assert _check_call.judge_empty(judge_failure(failure), "3 ms").level == PROBLEM
    assert _check_call.judge_sent(judge_failure(failure), "3 ms").level == PROBLEM


# --- the spool ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "free", "level"),
    [
        (0, 999 * MIB, OK), (220 * MIB, 999 * MIB, WARNING), (256 * MIB, 999 * MIB, PROBLEM),
        (0, 100 * MIB, WARNING), (200 * MIB, 60 * MIB, OK), (0, MIB, PROBLEM),
    ],
)  # fmt: skip
def test_whether_there_is_room(used: int, free: int, level: str) -> None:
    """A limit that is reached, or nearly, and a disk that is full, or will be before the limit, are told."""
    (found,) = _check_spool.judge_room(used, free, 256 * MIB)
    assert found.level == level


MOUNTS = """\
20 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
21 20 0:30 / /home rw - nfs4 server:/home rw
22 21 0:31 / /home/a\\040b rw - tmpfs tmpfs rw
23 20 0:32 / /var/x rw - ext4 /dev/sdb rw
24 20 0:33 / /var/x rw - overlay overlay rw
torn line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/srv", "ext4"), ("/home/ann", "nfs4"), ("/home/a b/c", "tmpfs"), ("/homes", "ext4"), ("/var/x/y", "overlay")],
)
def test_which_file_system_a_path_is_on(path: str, kind: str) -> None:
    """The longest mount above a path decides, and of two on one place the later one."""
    assert _check_spool.kind_of(Path(path), MOUNTS) == kind
    assert _check_spool.kind_of(Path(path), "") == ""


@pytest.mark.parametrize(("kind", "told"), [("ext4", False), ("nfs4", True), ("tmpfs", True), ("overlay", True)])
def test_file_systems_that_do_not_keep(kind: str, told: bool) -> None:
    """A network file system, one in memory and a container's own layer have a warning, a usual disk none."""
    assert bool(levels(_check_spool.judge_kind(kind))) is told


# --- the process -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chain", "level", "said"),
    [
        (["merge_contextvars", "OCMProcessor", "add_log_level", "JSONRenderer"], OK, "where it sees the tags"),
        (["merge_contextvars", "JSONRenderer", "OCMProcessor"], PROBLEM, "JSONRenderer stands before"),
        (["wrap_for_formatter", "OCMProcessor"], PROBLEM, "wrap_for_formatter stands before"),
        (["filter_by_level", "OCMProcessor", "JSONRenderer"], WARNING, "filter_by_level stands before"),
        (["OCMProcessor", "merge_contextvars", "JSONRenderer"], WARNING, "merge_contextvars stands after"),
        (["merge_contextvars", "JSONRenderer"], WARNING, "is not in the chain"),
    ],
)
def test_where_our_processor_stands(chain: list[str], level: str, said: str) -> None:
    """A chain that renders or filters before us, or merges the contextvars after us, is told with the remedy."""
    (found,) = _check_chain.judge_chain(chain)
    assert (found.level, said in found.found) == (level, True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({b"enable-threads": True, b"lazy-apps": True}, []),
        ({b"threads": b"4", b"py-call-uwsgi-fork-hooks": True}, []),
        ({b"lazy-apps": True}, ["uwsgi: problem"]),
        ({b"enable-threads": True}, ["uwsgi: warning"]),
        ({b"http": b":80"}, ["uwsgi: problem", "uwsgi: warning"]),
    ],
)
def test_uwsgi_flags(options: dict[bytes, object], expected: list[str]) -> None:
    """Without threads nothing is delivered, and without lazy-apps or fork hooks a worker knows of no fork."""
    assert levels(_check_process.judge_uwsgi(options)) == expected


@pytest.mark.parametrize(("patched", "level"), [((True,) * 3, OK), ((False,) * 3, OK), ((True, False, True), WARNING)])
def test_gevent(patched: tuple[bool, ...], level: str) -> None:
    """gevent has replaced all that delivery stands on, or nothing of it; a half has a warning."""
    assert _check_process.judge_gevent(patched).level == level


@pytest.mark.parametrize(
    ("name", "description", "level"),
    [
        ("OCMSampler", "anything", OK),
        ("StaticSampler", "AlwaysOnSampler", OK),
        ("ParentBased", "ParentBased{root:AlwaysOnSampler,remoteParentSampled:AlwaysOnSampler}", OK),
        ("ParentBased", "ParentBased{root:TraceIdRatioBased{0.1},remoteParentSampled:AlwaysOnSampler}", WARNING),
        ("TraceIdRatioBased", "TraceIdRatioBased{0.1}", WARNING),
        ("StaticSampler", "AlwaysOffSampler", WARNING),
    ],
)
def test_samplers(name: str, description: str, level: str) -> None:
    """A sampler that drops traces that begin here has a warning, unless it is within ours."""
    assert _check_process.judge_sampler(name, description).level == level
