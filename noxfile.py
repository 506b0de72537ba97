"""What is checked before a change lands, and where: `nox` runs all of it, `nox -l` lists it.

Sessions: `lint`, `types`, `docs`, `house` (the rules of the house, every example of the docs), `bare` (an
installation without extras), `tests` (each Python with the oldest and the newest OpenTelemetry), `hosts` (real
servers and frameworks, each Python with another OpenTelemetry), `commands` (the command, as a person gives it),
`gateway` (OTLP and the API's own call over the network, and the files to deploy it by), `senders` (programs of Node
and Go and a collector in Rust before it), `kafka` (members of a consumer group, killed), `page` (the emulator's report
page, and pages that call the gateway, in a browser), `disaster` (programs that are killed, forked and cut off; on the
oldest and the newest Python). Not among them, for it takes half an hour: `soak` (long outages, a kill at every single
step), `nox -s soak`; nor `bench`, for it needs a quiet machine (what a user pays, beside others; it writes
docs/performance.md).
"""

from __future__ import annotations

import os
import re
import sys
import tarfile
from pathlib import Path

import nox

if sys.version_info < (3, 10):  # noqa: UP036 - the person who runs nox may have an older one
    sys.exit(f"ocm-otel needs Python 3.10 or newer; this is {sys.version.split()[0]}")

PROJECT = nox.project.load_toml("pyproject.toml")
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
PYTHONS = nox.project.python_versions(PROJECT)
OTEL = ("oldest", "newest")
#: The doors without a program of their own.
DOORS = [f"tests/doors/test_{name}.py" for name in ("bad_input", "identity", "lines", "one_event", "spans", "upstream")]
#: The rooms that threads, forks, signals and the interpreter's end go through.
INTERPRETED = ("erasure", "ledger", "meters", "outbox", "pacefile", "spool", "tally", "threads", "wires", "worker")

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.reuse_venv = "yes"
# Tests start programs by the hundred; without compiled modules each of them would compile OpenTelemetry anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# A person has the Pythons that they have; in CI a missing one is a failure, not a skipped session.
nox.options.error_on_missing_interpreters = bool(os.environ.get("CI"))

# The sessions that need one Python only take the one that runs nox; so do the tests where it is a newer one
# than those we know, rather than to run nothing.
TESTED = PYTHONS if HERE in PYTHONS else [*PYTHONS, HERE]


def groups(*names: str) -> list[str]:
    """Return the requirements of dependency groups of pyproject.toml."""
    return list(nox.project.dependency_groups(PROJECT, *names))


