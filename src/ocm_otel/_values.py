"""What the value of a setting can be: readers that make it of a text, or say which rule it breaks.

A reader takes what a variable holds or what was given in code, and returns the setting's value. It knows
nothing of the environment, nor of which setting it reads for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_IDS = ("user_id", "course_id", "entity_id")
_HEADER_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110, section 5.6.2: token


class SettingsError(ValueError):
    """A setting has a value that it cannot have; the message names the setting and the rule."""


def read_whole(lowest: int, highest: int) -> Callable[[object], int]:
    """Return a reader of whole numbers from `lowest` to `highest`."""

    def read(value: object) -> int:
        try:
            if isinstance(value, bool):
                raise TypeError
            number: int = int(value)  # type: ignore[call-overload]
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


def read_rate(value: object) -> float:
    """Return a number above 0 and at most a million."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        msg = f"{_shown(value)} is no number"
        raise SettingsError(msg) from None
    if isinstance(value, bool) or not 0 < number <= 1_000_000:  # NaN fails this, too
        msg = f"{_shown(value)} is not above 0 and at most 1000000"
        raise SettingsError(msg)
    return number


def read_one_of(*choices: str) -> Callable[[object], str]:
    """Return a reader that takes one of `choices`, in capitals or not."""

    def read(value: object) -> str:
        text = str(value).strip().lower()
        if text not in choices:
            msg = f"{_shown(value)} is none of: {', '.join(choices)}"
            raise SettingsError(msg)
        return text

    return read


def read_some_of(*choices: str) -> Callable[[object], tuple[str, ...]]:
    """Return a reader of a list with commas (or in YAML, or in code) of some of `choices`, or of ``none``."""
    read_name = read_one_of(*choices)

    def read(value: object) -> tuple[str, ...]:
        given = value.split(",") if isinstance(value, str) else value
        if not isinstance(given, list | tuple | set | frozenset):
            msg = f"{_shown(value)} is no list of: {', '.join(choices)}"
            raise SettingsError(msg)
        names = [name for name in given if str(name).strip()]
        if [str(name).strip().lower() for name in names] == ["none"]:
            return ()
        found = {read_name(name) for name in names}
        return tuple(name for name in choices if name in found)

    return read


def read_text(value: object) -> str:
    """Return a text (or a path) without the white space around it."""
    from pathlib import Path  # most readers are not asked for it, nor for the other one below

    if not isinstance(value, str | Path):
        msg = f"a text is needed, not a value of type {type(value).__name__}"
        raise SettingsError(msg)
    return str(value).strip()


def read_key(value: object) -> str:
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
    if len(key) > 512:
        msg = f"it has {len(key)} characters, and a key has at most 512"
        raise SettingsError(msg)
    return key


def read_endpoint(value: object) -> str:
    """Return an http or https address without user, password and fragment."""
    from urllib.parse import urlsplit

    text = read_text(value)
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


def read_headers(value: object) -> tuple[tuple[str, str], ...]:
    """Return headers from ``name=value,name=value`` (as in ``OTEL_EXPORTER_OTLP_HEADERS``) or a mapping."""
    import re

    if isinstance(value, str):
        pairs = [part.partition("=")[::2] for part in value.split(",") if part.strip()]
    elif hasattr(value, "items"):
        pairs = list(value.items())
    else:
        pairs = list(value)  # type: ignore[call-overload]
    found = []
    for name, content in pairs:
        name, content = str(name).strip(), str(content).strip()
        if not re.fullmatch(_HEADER_NAME, name):
            msg = "it is not of the form name=value,name=value (its value is not shown)"
            raise SettingsError(msg)
        if not (content.isascii() and content.isprintable()):
            msg = f"the value of {name} has a line break or another character that no header can have"
            raise SettingsError(msg)
        found.append((name, content))
    return tuple(found)


def read_flag(value: object) -> bool:
    """Return True or False, of a boolean or of a word for one."""
    words = {"true": True, "1": True, "on": True, "yes": True, "false": False, "0": False, "off": False, "no": False}
    found = value if isinstance(value, bool) else words.get(str(value).strip().lower())
    if found is None:
        msg = f"{_shown(value)} is neither true nor false"
        raise SettingsError(msg)
    return found


def read_names(value: object) -> tuple[str, ...]:
    """Return names from a list with commas, or from a list."""
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
        msg = f"{_shown(value)} is no list of names"
        raise SettingsError(msg)
    return tuple(name.strip() for name in given if name.strip())


def read_baggage_keys(value: object) -> tuple[tuple[str, str], ...]:
    """Return which baggage entry stands for which id, from ``user_id=NAME,entity_id=NAME``, a list or a mapping.

    An id may be named with ``ocm.`` in front or without; without ``=NAME`` it is an entry of that very name.
    """
    if hasattr(value, "items"):
        pairs = [(str(name), str(entry)) for name, entry in value.items()]
    elif isinstance(value, tuple) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        pairs = [(str(name), str(entry)) for name, entry in value]
    else:
        pairs = [(name, entry or name) for name, _, entry in (text.partition("=") for text in read_names(value))]
    found = []
    for name, entry in pairs:
        tag = name.strip().removeprefix("ocm.")
        if tag not in _IDS:
            msg = f"{_shown(name)} is none of: {', '.join(_IDS)}"
            raise SettingsError(msg)
        found.append((f"ocm.{tag}", entry.strip()))
    return tuple(found)


def read_entity(value: object) -> str:
    """Return an entity's id, or the name of a resource attribute behind ``resource:``."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else read_text(value)
    if not text.removeprefix("resource:").strip():
        msg = "an id is needed, or resource: and the name of a resource attribute"
        raise SettingsError(msg)
    return text


def read_secret(value: object) -> str:
    """Return a secret, whatever it is: to do without it would send what it is to hide."""
    return str(value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…" + text[0]
