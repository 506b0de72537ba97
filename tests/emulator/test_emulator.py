"""The running emulator, asked over http.client: what it answers, keeps and plans."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
import time
from contextlib import closing

import pytest

from ocm_otel.emulator import Answer, Emulator

EVENTS = "/v2.0/events"


def ask(emulator, target, method="GET", key="demo-key", body=None, **headers):
    """Send one request on a connection of its own; return status, headers and body."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if key is not None:
        sent["x-api-key"] = key
    with closing(http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=10)) as connection:
        connection.request(method, target, body, headers=sent)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def test_an_event_is_accepted_and_kept_as_it_was_sent(emulator):
    """The four parameters come back decoded; absent ones are None and the key is an alias."""
    before = time.time()
    status, headers, body = ask(emulator, EVENTS + "?type=course-save&course_id=a%20b&user_id=%C3%A9")
    assert (status, headers["content-type"], json.loads(body)) == (200, "application/json", {"status": "OK"})
    (event,) = emulator.events()
    assert (event["type"], event["course_id"], event["user_id"]) == ("course-save", "a b", "\u00e9")
    assert event["entity_id"] is None
    assert before - 1 < event["received_at"] < time.time() + 1
    assert event["key"].startswith("key-")
    assert emulator.count == 1


@pytest.mark.parametrize(
    ("request_line", "key", "status", "says"),
    [
        (("GET", EVENTS), "demo-key", 400, b"NO-TYPE-PARAMETER"),
        (("GET", EVENTS + "?type=a"), None, 403, b'{"message":"Forbidden"}'),
        (("GET", EVENTS + "?type=a"), "wrong", 403, b'{"message":"Forbidden"}'),
        (("POST", EVENTS + "?type=a"), "demo-key", 403, b"Missing Authentication Token"),
        (("HEAD", EVENTS + "?type=a"), "demo-key", 403, b""),
        (("GET", "/elsewhere?type=a"), "demo-key", 403, b"Missing Authentication Token"),
        (("GET", EVENTS + "?type=a&user_id=" + "x" * 11_000), "demo-key", 413, b"Request Too Long"),
        (("GET", EVENTS + "?type=a&user_id=" + "x" * 200_000), "demo-key", 413, b"Request Too Long"),
    ],
)
def test_a_refused_call_is_answered_and_kept_with_its_reason(emulator, request_line, key, status, says):
    """A call against the rules gets the documented answer, counts as no event, and can be looked at."""
    method, target = request_line
    got, _, body = ask(emulator, target, method, key)
    assert (got, says in body) == (status, True)
    assert emulator.count == 0
    (request,) = emulator.requests()
    assert (request["status"], request["counted"], bool(request["reason"])) == (status, False, True)


def test_the_limit_counts_every_byte_of_request_line_and_headers(emulator):
    """A request of exactly 10,240 bytes passes and one byte more does not."""
    for length, status in ((10_240, b"200"), (10_241, b"413")):
        frame = b"GET /v2.0/events?type=a HTTP/1.1\r\nHost: x\r\nx-api-key: demo-key\r\nx-fill: %s\r\n\r\n"
        request = frame % (b"f" * (length - len(frame) + len(b"%s") + len(b"\r\n")))
        with socket.create_connection(("127.0.0.1", emulator.port), timeout=10) as connection:
            connection.sendall(request)
            assert connection.recv(100).split()[1] == status


def test_no_type_may_come_with_200():
    """With refusal_status=200 the refusal is in the body alone, and still no event."""
    with Emulator(refusal_status=200) as emulator:
        status, _, body = ask(emulator, EVENTS + "?type=")
        assert (status, b"NO-TYPE-PARAMETER" in body, emulator.count) == (200, True, 0)


