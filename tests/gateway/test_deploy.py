"""The files of examples/deploy/ are true: what they say is what the programs take, answer and survive."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
import kubernetes_validate
import pytest
import trustme
import yaml

from ocm_otel import cli
from ocm_otel._table import TABLE
from ocm_otel.gateway.config import Config

from .conftest import Running, span, tagged, traces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ocm_otel.emulator import Emulator

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples/deploy"
MANIFESTS = sorted(FOLDER.glob("kubernetes-*.yaml"))
COLLECTORS = sorted(FOLDER.glob("collector-*.yaml"))
UNITS = sorted(FOLDER.glob("*.service"))
PAGES = [ROOT / "docs/deploy.md", ROOT / "docs/gateway.md"]
#: Where the gateway's own options and Kafka's have their variables.
PREFIXES = {"gateway": "OTEL_EXPORTER_OCM_GATEWAY_", "kafka": "OTEL_EXPORTER_OCM_KAFKA_"}


def command(*path: str) -> click.Command:
    """Return one of our commands."""
    found: Any = cli.main
    for name in path:
        found = found.get_command(click.Context(found), name)
        assert found is not None, f"there is no ocm-otel {' '.join(path)}"
    return found


def containers(path: Path) -> list[dict[str, Any]]:
    """Return the containers of a manifest."""
    kinds = [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one["kind"] == "StatefulSet"]
    return [container for one in kinds for container in one["spec"]["template"]["spec"]["containers"]]


def instructions() -> dict[str, list[str]]:
    """Return the instructions of the container file."""
    found: dict[str, list[str]] = {}
    text = (FOLDER / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            found.setdefault(name, []).append(rest)
    return found


def variables() -> dict[str, str]:
    """Return each variable that the files set, with its value; those of several files by any of them."""
    found = dict(pair.split("=", 1) for pair in shlex.split(instructions()["ENV"][0]))
    for path in (FOLDER / "gateway.env", *UNITS):
        text = path.read_text(encoding="utf-8")
        found |= dict(re.findall(r"^(?:Environment=)?(OTEL_\w+)=(.*)$", text, flags=re.MULTILINE))
    for path in MANIFESTS:
        found |= {one["name"]: one["value"] for container in containers(path) for one in container["env"]}
    return found


def lines() -> list[list[str]]:
    """Return the words of each of our command lines in the files and on their pages."""
    found = [shlex.split(words) for path in UNITS for words in re.findall(r"^ExecStart=\S*/ocm-otel (.*)$",
             path.read_text(encoding="utf-8"), flags=re.MULTILINE)]  # fmt: skip
    found += [container["args"] for path in MANIFESTS for container in containers(path)]
    found.append(yaml.safe_load(instructions()["CMD"][0]))
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
        written = [*re.findall(r"`ocm-otel ([^`]+)`", text), *re.findall(r"\bocm-otel (\w.*?)(?=$| [&|])",
                   "\n".join(blocks).replace("\\\n", ""), flags=re.MULTILINE)]  # fmt: skip
        found += [shlex.split(words.rstrip("'"), comments=True) for words in written]
    return [line for line in found if "…" not in line]


def test_each_command_line_is_one_that_the_command_takes() -> None:
    """Each `ocm-otel …` of the files and their pages names a command that is there, and options and values it takes."""
    assert len(lines()) > 5
    for words in lines():
        found, rest = command(), list(words)
        while isinstance(found, click.Group) and rest:
            found = command(*words[: len(words) - len(rest) + 1])
            rest = rest[1:]
        values, beyond, _ = found.make_parser(click.Context(found)).parse_args(rest)
        assert not beyond or any(isinstance(one, click.Argument) for one in found.params), words
        for parameter in found.params:
            if parameter.name in values and not isinstance(parameter.type, click.Path):
                parameter.type_cast_value(click.Context(found), values[parameter.name])


def test_each_variable_is_one_that_is_read() -> None:
    """Each variable of the files is a setting's or an option's, with a value that it can have."""
    settings = {setting.variable for setting in TABLE}
    options = {
        f"{prefix}{str(parameter.name).upper()}": parameter
        for name, prefix in PREFIXES.items()
        for parameter in command(name).params
    }
    found = variables()
    assert len(found) > 8
    assert set(found) - settings - set(options) == set()
    for name, value in found.items():
        if name in options and not isinstance(options[name].type, click.Path):
            options[name].type_cast_value(click.Context(command("gateway")), value)


# --- the container file -------------------------------------------------------------------------------------


def test_the_container_file_installs_what_is_there() -> None:
    """What it installs is this project with extras that it has, on a Python it is tested with, for a mere user."""
    said = instructions()
    about = importlib.metadata.metadata("ocm-otel")
    name, extras = re.search(r'pip install --no-cache-dir "([\w-]+)\[([\w,]+)\]"', said["RUN"][0]).groups()
    assert name == about["Name"]
    assert set(extras.split(",")) <= set(about.get_all("Provides-Extra"))
    assert set(extras.split(",")) <= set(PREFIXES)
    python = re.fullmatch(r"python:(3\.\d+)-slim", said["FROM"][0])[1]
    assert f"Programming Language :: Python :: {python}" in about.get_all("Classifier")
    (user,) = said["USER"]
    assert f"--uid {user} " in said["RUN"][1]
    assert f"-o {user} -m 0700 {said['VOLUME'][0]}" in said["RUN"][1]
    ours = variables()
    assert ours["OTEL_EXPORTER_OCM_SPOOL_DIR"].startswith(f"{said['VOLUME'][0]}/")
    assert said["EXPOSE"] == [re.search(r"GATEWAY_PORT=(\d+)", said["ENV"][0])[1]]


def test_the_container_is_open_to_nobody_by_itself(tmp_path: Path) -> None:
    """Its command, with its variables and a key, does not listen to everybody, and says what it needs."""
    said = instructions()
    env = dict(pair.split("=", 1) for pair in shlex.split(said["ENV"][0]))
    env |= {"OTEL_EXPORTER_OCM_SPOOL_DIR": str(tmp_path), "OTEL_EXPORTER_OCM_API_KEY": "a-key-of-a-test"}
    run = [*yaml.safe_load(said["ENTRYPOINT"][0]), *yaml.safe_load(said["CMD"][0])]
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(run, env=env | path, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 2
    assert "--tokens" in done.stderr


# --- Kubernetes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_the_manifests_are_of_kubernetes(path: Path) -> None:
    """Each object has the fields that Kubernetes knows and no others; ports, probes, volumes and users fit together."""
    for one in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        kubernetes_validate.validate(one, "1.37", strict=True)
        if one["kind"] != "StatefulSet":
            continue
        pod = one["spec"]["template"]["spec"]
        claims = {claim["metadata"]["name"] for claim in one["spec"]["volumeClaimTemplates"]}
        there = claims | {volume["name"] for volume in pod["volumes"]}
        (container,) = pod["containers"]
        env = {pair["name"]: pair["value"] for pair in container["env"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == there
        (port,) = container["ports"]
        assert str(port["containerPort"]) == env[f"{PREFIXES[container['args'][0]]}PORT"]
        assert {container[name]["httpGet"]["port"] for name in container if "Probe" in name} == {port["name"]}
        assert pod["terminationGracePeriodSeconds"] > Config().stop_timeout + 2
        assert str(pod["securityContext"]["runAsUser"]) == instructions()["USER"][0]
        (spool,) = (m["mountPath"] for m in container["volumeMounts"] if m["name"] in claims)
        assert env["OTEL_EXPORTER_OCM_SPOOL_DIR"].startswith(f"{spool}/")


@pytest.fixture
def pod(gateway: Running, tmp_path: Path) -> Running:
    """The gateway's container as its manifest describes it, with the volumes that Kubernetes would mount."""
    (container,) = containers(FOLDER / "kubernetes-gateway.yaml")
    places = {mount["mountPath"]: tmp_path / mount["name"] for mount in container["volumeMounts"]}
    for place in places.values():
        place.mkdir(mode=0o755)
    places["/var/lib/ocm"].chmod(0o2775)  # what kubelet makes of a volume for the pod's fsGroup
    authority = trustme.CA()
    served = authority.issue_cert("127.0.0.1")
    (tmp_path / "tls/tls.crt").write_bytes(b"".join(blob.bytes() for blob in served.cert_chain_pems))
    served.private_key_pem.write_to_path(tmp_path / "tls/tls.key")
    gateway.tls = ssl.create_default_context()
    authority.configure_trust(gateway.tls)
    (tmp_path / "secrets/api-key").write_text(gateway.env.pop("OTEL_EXPORTER_OCM_API_KEY"), encoding="utf-8")
    (tmp_path / "secrets/tokens").write_text("first-token\n", encoding="utf-8")
    (tmp_path / "secrets/client-keys").write_text("client-key-one\n", encoding="utf-8")
    for one in container["env"]:
        value = one["value"]
        for mount, place in places.items():
            value = value.replace(mount, str(place))
        gateway.env[one["name"]] = value
    return gateway


