"""`ocm-otel gateway`: a forwarder at a fixed address for machines, browsers and languages that are not ours.

It reads the options, and runs one worker or a fleet of them; what the gateway does is decided there. Each option has a
variable, for containers. Secrets are in files, never in options: options are shown in the machine's list of processes.
"""

from __future__ import annotations

from typing import Any

import click

from ocm_otel._settings import Settings
from ocm_otel._table import DEFAULT_ENDPOINT
from ocm_otel._terminal import plain, strict_settings, wrong_use
from ocm_otel._values import SettingsError

_PREFIX = "OTEL_EXPORTER_OCM_GATEWAY"
_FILE = click.Path(exists=True, dir_okay=False)
_OPTIONS = (
    click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on."),
    click.option("--port", default=4318, show_default=True, type=click.IntRange(0, 65535), help="0: a free one."),
    click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="How many processes."),
    click.option("--tokens", type=_FILE, metavar="FILE", help="Bearer tokens for OTLP and /metrics, one in a line."),
    click.option("--client-keys", type=_FILE, metavar="FILE",
                 help="The keys that the API's own call may bear, one in a line; without it that door is closed."),
    click.option("--cors-origin", "cors_origins", multiple=True, metavar="ORIGIN",
                 help="An origin whose pages may call, such as https://www.example.org; repeatable."),
    click.option("--certificate", type=_FILE, metavar="PEM", help="The certificate to show: TLS."),
    click.option("--private-key", type=_FILE, metavar="PEM", help="Its key, if it is not in the same file."),
    click.option("--client-ca", type=_FILE, metavar="PEM",
                 help="Serve only clients with a certificate of these authorities."),
    click.option("--unprotected", is_flag=True,
                 help="Listen beyond this machine without tokens and client certificates."),
    click.option("--max-body", default=16 * 1024 * 1024, show_default=True, metavar="BYTES",
                 type=click.IntRange(1024, 2**30), help="The largest body, as it comes and decompressed."),
    click.option("--max-connections", default=512, show_default=True, type=click.IntRange(1, 100_000),
                 help="Connections of all clients, for each worker."),
    click.option("--max-client-connections", default=128, show_default=True, type=click.IntRange(1, 100_000),
                 help="Connections of one address, for each worker."),
    click.option("--max-client-rate", default=1000, show_default=True, type=click.IntRange(0, 1_000_000),
                 help="Requests a second of one address, for each worker; 0: no limit."),
    click.option("--request-timeout", default=10.0, show_default=True, metavar="SECONDS",
                 type=click.FloatRange(0.1, 3600), help="How long a request may take to come in."),
    click.option("--stop-timeout", default=10.0, show_default=True, metavar="SECONDS",
                 type=click.FloatRange(0.1, 3600), help="How long the end may be held up by what is under way."),
    click.option("--known-ids", default=1_000_000, show_default=True, type=click.IntRange(1000, 100_000_000),
                 help="How many ids are remembered, at 24 bytes of disk each; counts when the file is made."),
    click.option("--access-log", is_flag=True, help="Write a line for each request, without ids, keys, addresses."),
)  # fmt: skip


@click.command(epilog="Example: ocm-otel gateway --tokens tokens.txt --client-keys keys.txt",
               context_settings={"auto_envvar_prefix": _PREFIX})  # fmt: skip
def gateway(**given: Any) -> None:
    """Forward events that come in over HTTP: OTLP (/v1/traces, /v1/logs) and the API's own call (/v2.0/events).

    It runs until Ctrl-C or SIGTERM. Where events go, with which key, and where they wait is set by
    OTEL_EXPORTER_OCM_…, as for an application; each option below has a variable as well, such as
    OTEL_EXPORTER_OCM_GATEWAY_PORT. A yes to a sender means that its events are on this machine's disk.
    """
    try:
        from ocm_otel.gateway.config import BadConfig, Config
        from ocm_otel.gateway.fleet import Fleet
        from ocm_otel.gateway.guard import NoSecrets
        from ocm_otel.gateway.listening import listen
        from ocm_otel.gateway.worker import prepare, run
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("uvicorn", "h11", "google", "opentelemetry", "zstandard"):
            raise
        told = f"this needs {error.name}, which is not installed: pip install 'ocm-otel[gateway]'"
        raise click.UsageError(told) from None
    try:
        config = Config(**given)
        settings = strict_settings()
        prepare(settings, config).close()  # what is wrong is told before anything is served
        listener = listen(config.host, config.port)
    except (BadConfig, NoSecrets, SettingsError) as error:
        raise wrong_use(error) from None
    except OSError as error:
        raise click.ClickException(plain(error.strerror or str(error))) from None
    scheme = "https" if config.certificate else "http"
    host, port = listener.getsockname()[:2]
    shown = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def ready() -> None:
        _tell(shown, settings, keys=config.client_keys is not None)

    if config.workers > 1:
        raise SystemExit(Fleet(config, listener, ready).run())
    run(config, settings, listener, ready)


def _tell(shown: str, settings: Settings, *, keys: bool) -> None:
    """Say where the gateway is, and where events go."""
    click.secho("The gateway runs until Ctrl-C.", bold=True)
    click.echo(f"\n  OTLP       {shown}/v1/traces, {shown}/v1/logs")
    click.echo(f"  API calls  {f'{shown}/v2.0/events' if keys else 'closed: no --client-keys'}")
    click.echo(f"  forwards to {settings.endpoint if settings.endpoint != DEFAULT_ENDPOINT else DEFAULT_ENDPOINT}")


for _option in reversed(_OPTIONS):
    gateway = _option(gateway)