def floors() -> list[str]:
    """Return `name==version` for each lower bound that we promise to work with.

    These are the core's dependencies, the extras', and, of the tests' own, OpenTelemetry's packages: they
    come in sets of one version.
    """
    project = PROJECT["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    instrumentations = [line for line in groups("test") if line.startswith("opentelemetry-")]
    pinned = []
    for line in [*project["dependencies"], *extras, *instrumentations]:
        bound = re.fullmatch(r"([a-z0-9-]+)>=([0-9a-z.]+)(?:,<.*)?", line)
        if bound:
            name, version = bound.groups()
            pinned.append(f"{name}=={version}" if "b" in version else f"{name}=={version}.*")
    return pinned


def otel_lines(version: str) -> list[str]:
    """Return `name==version` for OpenTelemetry's packages of one release, ours and the tests'.

    Args:
        version: of the SDK, such as 1.41; what is instrumentation has its own count, 0.62b0 with 1.41.
    """
    project = PROJECT["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    names = {
        re.split(r"[><=\[ ]", line)[0]: line for line in [*project["dependencies"], *extras, *groups("hosts", "yaml")]
    }
    beta = f"0.{int(version.split('.')[1]) + 21}"
    return [
        f"{name}>={beta}b0,<{beta}rc0" if "b" in line.partition(">=")[2] else f"{name}=={version}.*"
        for name, line in names.items()
        if name.startswith("opentelemetry-")
    ]


@nox.session
def lint(session: nox.Session) -> None:
    """Style, spelling, and the arrows between the rooms."""
    session.install(*groups("lint"), "-e", ".")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("codespell")
    session.run("lint-imports", "--no-cache")  # its cache misses that a new file took a name over


@nox.session
def types(session: nox.Session) -> None:
    """The source and a user's view of it, strictly typed."""
    session.install(*groups("types", "test"), "-e", ".[all]")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, built without the network; a warning is an error."""
    session.install(*groups("docs"), "-e", ".")
    session.run("sphinx-build", "-W", "-n", "-q", "-b", "html", "docs", "docs/_build")


@nox.session
def house(session: nox.Session) -> None:
    """The rules of the house, and every example of the README and the docs."""
    session.install(*groups("test"), "-e", ".[all]")
    session.run("pytest", "tests/house", "README.md", "docs", *session.posargs)


@nox.session
def bare(session: nox.Session) -> None:
    """An installation without extras delivers, and says which extra is missing."""
    session.install(".")
    session.run("python", "-W", "error", "tests/bare/deliver.py")


# With the oldest packages: what meets OpenTelemetry, structlog and httpx. Between the oldest and the newest Python:
# what meets the interpreter, or OpenTelemetry; on the oldest with the newest packages what is pure, besides. What
# starts programs by name is with the hosts, on five releases.
WHERE = {
    "newest": ["tests/pure", "tests/rooms", "tests/doors", "tests/emulator"],
    "newest between": [*(f"tests/rooms/test_{room}.py" for room in INTERPRETED), *DOORS],
    "oldest": ["tests/rooms/test_client.py", "tests/rooms/test_meters.py", "tests/doors"],
    "oldest between": ["tests/rooms/test_meters.py", *DOORS],
}
BY_NAME = "tests/doors/test_by_name.py"
FORKED = [f"tests/disaster/test_{name}.py" for name in ("exit", "fork", "kill")]
#: The versions of OpenTelemetry that the hosts are run with, each on one Python: every one at which its surface
#: changed, and today's.
HOSTS = [
    nox.param(TESTED[0], "1.39", id="3.10-1.39"),
    nox.param(TESTED[1], "1.41", id="3.11-1.41"),
    nox.param(TESTED[2], "1.42", id="3.12-1.42"),
    nox.param(TESTED[3], "1.44", id="3.13-1.44"),
    nox.param(TESTED[-1], "newest", id="newest"),
]
#: The releases that the whole of it is run with, and what is left out with the others: bursts, and what is by name.
ENDS = ("1.39", "newest")
ONCE = ("tests/hosts/test_burst.py", "tests/hosts/test_sites.py")

#: What the hosts need besides, where there is a release of it that goes with OpenTelemetry's.
FURTHER = {"1.44": ("yaml", "vendors"), "newest": ("yaml", "newest")}


def constrained(session: nox.Session, lines: list[str]) -> list[str]:
    """Return the installer's arguments that hold it to these `name==version` lines."""
    path = Path(session.create_tmp()) / "constraints.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return ["--constraint", str(path)]


def is_otel(session: nox.Session, wanted: str) -> None:
    """Say which OpenTelemetry is installed; fail if it is another than the session is for."""
    version = "from importlib.metadata import version; print(version('opentelemetry-sdk'))"
    found = (session.run("python", "-c", version, silent=True) or "").strip()
    session.log(f"opentelemetry-sdk {found}")
    if wanted != "newest" and not found.startswith(f"{wanted}."):
        session.error(f"OpenTelemetry should be {wanted}, and it is {found}")


@nox.session(python=TESTED)
@nox.parametrize("otel", OTEL)
def tests(session: nox.Session, otel: str) -> None:
    """The tests but those of other sessions: the house, the docs, the hosts, the disasters and the commands."""
    wanted = [*groups("test"), "-e", ".[all]"]
    if otel == "oldest":
        wanted += constrained(session, floors())
    else:
        wanted += groups("yaml", "newest")
    session.install(*wanted)
    is_otel(session, "1.39" if otel == "oldest" else otel)
    ends = {"oldest": {TESTED[0], TESTED[-1]}, "newest": {TESTED[-1]}}
    where = WHERE[otel if session.python in ends[otel] else f"{otel} between"]
    where = [*where, "tests/pure"] if session.python == TESTED[0] and otel == "newest" else where
    session.run("pytest", "-n", "3", f"--ignore={BY_NAME}", *(session.posargs or where))


@nox.session
@nox.parametrize(("python", "otel"), HOSTS)
def hosts(session: nox.Session, otel: str) -> None:
    """Real servers, frameworks and workers with real requests, counted at the emulator."""
    wanted = [*groups("hosts"), "-e", ".[all]"]
    wanted += groups(*FURTHER.get(otel, ()))
    if otel != "newest":
        wanted += constrained(session, otel_lines(otel))
    session.install(*wanted)
    is_otel(session, otel)
    where = ["tests/hosts", BY_NAME] if otel in ENDS else ["tests/hosts", *(f"--ignore={path}" for path in ONCE)]
    session.run("pytest", "-n", "3", *(session.posargs or where))


@nox.session(python=TESTED[0])
def commands(session: nox.Session) -> None:
    """The command and the demo, as a person gives them."""
    session.install(*groups("test"), "-e", ".[all]")
    session.run("pytest", "-n", "3", *(session.posargs or ["tests/commands"]))


@nox.session(python=TESTED[1])
def gateway(session: nox.Session) -> None:
    """The gateway: killed, flooded, asked in wrong ways, and started as the files of examples/deploy/ say."""
    session.install(*groups("test", "deploy"), "-e", ".[all]")
    session.run("pytest", "-n", "2", *(session.posargs or ["tests/gateway"]))


@nox.session(python=TESTED[1])
def kafka(session: nox.Session) -> None:
    """Members of a Kafka consumer group, killed and paused, with two makes of brokers and a collector in Rust."""
    session.install(*groups("test", "kafka"), "-e", ".[all]")
    session.run("pytest", "-n", "4", *(session.posargs or ["tests/kafka"]))


#: From the npm registry: a browser for machines that have none, and what looks for barriers in a page.
BROWSER = "@sparticuz/chromium@147.0.0"
AXE = "axe-core@4.14.1"


#: From the npm registry: OpenTelemetry's SDK for Node, a set that goes together.
NODE_SDK = ("api@1.10.0", "sdk-trace@3.1.1", "exporter-trace-otlp-http@0.301.0", "exporter-trace-otlp-proto@0.301.1")


@nox.session(python=TESTED[1])
def senders(session: nox.Session) -> None:
    """The gateway, with programs of Node and Go and a collector in Rust before it; all come from registries alone."""
    session.install(*groups("test", "senders"), "-e", ".[all]")
    folder = (Path(session.virtualenv.location) / "node").resolve()
    wanted = [f"@opentelemetry/{name}" for name in NODE_SDK]
    if not (folder / "whole").exists():
        session.run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *wanted)
        (folder / "whole").touch()
    agent = session.run("python", "-c", "import rotel; print(rotel.__path__[0] + '/rotel-agent')", silent=True)
    env = {"OCM_TEST_NODE_MODULES": str(folder / "node_modules"), "OCM_TEST_ROTEL": (agent or "").strip()}
    session.run("pytest", "-n", "2", "-m", "senders", *(session.posargs or ["tests/gateway/test_senders.py"]), env=env)


