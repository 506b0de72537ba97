"""The guard of tests: while it is up, nobody gets the key for the vendor's own API.

Whoever makes a call needs the key of its account first (`Settings.key`), so an outbox that would lead to the
real API accepts nothing, keeps nothing on disk and takes nothing over. The guard is a variable, so that the
programs that a test starts have it, too. This room knows the rule; the environment is read by the settings.
"""

from __future__ import annotations

#: ``refuse`` keeps whoever has it in the environment away from the real API; the pytest plugin sets it.
VARIABLE = "OTEL_EXPORTER_OCM_REAL_API"
REFUSE = "refuse"
_VENDOR = "ofcourse.me"


def is_real(endpoint: str) -> bool:
    """Return whether an address is the vendor's, and not an emulator's or a gateway's."""
    host = (_host(endpoint) or "").rstrip(".")
    return host == _VENDOR or host.endswith(f".{_VENDOR}")


def refusal(endpoint: str) -> str:
    """Return what to say to whom the guard holds back."""
    return (
        f"{VARIABLE} is '{REFUSE}', as in every test, and {_host(endpoint)} is the real API: look at the "
        "events with ocm_otel.testing.capture_events(), lead them to an emulator, or allow it (pytest --ocm-real-api)"
    )


def _host(endpoint: str) -> str | None:
    from urllib.parse import urlsplit  # who only asks for the variable's name need not wait for it

    return urlsplit(endpoint).hostname
