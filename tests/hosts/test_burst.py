"""Few tagged spans among very many others, faster than the API answers: none is lost, none comes twice."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

BURST = Path(__file__).with_name("sites") / "burst.py"


@pytest.mark.parametrize(
    "command",
    [[sys.executable, str(BURST), "processor"], ["opentelemetry-instrument", sys.executable, str(BURST)]],
    ids=["processor", "by-name"],
)
def test_a_thousand_among_many(environment, emulator, without_upstream, command):
    """1,000 tagged spans among 30,000 others in a tight loop arrive once each; the API takes 20 ms an answer."""
    emulator.latency = 0.02
    variables = environment(
        OTEL_TRACES_EXPORTER="ocm",
        OTEL_EXPORTER_OCM_SHUTDOWN_TIMEOUT="30000",
        # So small a queue of the SDK's own loses most of what goes through it; events by name do not.
        OTEL_BSP_MAX_QUEUE_SIZE="32",
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE="32",
    )
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=150, check=False)
    assert (done.returncode, done.stdout, without_upstream(done.stderr)) == (0, "looped\n", "")
    courses = Counter(event["course_id"] for event in emulator.events())
    assert courses == {str(number): 1 for number in range(1_000)}
    assert {(event["type"], event["user_id"]) for event in emulator.events()} == {("course-save", "ann")}
    assert len(emulator.requests()) == 1_000