def test_a_pod_is_killed_and_comes_back(pod: Running, emulator: Emulator) -> None:
    """Started as its manifest says it answers each probe; what it took is delivered, once, by the pod after it."""
    (container,) = containers(FOLDER / "kubernetes-gateway.yaml")
    _, *options = container["args"]
    options += ["--host", "127.0.0.1"]  # a test is open to this machine only
    emulator.always(503)
    pod.start(*options)
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container[name]["httpGet"]
        assert asked["scheme"] == "HTTPS"
        assert pod.ask("GET", asked["path"])[0] == 200
    batch = traces(*[span(number, tagged(number)) for number in range(20)])
    assert pod.send(batch, authorization="Bearer first-token")[0] == 200
    assert pod.ask("GET", "/v2.0/events?type=menu-click&user_id=page", x_api_key="client-key-one")[0] == 200
    pod.kill(signal.SIGKILL)
    emulator.normally()
    pod.start(*options)
    assert pod.send(batch, authorization="Bearer first-token")[0] == 200
    assert emulator.wait_for(21)
    assert pod.kill(signal.SIGTERM) == 0
    assert emulator.count == 21


def test_why_the_manifest_names_a_policy_for_the_group(pod: Running) -> None:
    """A spool that is opened to the group at each start, as Kubernetes does by default, is refused with the remedy."""
    (one,) = [
        one
        for one in yaml.safe_load_all((FOLDER / "kubernetes-gateway.yaml").read_text(encoding="utf-8"))
        if one["kind"] == "StatefulSet"
    ]
    assert one["spec"]["template"]["spec"]["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
    spool = Path(pod.env["OTEL_EXPORTER_OCM_SPOOL_DIR"])
    spool.mkdir(mode=0o700)
    spool.chmod(0o2770)
    with pytest.raises(AssertionError, match="can be written to by other users: chmod 700"):
        pod.start("--host", "127.0.0.1")


# --- systemd, and the Collector beside it -------------------------------------------------------------------


@pytest.fixture
def units(tmp_path: Path) -> Iterator[list[Path]]:
    """The units, with programs that are there in the place of those that a machine will have."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here")
    found = []
    for path in UNITS:
        text = re.sub(
            r"^(ExecStart=)\S+", rf"\g<1>{sys.executable}", path.read_text(encoding="utf-8"), flags=re.MULTILINE
        )
        found.append(tmp_path / path.name)
        found[-1].write_text(text, encoding="utf-8")
    return found


def test_the_units_are_of_systemd(units: list[Path]) -> None:
    """systemd finds no fault with the units, and holds the gateway's exposure to be small."""
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False, timeout=50
    )
    assert (done.returncode, done.stderr) == (0, "")
    (ours,) = [path for path in units if path.name == "ocm-gateway.service"]
    done = subprocess.run(
        ["systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", ours],
        capture_output=True, text=True, check=False, timeout=50,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", COLLECTORS, ids=lambda path: path.stem)
def test_the_collectors_lose_nothing_on_the_way(path: Path) -> None:
    """All that a pipeline names is there; ours has no processor, a queue on disk, and is sent until it is taken."""
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, pipeline in told["service"]["pipelines"].items():
        for part in ("receivers", "processors", "exporters"):
            assert set(pipeline.get(part, ())) <= set(told[part]), name
    ours = {name: one for name, one in told["service"]["pipelines"].items() if name.endswith("/ocm")}
    assert set(ours) == {"traces/ocm", "logs/ocm"}
    for pipeline in ours.values():
        assert "processors" not in pipeline
        (exporter,) = (told["exporters"][name] for name in pipeline["exporters"])
        assert exporter["retry_on_failure"]["max_elapsed_time"] == 0
        assert exporter["sending_queue"]["storage"] in told["service"]["extensions"]
        assert exporter["sending_queue"]["block_on_overflow"] is True
        assert told["extensions"][exporter["sending_queue"]["storage"]]["fsync"] is True
        if "producer" in exporter:
            assert exporter["producer"]["required_acks"] == -1
        if "producer" in exporter:
            topics = {one.name: one.default for one in command("kafka").params}
            assert (exporter["traces"]["topic"],) == topics["traces_topics"]
            assert (exporter["logs"]["topic"],) == topics["logs_topics"]


def test_the_gateway_beside_a_collector(gateway: Running, emulator: Emulator, tmp_path: Path) -> None:
    """With the unit's variables the gateway takes what the Collector's exporter would send it, and from nobody else."""
    told = yaml.safe_load((FOLDER / "collector-gateway.yaml").read_text(encoding="utf-8"))
    text = (FOLDER / "gateway.env").read_text(encoding="utf-8")
    for place in ("etc/ocm-gateway", "var/lib/ocm-gateway"):
        (tmp_path / place).mkdir(parents=True, mode=0o700)
        text = text.replace(f"=/{place}", f"={tmp_path / place}")
    given = dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    (tmp_path / "etc/ocm-gateway/api-key").write_text(gateway.env.pop("OTEL_EXPORTER_OCM_API_KEY"), encoding="utf-8")
    (tmp_path / "etc/ocm-gateway/tokens").write_text("token-of-the-collector\n", encoding="utf-8")
    gateway.env |= given
    gateway.start()
    exporter = told["exporters"]["otlphttp/ocm"]
    assert urlsplit(exporter["endpoint"]).port == int(given["OTEL_EXPORTER_OCM_GATEWAY_PORT"])
    receivers = told["receivers"]["otlp"]["protocols"].values()
    assert exporter["endpoint"].rpartition(":")[2] not in {one["endpoint"].rpartition(":")[2] for one in receivers}
    headers = {
        k: v.replace("${env:OCM_GATEWAY_TOKEN}", "token-of-the-collector") for k, v in exporter["headers"].items()
    }
    assert gateway.send(traces(span(0, tagged("ann"))), **headers)[0] == 200
    assert gateway.send(traces(span(1, tagged("bob"))))[0] == 401
    assert emulator.wait_for(1)
    assert Path(given["OTEL_EXPORTER_OCM_SPOOL_DIR"]).stat().st_mode & 0o777 == 0o700
