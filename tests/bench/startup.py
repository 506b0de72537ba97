"""What it costs before the first event: imports, the command's start, and taking over what a dead process left."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from core import cpu, memory, wait_for
from server import Server

SDK = "import opentelemetry.trace, opentelemetry.sdk.trace, opentelemetry.sdk._logs"
IMPORTS = {
    "nothing": "pass",
    "sdk": SDK,
    "structlog": "import structlog",
    "package": "import ocm_otel",
    "spans": f"{SDK}; from ocm_otel import OCMSpanProcessor",
    "logs": f"{SDK}; from ocm_otel import OCMLogRecordProcessor",
    "line": "import structlog; from ocm_otel import OCMProcessor",
    "handler": "import logging; from ocm_otel import OCMHandler",
    "logging": "import logging",
    "all": f"{SDK}; import structlog; from ocm_otel import *",
    "both": f"{SDK}; import structlog",
    "outbox": f"{SDK}; from ocm_otel import OCMSpanProcessor, Outbox, Settings; OCMSpanProcessor(outbox=Outbox("
    "Settings(api_key='k', durability='memory')))",
}
LOOK = """
import json, resource, sys
used = resource.getrusage(resource.RUSAGE_SELF)
heavy = {name: name in sys.modules for name in ("httpx", "asyncio")}
print(json.dumps({"cpu": (used.ru_utime + used.ru_stime) * 1e3, **heavy}))
"""


#: Modules are compiled, as an installer or the first start leaves them, whatever the machine's own variables say: else
#: each start would compile all of them anew, theirs and ours, which is most of what it takes. The first run compiles.
COMPILED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {
    "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / f"ocm-otel-bench-{os.getuid()}")
}


def imports(what: str) -> dict[str, float]:
    """Return the milliseconds of CPU of an interpreter that imports something, and whether heavy things came along."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS[what] + LOOK],
        check=True, capture_output=True, text=True, timeout=30, env=COMPILED,
    )  # fmt: skip
    return json.loads(done.stdout)


def command(words: list[str]) -> dict[str, float]:
    """Return the milliseconds, of the wall and of CPU, that a command takes from its start to its end."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True, timeout=30, env=COMPILED)
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": took * 1e3, "cpu": spent * 1e3}


LEAVE = """
import os, sys
from ocm_otel import Event, Outbox, Settings
outbox = Outbox(Settings(api_key="demo-key", endpoint=sys.argv[1], spool_dir=sys.argv[2]))
for number in range(int(sys.argv[3])):
    outbox.put(Event("course-save", course_id=7, user_id=f"ann-{number}"))
os._exit(0)
"""


def recovery(events: int) -> dict[str, float]:
    """Return how soon what a killed process left on disk is taken over, and what that costs, delivery included."""
    from ocm_otel import Outbox, Settings

    with Server() as nobody:
        address = f"http://127.0.0.1:{nobody.port}/v2.0/events"
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([sys.executable, "-c", LEAVE, address, place, str(events)], check=True, timeout=40)
        with Server(port=nobody.port):
            idle, spent, began = memory(), cpu(), time.perf_counter()
            outbox = Outbox(Settings(api_key="demo-key", endpoint=address, spool_dir=place, shutdown_timeout=0))
            now = outbox.books.snapshot
            wait_for(lambda: now().delivered >= 1, 15, 0.0005)
            first = (time.perf_counter() - began) * 1e3
            wait_for(lambda: now().adopted >= events, 15, 0.0005)
            found = {"first": first, "adopted": (time.perf_counter() - began) * 1e3}
            wait_for(lambda: now().delivered >= events, 50, 0.02)
            found |= {"lost": events - now().delivered, "seconds": time.perf_counter() - began}
            found |= {"cpu": (cpu() - spent) / events * 1e6, "memory": memory("VmHWM") - idle}
            outbox.close(0)
    return found