def test_headers_are_kept_by_name_and_harmless_ones_by_value(emulator):
    """A test can see that a traceparent came, and nowhere the key."""
    ask(emulator, EVENTS + "?type=a", traceparent="00-1-2-01", cookie="secret-cookie", user_agent="me/1")
    (request,) = emulator.requests()
    assert {"traceparent", "cookie", "x-api-key"} <= set(request["header_names"])
    assert request["headers"]["traceparent"] == "00-1-2-01"
    assert request["headers"]["user-agent"] == "me/1"
    kept = json.dumps([emulator.requests(), emulator.events()]) + emulator.report()
    assert "secret-cookie" not in kept
    assert "demo-key" not in kept


def test_no_trace_header_is_seen_when_none_came(emulator):
    """The names that are kept are the names that came."""
    ask(emulator, EVENTS + "?type=a")
    assert not {"traceparent", "baggage"} & set(emulator.requests()[0]["header_names"])


def test_keys_are_told_apart_by_alias():
    """Each accepted key has an alias of its own, and with keys=None any key passes."""
    with Emulator(keys=("one", "two")) as emulator:
        assert emulator.key == "one"
        for key in ("one", "two", "one"):
            assert ask(emulator, EVENTS + "?type=a", key=key)[0] == 200
        first, second, third = (event["key"] for event in emulator.events())
        assert first == third != second
    with Emulator(keys=None) as emulator:
        assert ask(emulator, EVENTS + "?type=a", key=emulator.key)[0] == 200
        assert ask(emulator, EVENTS + "?type=a", key="")[0] == 403


def test_the_script_answers_once_each_and_a_5xx_counts_nothing(emulator):
    """503, 503, then normal handling: three calls, one event, every call kept."""
    emulator.script(503, 503, 200)
    answers = [ask(emulator, EVENTS + "?type=a")[0] for _ in range(4)]
    assert answers == [503, 503, 200, 200]
    assert emulator.count == 2
    assert [request["status"] for request in emulator.requests()] == answers
    assert emulator.requests()[0]["reason"] == "answered as planned"


def test_only_calls_to_the_api_use_up_the_script(emulator):
    """A call to an unknown path gets the gateway's answer and leaves the script for the next event."""
    emulator.script(503)
    assert ask(emulator, "/elsewhere?type=a")[0] == 403
    assert ask(emulator, EVENTS + "?type=a")[0] == 503


def test_a_planned_answer_is_given_to_the_letter(emulator):
    """Status, body, headers and counting are as the plan says."""
    emulator.script(
        Answer(429, headers={"Retry-After": "2"}),
        Answer(502, body=b"<html>", headers={"content-type": "text/html"}, counted=True),
        Answer(200, body="not json"),
        Answer(204),
        Answer(302, headers={"location": "http://127.0.0.1:1/"}),
    )
    given = [ask(emulator, EVENTS + f"?type=a&course_id={n}") for n in range(5)]
    assert [status for status, _, _ in given] == [429, 502, 200, 204, 302]
    assert given[0][1]["retry-after"] == "2"
    assert (given[1][1]["content-type"], given[1][2]) == ("text/html", b"<html>")
    assert given[2][2] == b"not json"
    assert (given[3][2], "content-length" in given[3][1]) == (b"", False)
    assert given[4][1]["location"] == "http://127.0.0.1:1/"
    assert [event["course_id"] for event in emulator.events()] == ["1", "2", "3"]


def test_a_planned_answer_counts_no_call_that_the_rules_refuse(emulator):
    """Even with counted=True a call without a type or a key is no event."""
    emulator.always(Answer(500, counted=True))
    ask(emulator, EVENTS)
    ask(emulator, EVENTS + "?type=a", key="wrong")
    assert emulator.count == 0
    ask(emulator, EVENTS + "?type=a")
    assert emulator.count == 1


def test_one_answer_for_all_until_normal_again(emulator):
    """always() holds for every call to the API, and for no other path, until normally()."""
    emulator.always(403)
    assert [ask(emulator, EVENTS + "?type=a")[0] for _ in range(3)] == [403] * 3
    assert ask(emulator, "/emulator/summary")[0] == 200
    emulator.normally()
    assert ask(emulator, EVENTS + "?type=a")[0] == 200
    assert emulator.count == 1