@nox.session(python=TESTED[0])
def page(session: nox.Session) -> None:
    """The report page in a real browser, headless; it comes from registries alone, OCM_TEST_CHROMIUM names another."""
    session.install(*groups("test", "page"), "-e", ".[all]")
    folder = (Path(session.virtualenv.location) / "browser").resolve()
    axe, chromium = folder / "axe.min.js", folder / BROWSER.rpartition("@")[2]
    folder.mkdir(exist_ok=True)
    if not axe.exists():
        session.run("npm", "pack", "--silent", "--pack-destination", str(folder), AXE)
        with tarfile.open(folder / f"axe-core-{AXE.rpartition('@')[2]}.tgz") as package:
            axe.write_bytes(package.extractfile("package/axe.min.js").read())  # type: ignore[union-attr]
    env = {"OCM_TEST_AXE": str(axe), "OCM_TEST_CHROMIUM": os.environ.get("OCM_TEST_CHROMIUM", str(chromium))}
    if "OCM_TEST_CHROMIUM" not in os.environ and not (chromium / "chromium").exists():
        session.run("npm", "pack", "--silent", "--pack-destination", str(folder), BROWSER)
        package_name = f"sparticuz-chromium-{BROWSER.rpartition('@')[2]}.tgz"
        session.run("python", "tests/page/unpack.py", str(folder / package_name), str(chromium))
    session.run("pytest", *(session.posargs or ["tests/page"]), env=env)


@nox.session(python=[TESTED[0], TESTED[-1]])
def disaster(session: nox.Session) -> None:
    """What kills, forks and cuts off programs, and counts what arrived."""
    session.install(*groups("test"), "-e", ".[all]")
    # What the interpreter has a part in, on both; what is between us, the disk and the API, on the newest.
    where = ["tests/disaster"] if session.python == TESTED[-1] else FORKED
    session.run("pytest", "-n", "3", *(session.posargs or where))


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """The long disasters; each has a bound of its own."""
    session.install(*groups("test", "deploy", "kafka"), "-e", ".[all]")
    where = ["tests/disaster", "tests/commands", "tests/gateway", "tests/kafka"]
    session.run("pytest", "-n", "2", "-m", "soak", *(session.posargs or where))


@nox.session(python=TESTED[1], default=False)
def bench(session: nox.Session) -> None:
    """What a user pays, beside something else in the same run; `-- --quick` for a rough minute."""
    session.install(*groups("bench"), "-e", ".[all]")
    session.run("python", "tests/bench", *session.posargs)
