"""Under gevent, whose patched threads and queues are greenlets: delivered, and not lost by a fork."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

BEGIN = {
    "patched first": """
    from gevent import monkey
    monkey.patch_all()
    from ocm_otel import Event, Outbox, Settings
    outbox = Outbox(Settings.from_env())
""",
    "patched when a door was imported, and none was made": """
    from ocm_otel import OCMSpanProcessor, emit
    from gevent import monkey
    monkey.patch_all()
    from ocm_otel import Event
    from ocm_otel._shared import shared
    outbox = shared()
""",
    "patched when there was an outbox": """
    from ocm_otel import Event, Outbox, Settings
    outbox = Outbox(Settings.from_env())
    from gevent import monkey
    monkey.patch_all()
""",
}
PROGRAM = """
    import os, sys
    import gevent

    def visitor(number):
        for event in range(10):
            assert outbox.put(Event("search", user_id=f"{number}-{event}"))
            gevent.sleep(0)

    gevent.joinall([gevent.spawn(visitor, number) for number in range(20)], raise_error=True)
    assert outbox.flush(60)
    child = os.fork()
    assert outbox.put(Event("search", user_id="child" if child == 0 else "parent"))
    assert outbox.flush(60)
    if child:
        os.waitpid(child, 0)
"""


@pytest.mark.parametrize("begin", BEGIN)
def test_greenlets_and_a_fork(emulator, tmp_path, begin):
    """20 greenlets with 10 events each, then one event of the parent and one of its child: each arrives once."""
    env = {
        **os.environ,
        "OTEL_EXPORTER_OCM_ENDPOINT": emulator.endpoint,
        "OTEL_EXPORTER_OCM_API_KEY": emulator.key,
        "OTEL_EXPORTER_OCM_SPOOL_DIR": str(tmp_path / "spool"),
        "OTEL_EXPORTER_OCM_SHUTDOWN_TIMEOUT": "9000",
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BEGIN[begin] + PROGRAM)],
        env=env,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert emulator.wait_for(202, 30)
    users = [event["user_id"] for event in emulator.events()]
    assert len(users) == len(set(users)) == 202