def test_latency_delays_the_answer_and_not_the_count(emulator):
    """The event counts at its arrival; the answer comes after the latency, which may change on the way."""
    emulator.latency = 30
    answers = []
    slow = threading.Thread(target=lambda: answers.append(ask(emulator, EVENTS + "?type=a")[0]))
    slow.start()
    assert emulator.wait_for(1)
    emulator.latency = 0.05
    start = time.monotonic()
    ask(emulator, EVENTS + "?type=a")
    assert 0.05 <= time.monotonic() - start < 10
    assert answers == []
    emulator.stop()
    slow.join(10)
    assert answers == [200]


def test_calls_wait_side_by_side(emulator):
    """Twenty calls with a latency of 0.2 s are answered together, not one after the other."""
    emulator.latency = 0.2
    start = time.monotonic()
    callers = [threading.Thread(target=ask, args=(emulator, EVENTS + "?type=a")) for _ in range(20)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(10)
    assert emulator.count == 20
    assert time.monotonic() - start < 2


def test_eight_threads_on_kept_connections_lose_nothing(emulator):
    """8 threads of 100 requests each are 800 events, each once, on 8 connections."""

    def work(worker):
        with closing(http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=30)) as connection:
            for number in range(100):
                target = f"{EVENTS}?type=a&course_id={worker}-{number}"
                connection.request("GET", target, headers={"x-api-key": emulator.key})
                connection.getresponse().read()

    workers = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for worker in workers:
        worker.start()
    assert emulator.wait_for(800, timeout=30)
    for worker in workers:
        worker.join(10)
    assert emulator.count == len(emulator.events()) == 800
    assert len({event["course_id"] for event in emulator.events()}) == 800
    assert len({request["client"] for request in emulator.requests()}) == 8


def test_answers_on_a_kept_connection_do_not_wait_for_each_other(emulator):
    """No answer hangs on Nagle's algorithm: a hundred calls in a row take far less than 40 ms each."""
    with closing(http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=30)) as connection:
        start = time.monotonic()
        for _ in range(100):
            connection.request("GET", EVENTS + "?type=a", headers={"x-api-key": emulator.key})
            connection.getresponse().read()
        assert time.monotonic() - start < 2


def test_what_came_in_can_be_read_as_json(emulator):
    """Events with filters and pages, requests and the summary are JSON; DELETE clears."""
    for number in range(5):
        ask(emulator, f"{EVENTS}?type=search&user_id={number % 2}")
    ask(emulator, EVENTS)
    listing = json.loads(ask(emulator, "/emulator/events?limit=2&offset=1&user_id=0")[2])
    assert (listing["total"], listing["limit"], listing["offset"]) == (3, 2, 1)
    assert [event["id"] for event in listing["events"]] == [3, 5]
    requests = json.loads(ask(emulator, "/emulator/requests?limit=10")[2])
    assert [request["status"] for request in requests["requests"]] == [200] * 5 + [400]
    summary = json.loads(ask(emulator, "/emulator/summary")[2])
    assert (summary["events"], summary["refused"], summary["searches"]) == (5, 1, 5)
    assert json.loads(ask(emulator, "/emulator/events", "DELETE")[2]) == {"cleared": 5}
    assert (emulator.count, emulator.requests()) == (0, [])


@pytest.mark.parametrize("query", ["limit=-1", "limit=x", "limit=10001", "offset=1e3", "limit=%C2%B2", "limit="])
def test_a_page_that_makes_no_sense_is_told(emulator, query):
    """A limit or an offset that is no whole number in range gets 400 and its own value back."""
    status, _, body = ask(emulator, f"/emulator/events?{query}")
    assert status == 400
    assert "whole number" in json.loads(body)["error"]


