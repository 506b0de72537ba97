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

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX = "OTEL_EXPORTER_OCM_"
DEFAULT_ENDPOINT = "https://api.ofcourse.me/v2.0/events"

_LONGEST_MS = 24 * 60 * 60 * 1000
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2: token
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class SettingsError(ValueError):
    """A setting has a value that it cannot have; the message names the setting and the rule."""


# --- readers: a text (or the value given in code) -> the setting's value, or SettingsError ---------------


def _whole(lowest: int, highest: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        try:
            if isinstance(value, bool):
                raise TypeError
            number = int(value)  # type: ignore[call-overload]
            if isinstance(value, float) and number != value:
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            msg = f"{_shown(value)} is no whole number"
            raise SettingsError(msg) from None
        if not lowest <= number <= highest:
            msg = f"{_shown(value)} is not between {lowest} and {highest}"
            raise SettingsError(msg)
        return number

    return read


def _rate(value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        msg = f"{_shown(value)} is no number"
        raise SettingsError(msg) from None
    if isinstance(value, bool) or not 0 < number <= 1_000_000:  # NaN fails this, too
        msg = f"{_shown(value)} is not above 0 and at most 1000000"
        raise SettingsError(msg)
    return number


def _one_of(*choices: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        text = str(value).strip().lower()
        if text not in choices:
            msg = f"{_shown(value)} is none of: {', '.join(choices)}"
            raise SettingsError(msg)
        return text

    return read


def _text(value: object) -> str:
    if not isinstance(value, str | Path):
        msg = f"a text is needed, not a value of type {type(value).__name__}"
        raise SettingsError(msg)
    return str(value).strip()


def _key(value: object) -> str:
    """Return an API key; what is wrong with one is said without showing it."""
    if not isinstance(value, str):
        msg = (
            f"a text is needed, not a value of type {type(value).__name__}; "
            "in a YAML file put the key in quotes, or it becomes a number"
        )
        raise SettingsError(msg)
    key = value.strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        msg = "it has characters that cannot stand in an HTTP header (its value is not shown)"
        raise SettingsError(msg)
    if len(key) > 512:  # noqa: PLR2004 - said in the message
        msg = f"it has {len(key)} characters, and a key has at most 512"
        raise SettingsError(msg)
    return key


def _endpoint(value: object) -> str:
    text = _text(value)
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not (text.isascii() and text.isprintable()) or " " in text:
        msg = f"{_shown(value)} is no http:// or https:// address"
        raise SettingsError(msg)
    if parts.username is not None or parts.fragment:
        msg = "an address without user, password and fragment is needed; the key has a setting of its own"
        raise SettingsError(msg)
    return text


def _headers(value: object) -> tuple[tuple[str, str], ...]:
    """Return headers from ``name=value,name=value`` (as in ``OTEL_EXPORTER_OTLP_HEADERS``) or a mapping."""
    if isinstance(value, str):
        pairs = [part.partition("=")[::2] for part in value.split(",") if part.strip()]
    elif hasattr(value, "items"):
        pairs = list(value.items())
    else:
        pairs = list(value)  # type: ignore[call-overload]
    found = []
    for name, content in pairs:
        name, content = str(name).strip(), str(content).strip()
        if not _HEADER_NAME.fullmatch(name):
            msg = "it is not of the form name=value,name=value (its value is not shown)"
            raise SettingsError(msg)
        if not (content.isascii() and content.isprintable()):
            msg = f"the value of {name} has a line break or another character that no header can have"
            raise SettingsError(msg)
        found.append((name, content))
    return tuple(found)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…" + text[0]  # noqa: PLR2004 - a glance


# --- the table -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    Attributes:
        field: the name in `Settings`; the variable is ``OTEL_EXPORTER_OCM_`` and this in capitals.
        default: the value when nothing is set.
        unit: what a number counts; empty where there is nothing to count.
        help: one sentence for a person.
        read: makes the value out of a text, or raises `SettingsError`.
        stands_in: OpenTelemetry's own variable that is honoured while ours is unset.
        secret: True where the value is never shown.
    """

    field: str
    default: Any
    unit: str
    help: str
    read: Callable[[object], Any]
    stands_in: str = ""
    secret: bool = False

    @property
    def variable(self) -> str:
        """The environment variable of this setting."""
        return PREFIX + self.field.upper()


_time = _whole(0, _LONGEST_MS)

TABLE: tuple[Setting, ...] = (
    Setting("api_key", None, "", "The key of your account, sent as `x-api-key`. The only setting that has "
            "to be made: without a key nothing is accepted.", _key, secret=True),
    Setting("api_key_file", None, "", "A file that holds the key; for secrets that are mounted as files.", _text),
    Setting("endpoint", DEFAULT_ENDPOINT, "", "The address of the events API.", _endpoint),
    Setting("headers", (), "", "Further headers for each call, as `name=value,name=value`.", _headers, secret=True),
    Setting("timeout", 10_000, "milliseconds", "How long one call may take.", _whole(1, _LONGEST_MS)),
    Setting("certificate", None, "", "A PEM file with the certificate authorities to trust instead of the usual ones.",
            _text),
    Setting("client_certificate", None, "", "A PEM file with the certificate to show to the server.", _text),
    Setting("client_key", None, "", "A PEM file with the key of that certificate, if it is not in the same file.",
            _text),
    Setting("durability", "disk", "", "What an accepted event survives: `disk` any death of the process, `fsync` that "
            "of the machine, too (each event then waits for the medium), `memory` neither.",
            _one_of("disk", "fsync", "memory")),
    Setting("spool_dir", None, "", "Where events wait on disk; `ocm-otel` in the user's state directory if unset.", _text),
    Setting("spool_max_bytes", 256 * 1024 * 1024, "bytes", "How much room events that wait may take on disk, those of all "
            "processes together; an event takes about 100. What comes on top is not accepted, and counted.",
            _whole(1024 * 1024, 2**50)),
    Setting("max_age", None, "milliseconds", "How long an event may wait; an older one goes to the refused file instead of "
            "being counted late. No limit if unset.", _whole(1, 10**12)),
    Setting("max_queue_size", 100_000, "events", "How many events may wait in memory, where durability is `memory`; what "
            "comes on top is not accepted, and counted.", _whole(1, 10_000_000), "OTEL_BSP_MAX_QUEUE_SIZE"),
    Setting("schedule_delay", 0, "milliseconds", "How long a first event waits for company before delivery starts; "
            "0 starts at once.", _time, "OTEL_BSP_SCHEDULE_DELAY"),
    Setting("max_concurrency", 16, "calls", "How many calls may be under way at once.", _whole(1, 1_000)),
    Setting("max_rate", None, "events a second", "How many calls may be started in a second; no limit if unset.", _rate),
    Setting("shutdown_timeout", 1_000, "milliseconds", "How long the end of the process may be held up to deliver "
            "what waits.", _time),
    Setting("on_ambiguous", "retry", "", "What to do with an event whose request left and whose answer never came: "
            "`retry` may count it twice, `discard` may not count it at all.", _one_of("retry", "discard")),
    Setting("on_span_error", "send", "", "Whether a tagged span that ended with an error status is an event: `send` "
            "or `skip`.", _one_of("send", "skip")),
)


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
        cls, environ: Mapping[str, str] | None = None, *, report: Callable[[str], None] | None = None, **given: object
    ) -> Settings:
        """Return the settings that the environment gives; a bad value is reported, never raised.

        Args:
            environ: the variables; those of the process if left out.
            report: called with one sentence for each value that could not be used.
            given: settings made in code (or in a YAML file); they win over the environment. What is no
                setting, or has a bad value, is reported and left out.
        """
        environ = os.environ if environ is None else environ
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

    def key(self) -> str:
        """Return the key of the account, from the setting or its file.

        Raises:
            SettingsError: there is none, or the file cannot be read, or what it holds is no key.
        """
        if self.api_key:
            return self.api_key
        if self.api_key_file is None:
            msg = f"no API key: set {PREFIX}API_KEY (or {PREFIX}API_KEY_FILE) to the key of your account"
            raise SettingsError(msg)
        try:
            text = Path(self.api_key_file).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:  # no text, or no path
            msg = f"{PREFIX}API_KEY_FILE: {self.api_key_file} cannot be read ({type(error).__name__})"
            raise SettingsError(msg) from None
        try:
            key = _key(text)
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

    @property
    def in_the_clear(self) -> bool:
        """True when the key would travel unencrypted to another machine."""
        parts = urlsplit(self.endpoint)
        return parts.scheme == "http" and not (
            parts.hostname in _LOOPBACK or (parts.hostname or "").startswith("127.")
        )

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
    if setting.secret or setting.default is None:
        return "it is left out"
    return f"the default, {setting.default}, is used" if source != setting.stands_in else "ours is used instead"
