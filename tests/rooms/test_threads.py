"""How our threads begin: what they leave to those of the application."""

from __future__ import annotations

import re
import signal
import threading
from pathlib import Path

from ocm_otel import Event


def blocked(thread: threading.Thread) -> int:
    """Return the signals that a thread does not let in, as the kernel's mask."""
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text(encoding="ascii")
    return int(re.search(r"^SigBlk:\s*([0-9a-f]+)$", status, re.MULTILINE)[1], 16)


def test_signals_are_the_applications(emulator, make_outbox):
    """No thread of ours takes a signal that the main thread may wait for; faults of their own stay what they are."""
    outbox = make_outbox(emulator.endpoint, api_key=emulator.key)
    outbox.put(Event("search"))
    assert outbox.flush(30)
    ours = [thread for thread in threading.enumerate() if thread.name.startswith("ocm-otel")]
    assert ours
    for thread in ours:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM, signal.SIGCHLD):
            assert blocked(thread) >> (number - 1) & 1, (thread.name, number)
        assert not blocked(thread) >> (signal.SIGSEGV - 1) & 1
    assert not blocked(threading.main_thread()) >> (signal.SIGTERM - 1) & 1