def test_the_report_is_a_page_and_a_text(emulator):
    """The page and its files are told to load nothing from elsewhere; the text has the figures."""
    ask(emulator, EVENTS + "?type=%3Cscript%3Ealert(1)%3C/script%3E%E2%80%AE&user_id=ann")
    for path, kind in (("/", "text/html"), ("/emulator/static/page.js", "text/javascript")):
        status, headers, page = ask(emulator, path)
        assert (status, headers["content-type"]) == (200, f"{kind}; charset=utf-8")
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert (headers["x-content-type-options"], b"alert(" in page) == ("nosniff", False)
    status, headers, body = ask(emulator, "/emulator/report.txt")
    assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert body.decode() == emulator.report()
    assert "\u202e" not in emulator.report()
    assert len(emulator.requests()) == 1


@pytest.mark.parametrize("name", ["../server.py", "..%2Fserver.py", "%2Fetc%2Fpasswd", "nothing.js", "index"])
def test_only_the_files_of_the_page_are_served(emulator, name):
    """A name that is not one of the page's own files is 404."""
    assert ask(emulator, f"/emulator/static/{name}")[0] == 404


def test_the_report_is_sent_once_for_each_state(emulator):
    """With If-None-Match nothing is computed or sent until a call, a duration or a fault changes the report."""
    version = None
    steps = (
        lambda: ask(emulator, EVENTS + "?type=a"),
        lambda: ask(emulator, EVENTS),
        lambda: emulator.load_durations(b"course_id,hours\n7,1\n"),
        lambda: emulator.set_faults("503 rate=1%"),
        emulator.clear,
    )
    for change in steps:
        change()
        status, headers, body = ask(emulator, "/emulator/report", if_none_match=version or "-")
        assert status == 200
        assert {"figures", "calls", "names", "faults", "key"} == set(json.loads(body))
        version = headers["etag"]
        assert ask(emulator, "/emulator/report", if_none_match=version)[0] == 304


def test_every_table_comes_as_csv_and_is_filtered(emulator):
    """Each table is a file of its own, with the lines of the choice."""
    ask(emulator, EVENTS + "?type=course-save&course_id=7&entity_id=IT")
    ask(emulator, EVENTS + "?type=search&entity_id=HR")
    for name in ("figures", "funnel", "types", "courses", "entities", "time", "calls", "durations"):
        status, headers, body = ask(emulator, f"/emulator/tables/{name}.csv?entity_id=IT")
        assert (status, headers["content-type"]) == (200, "text/csv; charset=utf-8"), name
        assert headers["content-disposition"] == f'attachment; filename="{name}.csv"'
        assert b"HR" not in body
    assert ask(emulator, "/emulator/tables/calls.csv?entity_id=IT")[2].count(b"\r\n") == 2
    assert ask(emulator, "/emulator/tables/nothing.csv")[0] == 404


@pytest.mark.parametrize("query", ["since=x", "until=nan", "since=1e999", "until=%C2%B2"])
def test_a_moment_that_is_none_is_told(emulator, query):
    """A period without a moment gets 400 and its own value back."""
    status, _, body = ask(emulator, f"/emulator/report?{query}")
    assert (status, "no moment" in json.loads(body)["error"]) == (400, True)


def test_durations_and_faults_are_taken_over_http(emulator):
    """PUT takes a table of durations and a plan of faults, DELETE forgets them, and what is wrong is told."""
    assert json.loads(ask(emulator, "/emulator/durations", "PUT", body=b"course_id,hours\n7,2\n")[2]) == {"courses": 1}
    ask(emulator, EVENTS + "?type=course-complete&course_id=7")
    assert json.loads(ask(emulator, "/emulator/summary")[2])["hours"] == 2
    status, _, body = ask(emulator, "/emulator/durations", "PUT", body=b"nothing")
    assert (status, "course_id,hours" in json.loads(body)["error"]) == (400, True)
    assert ask(emulator, "/emulator/durations", "PUT", body=b"x" * 5_000_001)[0] == 400
    assert json.loads(ask(emulator, "/emulator/summary")[2])["hours"] == 2
    assert json.loads(ask(emulator, "/emulator/durations", "DELETE")[2]) == {"courses": 0}

    plan = json.dumps({"faults": ["503 times=1", "key-refused times=1"], "seed": 7}).encode()
    assert json.loads(ask(emulator, "/emulator/faults", "PUT", body=plan)[2])["given"] == [0, 0]
    assert [ask(emulator, EVENTS + "?type=a")[0] for _ in range(3)] == [503, 403, 200]
    status, _, body = ask(emulator, "/emulator/faults", "PUT", body=b'{"faults": ["nonsense"]}')
    assert (status, "black-hole" in json.loads(body)["error"]) == (400, True)
    assert json.loads(ask(emulator, "/emulator/faults")[2])["given"] == [1, 1]
    assert json.loads(ask(emulator, "/emulator/faults", "DELETE")[2])["faults"] == []


