"""Every setting in one table: its field, its variable, its default, its unit and what it is for.

The table is the only description there is: the environment is read by it, `Settings(...)` is checked by
it, and the docs page is printed from it. This room is the only one that reads the environment, and it
reads the key file; it knows nothing of what the settings are used for.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ocm_otel._guard import REFUSE, VARIABLE, is_real, refusal
from ocm_otel._setting import PREFIX, Setting
from ocm_otel._table import DEFAULT_ENDPOINT, TABLE
from ocm_otel._values import SettingsError, read_headers, read_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


LOOPBACK = re.compile(r"localhost|::1|127(?:\.[0-9]{1,3}){3}")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the outbox and the doors are to do; unset fields have the defaults of the settings page.

    Each argument has the name of its variable without ``OTEL_EXPORTER_OCM_``, in small letters, and
    takes what the variable takes; times are in milliseconds. See the settings page for each.

    Raises:
        SettingsError: a value that the setting cannot have.
    """

    api_key: str | None = None
    api_key_file: str | None = None
    endpoint: str = DEFAULT_ENDPOINT
    headers: Mapping[str, str] | tuple[tuple[str, str], ...] = ()
    timeout: int = 10_000
    certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    durability: str = "disk"
    spool_dir: str | None = None
    spool_max_bytes: int = 256 * 1024 * 1024
    max_age: int | None = None
    max_queue_size: int = 100_000
    schedule_delay: int = 0
    max_concurrency: int = 16
    max_rate: float | None = None
    shutdown_timeout: int = 1_000
    on_ambiguous: str = "retry"
    on_span_error: str = "send"
    sampler_mode: str = "all"
    user_id_keys: Sequence[str] | str = ()
    baggage_keys: Mapping[str, str] | Sequence[tuple[str, str]] | Sequence[str] | str = ()
    entity_id: str | int | None = None
    user_id_hash_key: str | None = None
    stamp_event_id: bool = True
    explain: bool = False
    signals: Sequence[str] = ("traces", "logs", "structlog")

    def __post_init__(self) -> None:
        for setting in TABLE:
            value = getattr(self, setting.field)
            if value is None and setting.default is None:
                continue
            try:
                object.__setattr__(self, setting.field, setting.read(value))
            except (SettingsError, TypeError, ValueError) as error:
                msg = f"{setting.field}: {error}"
                raise SettingsError(msg) from None

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        given: Mapping[str, object] | None = None,
        *,
        report: Callable[[str], None] | None = None,
    ) -> Settings:
        """Return the settings that the environment gives; a bad value is reported, never raised.

        Args:
            environ: the variables; those of the process if left out.
            given: settings made in code (or in a YAML file); they win over the environment. What is no
                setting, or has a bad value, is reported and left out.
            report: called with one sentence for each value that could not be used.
        """
        environ = os.environ if environ is None else environ
        given = given or {}
        tell = report or (lambda _: None)
        found: dict[str, Any] = {}
        for setting in TABLE:
            for source, value in _sources(setting, environ, given):
                try:
                    found[setting.field] = setting.read(value)
                except (SettingsError, TypeError, ValueError) as error:
                    tell(f"{source}: {error}; {_instead(setting, source)}")
                else:
                    break
        unknown = sorted(given.keys() - {setting.field for setting in TABLE})
        if unknown:
            known = ", ".join(setting.field for setting in TABLE)
            tell(f"there is no setting called {', '.join(map(repr, unknown))}; there are: {known}")
        return cls(**found)

    def key(self, *, real: bool = True) -> str:
        """Return the key of the account, from the setting or its file.

        Args:
            real: False if no call with it reaches the network, so that the guard of tests need not ask.

        Raises:
            SettingsError: there is none, or the file cannot be read, or what it holds is no key; or this is a
                test, and the endpoint is the real API.
        """
        key = self._found_key()
        if real and os.environ.get(VARIABLE, "").strip().lower() == REFUSE and is_real(self.endpoint):
            raise SettingsError(refusal(self.endpoint))
        return key

    def _found_key(self) -> str:
        """Return the key, wherever it leads."""
        if self.api_key:
            return self.api_key
        if self.api_key_file is None:
            msg = f"no API key: set {PREFIX}API_KEY (or {PREFIX}API_KEY_FILE) to the key of your account"
            raise SettingsError(msg)
        try:
            text = Path(self.api_key_file).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:  # no text, or no path
            shown = self.api_key_file if "/" in self.api_key_file else "the file"  # it may be a key by mistake
            msg = f"{PREFIX}API_KEY_FILE: {shown} cannot be read ({type(error).__name__})"
            raise SettingsError(msg) from None
        try:
            key = read_key(text)
        except SettingsError as error:
            msg = f"{PREFIX}API_KEY_FILE: {error}"
            raise SettingsError(msg) from None
        if not key:
            msg = f"{PREFIX}API_KEY_FILE: {self.api_key_file} is empty"
            raise SettingsError(msg)
        return key

    def spool(self) -> Path:
        """Return the directory where events wait: the setting, or the user's state directory (XDG).

        Raises:
            SettingsError: there is no home directory.
        """
        if self.spool_dir:
            return Path(self.spool_dir)
        state = os.environ.get("XDG_STATE_HOME", "")
        try:
            home = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
        except RuntimeError:
            msg = "there is no home directory"
            raise SettingsError(msg) from None
        return home / "ocm-otel"

    def further_headers(self) -> tuple[tuple[str, str], ...]:
        """Return the headers to add to each call, as names and values."""
        return read_headers(self.headers)

    def proxy(self) -> str | None:
        """Return the proxy that the environment names for the endpoint; none for our own machine."""
        from urllib.request import getproxies, proxy_bypass  # 20 ms that only a delivery needs

        parts = urlsplit(self.endpoint)
        host = parts.hostname or ""
        if LOOPBACK.fullmatch(host) or proxy_bypass(host):
            return None
        proxies = getproxies()
        proxy = proxies.get(parts.scheme) or proxies.get("all")
        return proxy if proxy is None or "://" in proxy else f"http://{proxy}"

    @property
    def in_the_clear(self) -> bool:
        """True when the key would travel unencrypted to another machine."""
        parts = urlsplit(self.endpoint)
        return parts.scheme == "http" and not LOOPBACK.fullmatch(parts.hostname or "")

    def __repr__(self) -> str:
        """Return all settings with the secret ones masked."""
        secret = {setting.field for setting in TABLE if setting.secret}
        rows = (
            f"{row.name}={'***' if row.name in secret and getattr(self, row.name) else repr(getattr(self, row.name))}"
            for row in fields(self)
        )
        return f"Settings({', '.join(rows)})"


def _sources(setting: Setting, environ: Mapping[str, str], given: Mapping[str, object]) -> list[tuple[str, object]]:
    """Return where a value may come from, best first: given in code, our variable, OpenTelemetry's."""
    named = [(setting.field, given.get(setting.field))]
    named += [(name, environ.get(name, "").strip()) for name in (setting.variable, setting.stands_in) if name]
    return [(name, value) for name, value in named if value is not None and value != ""]


def origin(setting: Setting, environ: Mapping[str, str] | None = None) -> str:
    """Return the variable that a setting's value comes from, an empty text if it has its default."""
    for name, value in _sources(setting, os.environ if environ is None else environ, {}):
        try:
            setting.read(value)
        except (SettingsError, TypeError, ValueError):
            continue
        return name
    return ""


def _instead(setting: Setting, source: str) -> str:
    """Return what is used in place of a value that could not be."""
    if setting.field == "api_key":
        return "without a key no event is accepted"
    if setting.secret or setting.default is None or source == setting.field:
        return "it is left out"
    default = ",".join(setting.default) if isinstance(setting.default, tuple) else setting.default
    return f"the default, {default}, is used" if source != setting.stands_in else "ours is used instead"
