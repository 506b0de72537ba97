"""The ids that were taken lately are known to siblings and to whoever comes next, whatever the death of a worker."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ocm_otel._settings import Settings
from ocm_otel.gateway.intake import Told
from ocm_otel.gateway.known import Busy, Known, UnusableFile

from .conftest import span, tagged, traces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ocm_otel.emulator import Emulator


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Known]]:
    """Open the file of ids, as one more worker; all are closed with the test."""
    with contextlib.ExitStack() as ends:

        def open_one(most: int = 1000, ledgers: tuple[str, ...] = ()) -> Known:
            known = Known(tmp_path / "ids", lambda: ledgers, most)
            ends.callback(known.close)
            return known

        yield open_one


def kept(known: Known, *ids: str) -> list[bool]:
    """Claim and keep ids; returns for each whether it was new."""
    with known.claim(ids) as places:
        for place in places:
            known.keep(place or 0)
        return [place is not None for place in places]


def test_what_is_kept_is_known_to_all_and_for_long(make: Callable[..., Known]) -> None:
    """An id that one worker kept is taken for it, for its sibling, and for the one that is started later."""
    first, sibling = make(), make()
    assert kept(first, "a", "b", "a") == [True, True, False]
    assert kept(sibling, "a", "c") == [False, True]
    assert kept(make(), "a", "b", "c", "d") == [False, False, False, True]


def test_what_is_not_kept_is_free_again(make: Callable[..., Known]) -> None:
    """An id that was claimed and not kept can be claimed again."""
    known = make()
    with known.claim(["a", None, "b"]) as places:
        known.keep(places[0] or 0)
    assert kept(known, "a", "b") == [False, True]


def test_what_a_living_worker_claims_is_busy(make: Callable[..., Known]) -> None:
    """While a worker that lives takes an id, another is told to wait, and none of its own ids is claimed."""
    first, sibling = make(), make()
    with first.claim(["a"]):
        with pytest.raises(Busy), sibling.claim(["b", "a"]):
            pytest.fail("it was claimed twice")
        assert kept(sibling, "b") == [True]


def test_the_oldest_gives_way(make: Callable[..., Known]) -> None:
    """The file never grows: of a thousand ids the newest are known, and a claim is never given up for one of them."""
    known = make(80)
    size = Path(f"/proc/self/fd/{known._file}").stat().st_size
    with known.claim(["claimed"]) as places:
        for number in range(1000):
            kept(known, str(number))
        known.keep(places[0] or 0)
    assert kept(known, "claimed", "999") == [False, False]
    assert Path(f"/proc/self/fd/{known._file}").stat().st_size == size


@pytest.mark.parametrize("there_before", [False, True])
def test_claims_of_the_dead_are_looked_up(make: Callable[..., Known], tmp_path: Path, there_before: bool) -> None:
    """A claim whose worker was killed is taken if its id is in a ledger, and free if not: for siblings and heirs."""
    program = """
        import os, pathlib, sys
        from ocm_otel.gateway.known import Known
        with Known(pathlib.Path(sys.argv[1]), lambda: (), 1000).claim(["journalled", "not"]):
            os.kill(os.getpid(), 9)
    """
    sibling = make(ledgers=("journalled", "other")) if there_before else None
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "ids")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert kept(sibling or make(ledgers=("journalled", "other")), "not", "journalled") == [True, False]


def test_what_is_taken_over_is_learnt(make: Callable[..., Known]) -> None:
    """Ids of events that were left behind are known from the moment that they are taken over."""
    known = make()
    Told(known).learn(["a", "b"])
    assert kept(make(), "a", "b", "c") == [False, False, True]


def test_a_foreign_file_is_left_alone(make: Callable[..., Known], tmp_path: Path) -> None:
    """A file of something else is not written to, and the error says what to do."""
    (tmp_path / "ids").write_bytes(b"a diary")
    with pytest.raises(UnusableFile, match="delete it"):
        make()
    assert (tmp_path / "ids").read_bytes() == b"a diary"


#: A worker that dies at one step of taking a batch in; it gets there twice, and the second time it may live.
STEPS = """
    import os, sys
    from ocm_otel._outbox import Outbox
    from ocm_otel._settings import Settings
    from ocm_otel.gateway import otlp
    from ocm_otel.gateway.config import Config
    from ocm_otel.gateway.figures import Board, Figures
    from ocm_otel.gateway.intake import Intake, Told
    from ocm_otel.gateway.worker import prepare

    step, event = sys.argv[1].split(":")
    settings = Settings.from_env()
    known = prepare(settings, Config())
    count = 0

    def dying(name, function):
        def stepping(*given):
            global count
            done = function(*given)
            count += name == step
            if name == step and count == int(event):
                if step == "delivered":
                    outbox.flush(10)
                os.kill(os.getpid(), 9)
            return done
        return stepping

    outbox = Outbox(settings, recent=Told(known))
    outbox.put = dying("put", dying("delivered", outbox.put))
    known.keep = dying("kept", known.keep)
    known._claimed = dying("claimed", known._claimed)
    body = sys.stdin.buffer.read()
    reply = otlp.answer(otlp.Head("traces", "application/json", ""), body, 1 << 20,
                        Intake(outbox, known), Figures(Board()))
    assert reply.status == 200, reply
    outbox.close(10)
"""


@pytest.mark.parametrize("step", ["claimed:2", "put:2", "delivered:2", "kept:2"])
def test_killed_at_each_step_of_taking_a_batch_in(step: str, tmp_path: Path, emulator: Emulator) -> None:
    """Wherever a worker is killed, the batch that is sent again is three events in all, once each."""
    body = json.dumps(traces(*[span(number, tagged(f"u{number}")) for number in range(3)])).encode()
    settings = Settings(api_key=emulator.key, endpoint=emulator.endpoint, spool_dir=str(tmp_path / "spool"))
    env = {**os.environ, "OTEL_EXPORTER_OCM_API_KEY": emulator.key, "OTEL_EXPORTER_OCM_ENDPOINT": settings.endpoint,
           "OTEL_EXPORTER_OCM_SPOOL_DIR": str(settings.spool())}  # fmt: skip
    for tried, code in ((step, -signal.SIGKILL), ("none:0", 0)):
        command = [sys.executable, "-c", textwrap.dedent(STEPS), tried]
        done = subprocess.run(command, input=body, env=env, check=False, capture_output=True)
        assert done.returncode == code, done.stderr.decode()
    assert emulator.wait_for(3)
    counted = sorted(event["user_id"] for event in emulator.events())
    assert counted == ["u0", "u1", "u2"]
