"""`ocm-otel kafka`: a member of a consumer group that takes in what a Collector wrote to Kafka.

It reads the options and runs one process; what that does is decided there. Each option has a variable, for containers.
Secrets are in files, never in options: options are shown in the machine's list of processes.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import click

from ocm_otel._terminal import plain, strict_settings, wrong_use
from ocm_otel._values import SettingsError

if TYPE_CHECKING:
    from ocm_otel._settings import Settings
    from ocm_otel.kafka.config import Config

_PREFIX = "OTEL_EXPORTER_OCM_KAFKA"
_EXTRA = ("confluent_kafka", "google", "opentelemetry", "uvicorn", "h11")
_FILE = click.Path(exists=True, dir_okay=False)
_OPTIONS = (
    click.option("--bootstrap-servers", metavar="HOST:PORT,…", help="The brokers to ask first."),
    click.option("--config", type=_FILE, metavar="FILE",
                 help="Properties of librdkafka, name=value in a line: SASL, TLS, buffers. Its secrets are not shown."),
    click.option("--group-id", default="ocm-otel", show_default=True, metavar="NAME", help="The consumer group."),
    click.option("--traces-topic", "traces_topics", multiple=True, default=("otlp_spans",), show_default=True,
                 metavar="TOPIC", help="A topic of spans; repeatable; an empty one: none."),
    click.option("--logs-topic", "logs_topics", multiple=True, default=("otlp_logs",), show_default=True,
                 metavar="TOPIC", help="A topic of log records; repeatable; an empty one: none."),
    click.option("--encoding", default="auto", show_default=True,
                 type=click.Choice(["auto", "otlp_proto", "otlp_json"]), help="How records are encoded."),
    click.option("--max-waiting", default=10_000, show_default=True, metavar="EVENTS",
                 type=click.IntRange(1, 100_000_000),
                 help="Pause the partitions while so many events wait for the API."),
    click.option("--aside-bytes", default=64 * 1024 * 1024, show_default=True, metavar="BYTES",
                 type=click.IntRange(4096, 2**40), help="How much of records that cannot be read is kept aside."),
    click.option("--known-ids", default=1_000_000, show_default=True, type=click.IntRange(1000, 100_000_000),
                 help="How many ids are remembered, at 24 bytes of disk each; counts when the file is made."),
    click.option("--stop-timeout", default=10.0, show_default=True, metavar="SECONDS",
                 type=click.FloatRange(0.1, 3600), help="How long the end may be held up by events under way."),
    click.option("--host", default="127.0.0.1", show_default=True, help="The address of health and metrics."),
    click.option("--port", type=click.IntRange(0, 65535), help="The port of health and metrics; without it, none."),
    click.option("--tokens", type=_FILE, metavar="FILE", help="Bearer tokens for /metrics, one in a line."),
    click.option("--unprotected", is_flag=True, help="Show metrics beyond this machine without tokens."),
)  # fmt: skip


@click.command(epilog="Example: ocm-otel kafka --bootstrap-servers kafka-1:9092,kafka-2:9092 --config kafka.properties",
               context_settings={"auto_envvar_prefix": _PREFIX})  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Write what is said as lines of JSON.")
def kafka(*, as_json: bool, **given: Any) -> None:
    """Forward events out of Kafka: what a Collector's Kafka exporter wrote, as one member of a consumer group.

    It runs until Ctrl-C or SIGTERM; for more throughput run it more often. Offsets are committed when the events of
    their records are on this machine's disk. Where events go, with which key, and where they wait is set by
    OTEL_EXPORTER_OCM_…, as for an application; each option below has a variable as well, such as
    OTEL_EXPORTER_OCM_KAFKA_GROUP_ID. Exit code 0 when it was told to end, 1 if the group cannot be kept.
    """
    try:
        from ocm_otel.gateway.config import BadConfig
        from ocm_otel.gateway.guard import NoSecrets
        from ocm_otel.gateway.listening import listen
        from ocm_otel.kafka.config import Config
        from ocm_otel.kafka.member import Lost
        from ocm_otel.kafka.program import Program
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        told = f"this needs {error.name}, which is not installed: pip install 'ocm-otel[kafka]'"
        raise click.UsageError(told) from None
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    try:
        config = Config(**given)
        settings = strict_settings()
        listener = None if config.port is None else listen(config.host, config.port)
        program = Program(config, settings, listener)
    except (BadConfig, NoSecrets, SettingsError) as error:
        raise wrong_use(error) from None
    except OSError as error:
        raise click.ClickException(plain(error.strerror or str(error))) from None
    asked = None if listener is None else listener.getsockname()[:2]
    try:
        books = program.run(lambda: _tell(config, settings, asked, as_json=as_json))
    except Lost as error:
        raise click.ClickException(plain(str(error))) from None
    if as_json:
        counted = {name: getattr(books, name) for name in ("accepted", "adopted", "delivered", "refused", "dropped",
                                                           "waiting", "ambiguous")}  # fmt: skip
        click.echo(json.dumps({"said": "ended", **counted}))


def _tell(config: Config, settings: Settings, asked: tuple[str, int] | None, *, as_json: bool) -> None:
    """Say what is read, and where events go."""
    servers, group = config.properties["bootstrap.servers"], config.properties["group.id"]
    shown = asked and f"http://{f'[{asked[0]}]' if ':' in asked[0] else asked[0]}:{asked[1]}"
    if as_json:
        click.echo(json.dumps({"said": "started", "brokers": servers, "group": group, "topics": config.topics,
                               "forwards_to": settings.endpoint, "health": shown}))  # fmt: skip
        return
    click.secho("The Kafka member runs until Ctrl-C.", bold=True)
    click.echo(f"\n  group      {plain(group)} at {plain(servers)}")
    for name, topics in (("spans", config.traces_topics), ("log lines", config.logs_topics)):
        click.echo(f"  {name:<9}  {', '.join(topics) or '-'}")
    click.echo(f"  health     {f'{shown}/healthz, /readyz, /metrics' if shown else 'not served: no --port'}")
    click.echo(f"  forwards to {settings.endpoint}")


for _option in _OPTIONS:
    kafka = _option(kafka)