def test_an_unknown_page_of_its_own_is_not_the_api(emulator):
    """Under /emulator/ an unknown path is 404 and no call to the API."""
    assert ask(emulator, "/emulator/nothing")[0] == 404
    assert ask(emulator, "/", "POST")[0] == 405
    assert emulator.requests() == []


def test_a_file_carries_the_events_to_the_next_emulator(tmp_path):
    """With path= a second emulator on the same port goes on where the first one ended."""
    path = tmp_path / "events.db"
    with Emulator(path=path) as first:
        port = first.port
        ask(first, EVENTS + "?type=a")
    assert [file.name for file in tmp_path.iterdir()] == ["events.db"]
    with Emulator(path=path, port=port) as second:
        ask(second, EVENTS + "?type=b")
        assert [event["type"] for event in second.events()] == ["a", "b"]
        assert second.count == 2


def test_an_emulator_that_does_not_run_says_so():
    """Before the start and after the stop the remedy is named; stopping twice is harmless."""
    emulator = Emulator()
    with pytest.raises(RuntimeError, match="with Emulator"):
        _ = emulator.url
    emulator.start()
    assert emulator.endpoint == f"http://127.0.0.1:{emulator.port}{EVENTS}"
    with pytest.raises(RuntimeError, match="runs already"):
        emulator.start()
    emulator.stop()
    emulator.stop()
    with pytest.raises(RuntimeError, match="with Emulator"):
        emulator.events()


def test_a_stopped_emulator_frees_its_port_and_thread():
    """After stop() nobody answers, and a connection that was kept open is closed."""
    emulator = Emulator().start()
    port = emulator.port
    with socket.create_connection(("127.0.0.1", port), timeout=10) as idle:
        emulator.stop()
        assert idle.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)
    assert "ocm-emulator" not in {thread.name for thread in threading.enumerate()}


def test_a_taken_port_is_told(emulator):
    """The address and the remedy are in the error."""
    with pytest.raises(OSError, match=rf"127\.0\.0\.1:{emulator.port}.*another port"):
        Emulator(port=emulator.port).start()


def test_a_file_that_cannot_be_used_leaves_the_port_free(tmp_path):
    """A start that fails for its file holds no socket: the next one has the same port."""
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear Ann, " * 200)
    with Emulator() as emulator:
        port = emulator.port
    with pytest.raises(ValueError, match="name another file") as kept:
        Emulator(port=port, path=letter).start()
    with Emulator(port=port) as emulator:
        assert emulator.port == port
    assert kept.tb is not None


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"keys": "demo-key"}, TypeError),
        ({"keys": ()}, ValueError),
        ({"keys": ("",)}, ValueError),
        ({"refusal_status": 500}, ValueError),
    ],
)
def test_an_argument_that_cannot_work_fails_at_once(arguments, error):
    """A wrong argument is told when the emulator is made, not by the first call."""
    with pytest.raises(error, match=r"keys|refusal_status"):
        Emulator(**arguments)


def test_the_emulator_logs_nothing(caplog):
    """With the root logger at DEBUG a whole life of an emulator leaves no line."""
    caplog.set_level(logging.DEBUG)
    with Emulator() as emulator:
        ask(emulator, EVENTS + "?type=a")
        with socket.create_connection(("127.0.0.1", emulator.port), timeout=10) as connection:
            connection.sendall(b"no http at all\r\n\r\n")
            assert connection.recv(100)
    assert caplog.messages == []
