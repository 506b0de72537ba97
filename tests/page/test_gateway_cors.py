"""Pages in a real browser call the gateway, as far as their origin is listed."""

from __future__ import annotations

import http.server
import json
import threading
from contextlib import closing, contextmanager

import pytest

from ..gateway.conftest import Running, span, tagged, traces, until  # noqa: TID252 - it is started as there

#: The call of the API's guide, as its JavaScript makes it; it resolves to the status and the body.
CALL = """([url, key]) => new Promise((done, failed) => {
  const call = new XMLHttpRequest();
  call.open('GET', url);
  call.setRequestHeader('x-api-key', key);
  call.onload = () => done([call.status, call.responseText]);
  call.onerror = () => failed(new Error('no answer that the page may read'));
  call.send();
})"""
OTLP = """async ([url, text]) => {
  const answer = await fetch(url, {method: 'POST', headers: {'content-type': 'application/json'}, body: text});
  return [answer.status, await answer.json()];
}"""
#: As telemetry is sent when a page is left: with the cookies of the gateway's origin, whether there are any or not.
BEACON = "([url, text]) => navigator.sendBeacon(url, new Blob([text], {type: 'application/json'}))"
#: What a page may send anywhere without asking first; it sees no answer.
UNASKED = """async ([url, text]) => {
  await fetch(url, {method: 'POST', mode: 'no-cors', headers: {'content-type': 'text/plain'}, body: text});
}"""


class Page(http.server.BaseHTTPRequestHandler):
    """An empty page."""

    def do_GET(self):
        """Serve it."""
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@contextmanager
def site():
    """Serve an empty page; yields its origin."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def visited(chromium, origin):
    """Open a page of an origin."""
    with closing(chromium.new_context()) as context:
        page = context.new_page()
        page.goto(origin)
        yield page


def written(user):
    """Return an export request of one event as the text of a page."""
    return json.dumps(traces(span(int(user), tagged(user))))


def test_pages_of_a_listed_origin_and_of_another(chromium, emulator, tmp_path):
    """The guide's call, OTLP and a beacon of a listed origin count; those of another origin do not."""
    (tmp_path / "keys").write_text("key-of-the-page\n", encoding="utf-8")
    running = Running(tmp_path, emulator.endpoint, emulator.key)
    with site() as ours, site() as theirs:
        running.start("--client-keys", str(tmp_path / "keys"), "--cors-origin", ours)
        try:
            gateway = f"http://127.0.0.1:{running.port}"
            call = [f"{gateway}/v2.0/events?type=course-save&course_id=1&user_id=1", "key-of-the-page"]
            with visited(chromium, ours) as page:
                assert page.evaluate(CALL, call) == [200, '{"status":"OK"}']
                assert page.evaluate(CALL, [call[0], "another-key"]) == [403, '{"message":"Forbidden"}']
                assert page.evaluate(OTLP, [f"{gateway}/v1/traces", written("2")]) == [200, {}]
                assert page.evaluate(BEACON, [f"{gateway}/v1/traces", written("3")]) is True
                assert emulator.wait_for(3)
            with visited(chromium, theirs) as page:
                with pytest.raises(Exception, match="no answer that the page may read"):
                    page.evaluate(CALL, call)
                with pytest.raises(Exception, match="Failed to fetch"):
                    page.evaluate(OTLP, [f"{gateway}/v1/traces", written("4")])
                page.evaluate(BEACON, [f"{gateway}/v1/traces", written("5")])
                page.evaluate(UNASKED, [f"{gateway}/v1/traces", written("6")])
            refused = b'ocm_gateway_requests{door="traces",status="415"} 1'
            assert until(lambda: refused in running.ask("GET", "/metrics")[2])
            assert running.kill(15) == 0
        finally:
            running.kill()
    assert sorted(event["user_id"] for event in emulator.events()) == ["1", "2", "3"]
