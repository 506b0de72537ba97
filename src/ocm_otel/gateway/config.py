"""What the gateway is told when it starts: where it listens, whom it lets in, and its bounds.

What concerns delivery (endpoint, key, spool) is the outbox's business and comes from its settings. Secrets are named by
their files, so this can be handed to a worker and shown to a person.
"""

from __future__ import annotations

import json
import ssl
from dataclasses import asdict, dataclass
from typing import Any

from ocm_otel._settings import LOOPBACK


class BadConfig(ValueError):
    """The gateway cannot be started like this; the message says what to change."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """How the gateway is to run; each field is an option of `ocm-otel gateway`. Times are in seconds.

    Attributes:
        host: the address to listen on.
        port: the TCP port; 0 for one that is free.
        workers: how many processes.
        tokens: a file of bearer tokens for OTLP.
        client_keys: a file of the keys that the API's own call may bear; without it that door is closed.
        cors_origins: the origins whose pages may call.
        certificate: a PEM file, for TLS.
        private_key: the key of that certificate, if it is not in the same file.
        client_ca: a PEM file; only clients with a certificate of these authorities are served.
        unprotected: listen beyond this machine without tokens or client certificates.
        max_body: bytes of a body, as it comes and decompressed.
        max_connections: of all clients, for each worker.
        max_client_connections: of one address, for each worker.
        max_client_rate: requests a second of one address, for each worker; 0 for no limit.
        request_timeout: how long a request may take to come in.
        stop_timeout: how long requests and events that are under way hold up the end.
        known_ids: how many ids are remembered.
        access_log: write a line for each request.
    """

    host: str = "127.0.0.1"
    port: int = 4318
    workers: int = 1
    tokens: str | None = None
    client_keys: str | None = None
    cors_origins: tuple[str, ...] = ()
    certificate: str | None = None
    private_key: str | None = None
    client_ca: str | None = None
    unprotected: bool = False
    max_body: int = 16 * 1024 * 1024
    max_connections: int = 512
    max_client_connections: int = 128
    max_client_rate: int = 1_000
    request_timeout: float = 10.0
    stop_timeout: float = 10.0
    known_ids: int = 1_000_000
    access_log: bool = False

    def __post_init__(self) -> None:
        """Refuse what would be open to the world, or could not work.

        Raises:
            BadConfig: with what to change.
        """
        if not (LOOPBACK.fullmatch(self.host) or self.tokens or self.client_ca or self.unprotected):
            raise BadConfig(
                f"{self.host} can be reached from other machines: give --tokens or --client-ca, "
                "or --unprotected if something else protects it"
            )
        if (self.private_key or self.client_ca) and not self.certificate:
            raise BadConfig("--private-key and --client-ca are parts of TLS: give --certificate as well")
        if "*" in self.cors_origins:
            raise BadConfig("--cors-origin takes origins such as https://www.example.org, not *")
        object.__setattr__(self, "cors_origins", tuple(origin.rstrip("/") for origin in self.cors_origins))

    def tls(self) -> dict[str, Any]:
        """Return uvicorn's options for TLS, none without a certificate."""
        if not self.certificate:
            return {}
        required = ssl.CERT_REQUIRED if self.client_ca else ssl.CERT_NONE
        return {
            "ssl_certfile": self.certificate,
            "ssl_keyfile": self.private_key,
            "ssl_ca_certs": self.client_ca,
            "ssl_cert_reqs": required,
        }

    def to_json(self) -> str:
        """Return it as a text for a worker."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Config:
        """Return what `to_json` wrote."""
        return cls(**json.loads(text))
