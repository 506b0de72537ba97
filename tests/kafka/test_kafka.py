"""Members of a group in processes of their own: what is in the records arrives at the emulator, once each."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from typing import TYPE_CHECKING

from .conftest import PARTITIONS, in_json, lines, spans, until, users

if TYPE_CHECKING:
    from ocm_otel.emulator import Emulator

    from .conftest import Running


def records(many: int, first: int = 0) -> list[bytes]:
    """Return records of one tagged span each."""
    return [spans(str(number), first=number).SerializeToString() for number in range(first, first + many)]


def test_each_encoding_from_the_earliest_uncommitted_record(running: Running, emulator: Emulator) -> None:
    """What was written before the group began counts, in protobuf and JSON; after a restart only what is new does."""
    bare = json.dumps(in_json(spans("c", first=30))["resourceSpans"]).encode()
    values = [
        spans("a", untagged=9, first=10).SerializeToString(),
        json.dumps(in_json(spans("b", untagged=9, first=20)), indent=1).encode(),
        bare,
        spans(untagged=5, first=40).SerializeToString(),
        b"",
        None,
    ]
    running.kafka.write(running.topic, values)
    running.kafka.write(
        running.logs, [lines("d", "d", "e").SerializeToString(), json.dumps(in_json(lines("f"))).encode()]
    )
    member = running.start("--logs-topic", running.logs)
    assert emulator.wait_for(7, 40), running.log
    wanted = {"a": 1, "b": 1, "c": 1, "d": 2, "e": 1, "f": 1}
    assert until(lambda: member.figures()[f'messages{{topic="{running.topic}",became="taken"}}'] == 5)
    assert member.figures()[f'messages{{topic="{running.topic}",became="empty"}}'] == 1
    assert member.kill(signal.SIGTERM) == 0
    assert users(emulator) == wanted
    running.kafka.write(running.topic, records(1, first=99))
    running.start("--logs-topic", running.logs)
    assert emulator.wait_for(8, 40), running.log
    assert users(emulator) == wanted | {"99": 1}


def test_a_record_that_cannot_be_read_is_kept_aside(running: Running, emulator: Emulator) -> None:
    """It is in a file for its owner alone, with place and reason, is counted and told once, and the others go on."""
    rubbish = [b"\xff\xff secret-user", b'{"resourceSpans": 7}', b"{", b"\x0a\xff"]
    values = [value for pair in zip(rubbish, records(4), strict=True) for value in pair]
    running.kafka.write(running.topic, values * 10, partition=2)
    member = running.start()
    assert emulator.wait_for(4, 40), running.log
    assert until(lambda: running.kafka.committed(running.topic, running.group)[2][0] == 80)
    assert until(lambda: member.figures()[f'messages{{topic="{running.topic}",became="aside"}}'] == 40)
    path = running.account / "kafka-aside.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [(one["topic"], one["partition"], one["offset"]) for one in kept] == [
        (running.topic, 2, offset) for offset in range(0, 80, 2)
    ]
    assert {one["reason"] for one in kept} == {
        "the body is no ExportTraceServiceRequest in protobuf", "the body is no JSON in UTF-8",
        "resourceSpans is no list of objects",
    }  # fmt: skip
    assert running.log.count("was put aside") == 3
    assert "secret-user" not in running.log
    assert set(users(emulator).values()) == {1}  # ten times the same spans: what a producer writes again is known


def test_while_the_api_is_away_records_wait_in_kafka(running: Running, emulator: Emulator) -> None:
    """Partitions are paused while enough events wait; the membership is kept, and afterwards everything comes once."""
    running.properties |= {"session.timeout.ms": "4500", "max.poll.interval.ms": "4500"}
    emulator.always(503)
    running.kafka.write(running.topic, records(400))
    member = running.start("--max-waiting", "20")
    assert until(lambda: member.figures()["held"]), running.log
    since = time.monotonic()
    assert until(lambda: time.monotonic() - since > 6)  # longer than a group waits for who does not poll
    assert member.ask("/readyz") == (200, "ready, and paused: there is no room\n")
    figures = member.figures()
    assert figures["pauses"] >= 1
    assert 20 <= figures['outbox{became="waiting"}'] <= 21
    offsets = running.kafka.committed(running.topic, running.group)
    assert sum(offset for offset, _ in offsets.values()) == figures['outbox{became="accepted"}']
    emulator.normally()
    assert emulator.wait_for(400, 40), running.log
    assert set(users(emulator).values()) == {1}
    assert member.figures()['rebalances{partitions="lost"}'] == 0
    assert "without this member" not in running.log


def test_what_is_paused_goes_on_with_whom_it_goes_to(running: Running, emulator: Emulator) -> None:
    """A partition that was paused, went and came back is read on, by the same member or by another."""
    running.properties |= {"session.timeout.ms": "8000", "partition.assignment.strategy": "range"}
    emulator.always(503)
    running.kafka.write(running.topic, records(400))
    first = running.start("--max-waiting", "20")
    assert until(lambda: first.figures()["held"]), running.log
    running.start("--max-waiting", "20")
    assert until(lambda: first.figures()['rebalances{partitions="revoked"}'])
    emulator.normally()  # there is room again before it is given partitions again
    assert emulator.wait_for(400, 40), running.log
    assert set(users(emulator).values()) == {1}


def test_a_full_journal_holds_records_back(running: Running, emulator: Emulator) -> None:
    """When the spool is full, offsets stay where they are; when there is room, everything is there, once each."""
    running.env["OTEL_EXPORTER_OCM_SPOOL_MAX_BYTES"] = str(1024 * 1024)
    emulator.always(503)
    many = [spans(*[f"{n}-" + "x" * 900 for n in range(at, at + 100)], first=at) for at in range(0, 1600, 100)]
    running.kafka.write(running.topic, [one.SerializeToString() for one in many])
    member = running.start()
    assert until(lambda: member.figures()["held"]), running.log
    offsets = running.kafka.committed(running.topic, running.group)
    assert 0 < sum(offset for offset, _ in offsets.values()) < 16
    emulator.normally()
    assert emulator.wait_for(1600, 40), running.log
    assert set(users(emulator).values()) == {1}


def test_sigterm_hands_over_at_once(running: Running, emulator: Emulator) -> None:
    """A member that is told to end commits and leaves: the other one hears of it long before it would be missed."""
    running.properties |= {"session.timeout.ms": "20000", "partition.assignment.strategy": "range"}
    running.kafka.write(running.topic, records(100))
    first, second = running.start_two()
    # Who comes a moment too late waits for the session timeout of the mock cluster, on a busy machine twice.
    assert until(lambda: first.is_ready() and second.is_ready(), 100), running.log
    assert emulator.wait_for(100, 30), running.log
    before = second.figures()['rebalances{partitions="revoked"}']
    assert first.kill(signal.SIGTERM) == 0
    assert until(lambda: second.figures()['rebalances{partitions="revoked"}'] > before, 15)
    assert second.kill(signal.SIGTERM) == 0
    assert set(users(emulator).values()) == {1}
    offsets = running.kafka.committed(running.topic, running.group)
    assert offsets == dict.fromkeys(range(PARTITIONS), (25, ""))


def test_what_has_nothing_to_be_known_by_has_its_place(running: Running, emulator: Emulator) -> None:
    """A log record without a time is known by where it stands: taken twice it is one event, written twice it is two."""
    value = lines("a", "a", at=0).SerializeToString()
    running.kafka.write(running.topic, [value] * PARTITIONS)
    options = ("--traces-topic", "", "--logs-topic", running.topic)
    member = running.start(*options)
    assert emulator.wait_for(2 * PARTITIONS, 40), running.log
    assert member.kill(signal.SIGTERM) == 0
    running.group = running.kafka.name("group")  # of another group everything is new
    member = running.start(*options)
    assert until(lambda: member.figures()['duplicates{door="logs"}'] == 2 * PARTITIONS), running.log
    assert emulator.count == 2 * PARTITIONS


def test_nothing_that_is_written_bears_ids_or_keys(running: Running, emulator: Emulator) -> None:
    """Neither the log nor the metrics have an id, the API's key, or a word of what came."""
    running.kafka.write(running.topic, [spans("secret-user").SerializeToString(), b"rubbish of secret-user"])
    member = running.start()
    assert emulator.wait_for(1, 40), running.log
    assert until(lambda: member.figures()[f'messages{{topic="{running.topic}",became="aside"}}'] == 1)
    assert member.ask("/nothing-here")[0] == 404
    shown = running.log + member.ask("/metrics")[1]
    assert "secret-user" not in shown
    assert emulator.key not in shown


# --- wrong configuration --------------------------------------------------------------------------------------


def test_brokers_that_are_not_there(running: Running) -> None:
    """It is said once what is wrong and what to look at, without the password; the member lives, and ends when told."""
    running.properties |= {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "me",
                           "sasl.password": "very-secret-word"}  # fmt: skip
    member = running.start("--bootstrap-servers", "127.0.0.1:1")
    assert until(lambda: "no broker answers" in running.log)
    assert until(lambda: member.figures()['errors{kind="_TRANSPORT"}'] > 20)
    assert member.ask("/healthz")[0] == 200
    assert member.ask("/readyz") == (503, "not in the group\n")
    assert member.kill(signal.SIGTERM, 15) == 0
    assert running.log.count("\n") == 1, running.log
    assert "--bootstrap-servers" in running.log
    assert "very-secret-word" not in running.log


def test_metrics_for_those_who_may(running: Running) -> None:
    """With a file of tokens the metrics need one, and health does not."""
    path = running.folder / "tokens"
    path.write_text("token-one\n", encoding="utf-8")
    member = running.start("--tokens", os.fspath(path))
    assert member.ask("/metrics")[0] == 401
    assert member.ask("/healthz")[0] == 200
