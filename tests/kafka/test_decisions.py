"""What is decided without a broker: encodings, identities, claims, what is in hand, and what is said."""

from __future__ import annotations

import contextlib
import json
import logging
import stat
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError
from hypothesis import given
from hypothesis import strategies as st

from ocm_otel.gateway.config import BadConfig
from ocm_otel.gateway.facts import Malformed
from ocm_otel.kafka.aside import Aside
from ocm_otel.kafka.claims import Claim, Past, parsed
from ocm_otel.kafka.config import Config
from ocm_otel.kafka.hand import Hand, Place
from ocm_otel.kafka.health import STUCK, state
from ocm_otel.kafka.records import Position, guessed, looks_misplaced, numbered, read
from ocm_otel.kafka.words import QUIET, Lines, Quiet, worded

from .conftest import in_json, lines, spans

if TYPE_CHECKING:
    from pathlib import Path

HERE, THERE = "a" * 16, "b" * 16


# --- records --------------------------------------------------------------------------------------------------


@given(st.text(max_size=200), st.text(max_size=130), st.booleans())
def test_a_request_in_protobuf_is_never_taken_for_json(resource: str, user: str, logs: bool) -> None:
    """However long a resource and a record are, so whatever the first bytes are, the encoding is guessed right."""
    request = lines(user) if logs else spans(user, resource=resource)
    value = request.SerializeToString()
    assert guessed(value) == "otlp_proto"
    assert read("logs" if logs else "traces", "auto", value).records == 1


def test_the_worst_request_in_protobuf() -> None:
    """A request of 123 bytes whose resource has 34 looks like a brace and a quotation mark, and is protobuf."""
    found = []
    for more in range(100):
        request = spans(untagged=1, resource="r" * 14)
        request.resource_spans[0].scope_spans[0].spans[0].name = "v" * more
        found.append(request.SerializeToString())
    (worst,) = (value for value in found if value[:4] == b'\n{\n"')
    assert guessed(worst) == "otlp_proto"
    assert read("traces", "auto", worst).records == 1


@given(st.text("\n\t\r ", max_size=5), st.sampled_from([None, 0, 1, 4]), st.booleans())
def test_a_request_in_json_is_never_taken_for_protobuf(space: str, indent: int | None, bare: bool) -> None:
    """With whatever white space, as an object or a bare list, JSON is JSON."""
    content = in_json(spans("ann"))
    text = space + json.dumps(content["resourceSpans"] if bare else content, indent=indent)
    assert guessed(text.encode()) == "otlp_json"
    (fact,) = read("traces", "auto", text.encode()).facts
    assert fact.tags["ocm.user_id"] == "ann"


@pytest.mark.parametrize("value", [b"{", b"[", b"[]x", b"\xff", b'{"resourceSpans": 7}', b"rubbish", b"[[]]"])
@pytest.mark.parametrize("signal", ["traces", "logs"])
def test_what_is_no_request_is_malformed(value: bytes, signal: str) -> None:
    """Anything else is malformed, for a spans' topic and for a logs' topic; nothing else is raised."""
    if signal == "logs" and b"resourceSpans" in value:
        assert read(signal, "auto", value).records == 0  # an object without anything that is asked for
        return
    with pytest.raises(Malformed):
        read(signal, "auto", value)


@given(
    st.binary(max_size=300), st.sampled_from(["traces", "logs"]), st.sampled_from(["auto", "otlp_proto", "otlp_json"])
)
def test_any_bytes_are_a_batch_or_malformed(value: bytes, signal: str, encoding: str) -> None:
    """Whatever is in a record, reading it ends in a batch or in the one exception for it."""
    with contextlib.suppress(Malformed):
        assert read(signal, encoding, value).records >= 0


def test_a_logs_topic_that_is_read_as_spans_looks_misplaced() -> None:
    """Tags in a record in which nothing is tagged are a hint that its topic has the other signal."""
    value = lines("ann").SerializeToString()
    assert looks_misplaced(read("traces", "auto", value), value)
    assert not looks_misplaced(read("logs", "auto", value), value)


def test_what_has_no_identity_is_known_by_its_place() -> None:
    """The same record at the same place gives the same ids, another place or time others; real ids stay."""
    value = lines("a", "a", at=0).SerializeToString()
    batch, place = read("logs", "auto", value), Position("t", 1, 7, 1000)

    def ids(position: Position) -> list[str | None]:
        return [fact.event_id for fact in numbered(batch, position, value).facts]

    assert ids(place) == ids(place)
    assert len(set(ids(place))) == 2
    for other in (
        place._replace(offset=8),
        place._replace(partition=0),
        place._replace(timestamp=9),
        place._replace(topic="u"),
    ):
        assert not set(ids(place)) & set(ids(other))
    known = read("traces", "auto", spans("a").SerializeToString())
    assert numbered(known, place, b"") is known


