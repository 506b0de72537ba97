"""Members that are killed: offsets never run ahead of the journal, and what counts twice is counted and explained."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from .conftest import Kafka, Running, spans, until, users

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ocm_otel.emulator import Emulator

#: A member that dies at one step of taking records.
STEPS = """
    import os, sys
    from ocm_otel.cli import main
    from ocm_otel.gateway.known import Known
    from ocm_otel.kafka.offsets import Offsets
    from ocm_otel._outbox import Outbox

    step, _, at = sys.argv.pop(1).partition(":")
    count = 0

    def dying(kind, name, after=False):
        function = getattr(kind, name)
        def stepping(self, *given):
            global count
            done = function(self, *given) if after else None
            count += name == step
            if name == step and count == int(at):
                os.kill(os.getpid(), 9)
            return done if after else function(self, *given)
        setattr(kind, name, stepping)

    dying(Offsets, "claim", after=True)
    dying(Outbox, "put", after=True)
    dying(Known, "keep", after=True)
    dying(Offsets, "commit")
    main(prog_name="ocm-otel")
"""


def stepped(running: Running, step: str, *options: str) -> int:
    """Run a member that dies at a step, `name:how-manieth`; returns its exit code."""
    command = [sys.executable, "-c", textwrap.dedent(STEPS), step, "kafka", *running.arguments(*options)]
    with (running.folder / "log").open("a", encoding="utf-8") as log:
        return subprocess.run(command, env=running.env, stdout=log, stderr=log, check=False, timeout=60).returncode


def accepted(running: Running) -> int:
    """Return how many events are in the ledgers of a spool."""
    code = "from ocm_otel.cli import main; main(prog_name='ocm-otel')"
    done = subprocess.run([sys.executable, "-c", code, "spool", "list", "--json"], env=running.env, check=False,
                          capture_output=True, text=True)  # fmt: skip
    told = json.loads(done.stdout)
    return sum(told["totals"]["all"][column] for column in ("owed", "sent"))


@pytest.mark.parametrize("step", ["claim:1", "put:3", "keep:3", "commit:3"])
def test_an_offset_is_never_ahead_of_the_journal(running: Running, emulator: Emulator, step: str) -> None:
    """Wherever a member is killed, what was committed is in the journal, and the next one makes it one event each."""
    emulator.always(503)  # a call that a kill cuts off would be ambiguous; that is another promise
    many = [spans(f"{n}a", f"{n}b", first=2 * n).SerializeToString() for n in range(3)]
    running.kafka.write(running.topic, many, partition=0)
    assert stepped(running, step) == -signal.SIGKILL, running.log
    offset, _ = running.kafka.committed(running.topic, running.group)[0]
    assert 2 * offset <= accepted(running)
    emulator.normally()
    member = running.start()
    assert emulator.wait_for(6, 40), running.log
    assert until(lambda: running.kafka.committed(running.topic, running.group)[0] == (3, ""))
    assert until(lambda: member.figures()['outbox{became="waiting"}'] == 0)
    assert set(users(emulator).values()) == {1}
    assert "another machine" not in running.log


@pytest.mark.parametrize("policy", ["retry", "discard"])
def test_what_another_machine_may_have_taken_is_ambiguous(running: Running, emulator: Emulator, policy: str) -> None:
    """A member with another spool tells and counts them; with `discard` they are left to the one that may have them."""
    many = [spans(f"{n}a", f"{n}b", first=2 * n).SerializeToString() for n in range(3)]
    running.kafka.write(running.topic, many, partition=0)
    emulator.always(503)
    assert stepped(running, "put:4") == -signal.SIGKILL, running.log
    # Two records are in its journal, and not committed; of three that came one by one, the first may be.
    sure, _ = running.kafka.committed(running.topic, running.group)[0]
    emulator.normally()
    other = running.beside("there")
    other.env["OTEL_EXPORTER_OCM_ON_AMBIGUOUS"] = policy
    member = other.start()
    running.kafka.write(running.topic, [spans("new", first=50).SerializeToString()], partition=0)
    assert until(lambda: "new" in users(emulator)), other.log
    assert until(lambda: member.figures()['ambiguous{door="traces"}'] == 6 - 2 * sure), (sure, member.figures())
    assert f"up to {3 - sure} records" in other.log
    running.start()  # the machine comes back, and delivers what it had
    doubles = 4 - 2 * sure if policy == "retry" else 0
    assert until(lambda: sum(users(emulator).values()) == (7 - 2 * sure if policy == "retry" else 1) + 4)
    assert sum(users(emulator).values()) - len(users(emulator)) == doubles
    other.end()


# --- three members, and one killed every few seconds ----------------------------------------------------------


class Group:
    """Three members of one group, that are killed and started again.

    Args:
        machines: on which each of them runs: one spool for all, or one for each.
    """

    def __init__(self, machines: list[Running]) -> None:
        self._machines = machines
        self._members = [machine.start(wait=False) for machine in machines]
        for member in self._members:
            member.wait()
        self.chance = random.Random(1)
        self.kills = 0

    def kill_one(self) -> None:
        """Kill one member, and start another in its place."""
        place = self.chance.randrange(len(self._members))
        self._members[place].kill()
        self.kills += 1
        self._members[place] = self._machines[place].start()

    def at_rest(self) -> bool:
        """Return whether nothing waits, nothing is held and all is committed."""
        machine = self._machines[0]
        done = machine.kafka.committed(machine.topic, machine.group)
        figures = [member.figures() for member in self._members]
        return all(not text for _, text in done.values()) and not any(
            one['outbox{became="waiting"}'] or one["held"] for one in figures
        )

    def story(self) -> str:
        """Return what there is to say when a test fails."""
        machine = self._machines[0]
        told = [member.ask("/metrics")[1] for member in self._members]
        logs = [one.log for one in {one.folder: one for one in self._machines}.values()]
        return "\n".join([str(machine.kafka.committed(machine.topic, machine.group)), *told, *logs])

    def end(self) -> None:
        """Tell all to end."""
        for member in self._members:
            assert member.kill(signal.SIGTERM) == 0


def driven(machines: list[Running], emulator: Emulator, many: int, portion: int) -> None:
    """Write records in portions, kill a member in the middle of each, and account for each event."""
    first, began = machines[0], time.monotonic()
    emulator.set_faults("503 rate=10%", seed=1)
    group: Group | None = None
    for at in range(0, many, portion):
        values = [spans(str(number), first=number).SerializeToString() for number in range(at, at + portion)]
        first.kafka.write(first.topic, values)
        group = group or Group(machines)
        assert until(lambda at=at: emulator.count > at + portion // 10, 120), group.story()
        until(lambda: False, group.chance.random() * _LATER)
        group.kill_one()
    assert until(lambda: len(users(emulator)) == many, 120), group.story()
    took = time.monotonic() - began
    assert until(group.at_rest, 60), group.story()
    group.end()
    arrived = users(emulator)
    assert set(arrived) == {str(number) for number in range(many)}
    doubles = sum(arrived.values()) - many
    spools = {machine.folder: machine for machine in machines}.values()
    told = [one.report() for one in spools]
    calls, delivered = (sum(one[column] for one in told) for column in ("ambiguous", "delivered"))
    elsewhere = sum(map(int, re.findall(r"up to (\d+) records", "".join(one.log for one in spools))))
    print(f"{many} events, {group.kills} kills, {took:.0f} s: {doubles} count twice; {calls} calls and {elsewhere} "
          f"records of other machines are ambiguous; {delivered} answers said delivered")  # fmt: skip
    assert doubles <= calls + elsewhere
    if len(spools) == 1:
        assert elsewhere == 0


#: How many events, and in what portions; the large ones are for `nox -s soak`.
SMALL, LARGE = (900, 300), (20_000, 1000)
SHORT, LONG = [pytest.mark.timeout(300)], [pytest.mark.soak, pytest.mark.timeout(1000)]
_LATER = 2.0  # seconds after a portion has begun to arrive, at most, in which a member is killed


@pytest.fixture
def driven_ones(request: pytest.FixtureRequest, tmp_path: Path, emulator: Emulator) -> Iterator[Running]:
    """Members of a group at the brokers that the test names."""
    kafka: Kafka = request.getfixturevalue(request.param)
    with ExitStack() as ends:
        found = Running(tmp_path / "here", kafka, emulator)
        ends.callback(found.end)
        yield found


@pytest.mark.parametrize(
    ("driven_ones", "size"),
    [pytest.param("tansu", SMALL, marks=SHORT), pytest.param("mock", LARGE, marks=LONG)],
    indirect=["driven_ones"],
)
def test_three_members_of_one_machine(driven_ones: Running, emulator: Emulator, size: tuple[int, int]) -> None:
    """Every event arrives while members are killed and the API fails; what counts twice was a call cut off."""
    driven([driven_ones] * 3, emulator, *size)


@pytest.mark.parametrize(
    ("driven_ones", "size"),
    [pytest.param("mock", SMALL, marks=SHORT), pytest.param("mock", LARGE, marks=LONG)],
    indirect=["driven_ones"],
)
def test_three_members_of_three_machines(driven_ones: Running, emulator: Emulator, size: tuple[int, int]) -> None:
    """The same where no machine knows what another took: what counts twice was told of as ambiguous."""
    driven_ones.properties["partition.assignment.strategy"] = "range"  # eager, as older groups are
    machines = [driven_ones, driven_ones.beside("second"), driven_ones.beside("third")]
    with ExitStack() as ends:
        for one in machines:
            ends.callback(one.end)
        driven(machines, emulator, *size)