# --- claims ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [None, "", "of another program", "ocm1", f"ocm2 {HERE}:7", "ocm1 x:1 :: 7", f"ocm1 {HERE}:x"]
)
def test_what_is_not_ours_claims_nothing(text: str | None) -> None:
    """Whatever somebody else writes beside an offset says nothing."""
    assert parsed(text) == []
    assert Past(text, HERE).text(5) == ""


def test_a_claim_is_written_and_read() -> None:
    """What is about to be taken is read by others; the own spool's table knows better than the own claim."""
    text = Past("", HERE).text(5, 9)
    assert parsed(text) == [Claim(HERE, 9)]
    assert [Past(text, THERE).in_doubt(offset) for offset in (5, 8, 9)] == [True, True, False]
    assert not Past(text, HERE).in_doubt(5)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6), st.integers(0, 6), st.booleans()), max_size=12))
def test_no_record_is_taken_twice_unseen(lives: list[tuple[int, int, int, bool]]) -> None:
    """Members on several machines take and die in any order: what another one took before is in doubt, always."""
    committed, text = 0, ""
    took: dict[int, set[int]] = {}
    for machine, size, done, dies in lives:
        past = Past(text, f"{machine:016x}")
        end = committed + size
        text = past.text(committed, end)  # what the broker has before anything is taken
        for offset in range(committed, committed + min(done, size)):
            others = {other for other, offsets in took.items() if offset in offsets and other != machine}
            assert past.in_doubt(offset) or not others
            took.setdefault(machine, set()).add(offset)
        if not dies:
            committed += min(done, size)
            text = past.text(committed)


def test_many_claims_stay_short() -> None:
    """However many machines died at one record, the text fits beside the offset, and what is in doubt stays so."""
    text = ""
    for machine in range(100):
        text = Past(text, f"{machine:016x}").text(0, 1000 - machine)
        assert len(text) < 2000
    assert Past(text, "f" * 16).end == 1000


# --- what is in hand ------------------------------------------------------------------------------------------


def message(partition: int, offset: int) -> Any:
    """Return what a record has that matters here."""
    return SimpleNamespace(topic=lambda: "t", partition=lambda: partition, offset=lambda: offset)


@given(st.lists(st.sampled_from(["add0", "add1", "done", "lose0", "commit"]), max_size=40))
def test_what_is_due_is_done(steps: list[str]) -> None:
    """In whatever order records come, are done and partitions go, no offset is due before all below it are done."""
    hand, nexts, done = Hand(), [0, 0], [0, 0]
    for step in steps:
        if step.startswith("add"):
            partition = int(step[-1])
            hand.add(message(partition, nexts[partition]))
            nexts[partition] += 1
        elif step == "done":
            for place, one in hand.records():
                assert one.offset() == done[place.partition]
                hand.done(place)
                done[place.partition] += 1
                break
        elif step == "lose0":
            hand.drop([Place("t", 0)])
            nexts[0] = done[0]
        else:
            for place, (offset, end) in hand.progress().items():
                hand.committed(place, offset, end)
            assert hand.due == {}
        assert all(offset == done[place.partition] for place, offset in hand.due.items())
        assert len(hand) == sum(nexts) - sum(done)


def test_what_is_claimed_is_claimed_once() -> None:
    """A claim covers what was in hand; what comes later, and what is left after a pause, is claimed again."""
    hand, place = Hand(), Place("t", 0)
    for offset in (5, 6, 9):
        hand.add(message(0, offset))
    assert hand.unclaimed() == {place: (5, 10)}
    hand.claimed[place] = 10
    assert hand.unclaimed() == {}
    hand.done(place)
    assert hand.progress() == {place: (6, 7)}  # the next one may be taken in part
    hand.committed(place, 6, 7)
    assert hand.unclaimed() == {place: (6, 10)}


# --- how it is told -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "text", "said"),
    [
        ({}, "", "--bootstrap-servers HOST:PORT"),
        ({"traces_topics": ("",), "logs_topics": ()}, "bootstrap.servers=x:1", "there is no topic"),
        ({"traces_topics": ("a/b",)}, "bootstrap.servers=x:1", "'a/b' is no name of a topic"),
        ({"traces_topics": ("a",), "logs_topics": ("a",)}, "bootstrap.servers=x:1", "spans or log records, not both"),
        ({"encoding": "jaeger"}, "bootstrap.servers=x:1", "not 'jaeger'"),
        ({"host": "0.0.0.0", "port": 0}, "bootstrap.servers=x:1", "--tokens"),
        ({}, "bootstrap.servers=x:1\nenable.auto.commit=true", "enable.auto.commit is false here"),
        ({}, "bootstrap.servers=x:1\nauto.offset.reset=latest", "auto.offset.reset is earliest here"),
        ({}, "sasl.password very-secret", "line 1"),
    ],
)
def test_wrong_configurations_say_what_to_change(tmp_path: Path, given_: dict[str, Any], text: str, said: str) -> None:
    """The message names the culprit, and never what is in the file."""
    path = tmp_path / "kafka.properties"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadConfig) as caught:
        Config(config=str(path), **given_)
    assert said in str(caught.value)
    assert "very-secret" not in str(caught.value)


def test_the_file_of_properties(tmp_path: Path) -> None:
    """The file wins over defaults, an option over the file, and what is secret in it is covered."""
    path = tmp_path / "kafka.properties"
    path.write_text("# ours\n\nbootstrap.servers=x:1\nsasl.password = p=w#d \nclient.id=me\n", encoding="utf-8")
    config = Config(config=str(path), bootstrap_servers="y:2", logs_topics=())
    assert config.properties["bootstrap.servers"] == "y:2"
    assert config.properties["sasl.password"] == "p=w#d"
    assert config.properties["client.id"] == "me"
    assert config.properties["enable.auto.commit"] == "false"
    assert config.topics == {"otlp_spans": "traces"}
    assert config.covered("failed with p=w#d at y:2") == "failed with *** at y:2"
    assert "p=w#d" not in repr(config)


@pytest.mark.parametrize("path", ["/no/such/file", "/"])
def test_a_file_that_is_not_there(path: str) -> None:
    """A file of properties that cannot be read is named."""
    with pytest.raises(BadConfig, match=f"{path} cannot be read"):
        Config(config=path)


def test_the_same_is_told_once_a_minute() -> None:
    """A storm is one line a minute, which says how many it stands for; other kinds are told at once."""
    now = [0.0]
    quiet = Quiet(lambda: now[0])
    assert [quiet.allows("a"), quiet.allows("a"), quiet.allows("a"), quiet.allows("b")] == [0, None, None, 0]
    now[0] = QUIET
    assert [quiet.allows("a"), quiet.allows("a")] == [2, None]
    assert sum(quiet.allows(number) is not None for number in range(1000)) < 300


def test_lines_of_librdkafka_are_few_and_covered() -> None:
    """What comes as an error as well is not written, the rest once a minute, and without secrets."""
    lines_ = Lines(lambda text: text.replace("secret", "***"))

    def written(text: str) -> str | None:
        record = logging.LogRecord("x", logging.WARNING, "", 0, "%s", (text,), None)
        return record.getMessage() if lines_.filter(record) else None

    assert written("FAIL [x] connection refused") is None
    assert written("CONFWARN [x] secret") == "CONFWARN [x] ***"
    assert written("CONFWARN [x] secret") is None


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (KafkaError._ALL_BROKERS_DOWN, "--bootstrap-servers"),
        (KafkaError._AUTHENTICATION, "sasl.password of --config"),
        (KafkaError.SASL_AUTHENTICATION_FAILED, "sasl.password of --config"),
        (KafkaError._SSL, "ssl.ca.location"),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "--traces-topic"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "use the group mine"),
        (KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "sequence"),
    ],
)
def test_errors_say_what_to_look_at(code: int, said: str) -> None:
    """Each error that a person can do something about says what."""
    assert said in worded(KafkaError(code), "x:1", "mine")


def test_health() -> None:
    """It lives as long as it goes round, and is ready while it is in its group."""
    member = SimpleNamespace(turned_at=0.0, stopping=False, joined=False, held=False)

    def status(path: str, now: float) -> int:
        return state(path, member, now).status  # type: ignore[arg-type, union-attr]

    assert (status("/healthz", 1), status("/healthz", STUCK + 1), status("/readyz", 1)) == (200, 503, 503)
    member.joined = True
    assert status("/readyz", 1) == 200
    member.stopping = True
    assert status("/readyz", 1) == 503
    assert state("/", member, 1) is None  # type: ignore[arg-type]


# --- what is kept aside ---------------------------------------------------------------------------------------


def test_what_is_kept_aside_is_bounded(tmp_path: Path) -> None:
    """The two files together never have more than they may, the newest are there, and both are their owner's alone."""
    aside = Aside(tmp_path, 4000, sync=True)
    for offset in range(100):
        aside.keep(Position("t", 0, offset, 1), "a reason", b"x" * 100)
        files = list(tmp_path.glob("kafka-aside.*"))
        assert sum(path.stat().st_size for path in files) <= 4000
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    text = aside.path.with_suffix(".old").read_text(encoding="utf-8") + aside.path.read_text(encoding="utf-8")
    offsets = [json.loads(line)["offset"] for line in text.splitlines()]
    assert offsets == list(range(100 - len(offsets), 100))
    assert len(offsets) > 5
    with pytest.raises(OSError, match="--aside-bytes"):
        aside.keep(Position("t", 0, 1, 1), "a reason", b"x" * 3000)


def test_a_torn_line_is_left_by_itself(tmp_path: Path) -> None:
    """After a writer that was killed in a line, the next one begins a line of its own."""
    aside = Aside(tmp_path, 10_000)
    aside.path.write_bytes(b'{"topic": "cut of')
    aside.keep(Position("t", 0, 1, 1), "a reason", b"x")
    assert json.loads(aside.path.read_text(encoding="utf-8").splitlines()[1])["offset"] == 1
