"""The worker: one thread that drives the courier.

The worker alone touches the courier, so nothing there needs a lock. It makes the calls as well, all at once over
connections of our own (`_wires`), or has other threads make them where those cannot serve (`_senders`). Everybody
else drops an action into its inbox and rings: a sender the answer to a call, a flush its mark; `put` rings, no more,
and only if the worker sleeps. The inbox is a `SimpleQueue`, which may be used from a finalizer or a signal handler in
the middle of itself.

Threads start when there is work. Where none can be started (the end of the interpreter on some Pythons),
whoever waits for the outcome drives the courier in its place.
"""

from __future__ import annotations

import math
import threading
import time
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

from ocm_otel._carrier import Carrier
from ocm_otel._courtesy import Courtesy
from ocm_otel._poller import Poller
from ocm_otel._threads import sleeps, start_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from ocm_otel._books import Books
    from ocm_otel._client import Client
    from ocm_otel._courier import Call, Courier
    from ocm_otel._journal import Journal
    from ocm_otel._threads import Joinable
    from ocm_otel._verdict import Verdict

#: Seconds that the worker rests after something in it failed that should not.
_REST = 1.0
#: How often it is looked for answers before calls are given up; some dozens are seen at a time.
_LOOKS = 32
#: While answers come at such intervals, seconds, a new event waits for the next one: it would cost its thread a call of
#: the system to wake the worker, and with it the interpreter.
_NAP = 0.004


class Worker:
    """Drives a courier in the background, from the first `wake` to `stop`.

    Args:
        courier: whose calls are made and answered.
        journal: where it looks, now and then, for what dead processes left behind.
        client: makes the client; called once, in the background, for it is slow.
        books: where a failure of our own is counted.
        timeout: seconds that one call may take.
        delay: seconds that a first event waits for company.
    """

    def __init__(
        self,
        courier: Courier,
        journal: Journal,
        client: Callable[[], Client],
        books: Books,
        *,
        timeout: float,
        delay: float = 0.0,
    ) -> None:
        self._courier = courier
        self._journal = journal
        self._next_watch = -math.inf if journal.watch_every else math.inf
        self._books = books
        self._delay = delay
        self._inbox: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._poller = Poller()
        self._carrier = Carrier(client, self._poller, books, self._answered, self._post, timeout=timeout)
        self._courtesy = Courtesy()
        self._asleep = self._brisk = False
        self._not_before = -math.inf
        self._stopped = False
        self._thread: Joinable | None = None
        self._driver = 0
        self._starting = threading.Lock()
        self._driving = threading.Lock()

    # --- for everybody ------------------------------------------------------------------------------------

    def wake(self) -> None:
        """See to it that an event that was just offered gets on its way."""
        if self._asleep:
            self._asleep = False
            self._poller.ring()
        elif self._thread is None:
            self._start()

    def start(self) -> None:
        """Begin, although no event has come yet: others may have left some behind."""
        self._start()

    def settled(self, end: float) -> bool:
        """Wait until all that is in the journal now is settled, or until `end`; returns whether it is."""
        if self._driver == threading.get_ident():
            return False  # a handler of our own messages, say: it would wait for itself
        done = threading.Event()
        end = min(end, time.monotonic() + threading.TIMEOUT_MAX / 2)
        self._post(partial(self._courier.mark, done.set))
        if not self._start():
            self._drive(end, done)
        return done.wait(max(0.0, end - time.monotonic()))

    def stop(self, end: float) -> None:
        """Make no more calls, take in the answers to those under way, and end; waits for that until `end`."""
        self._post(self._stop)
        thread = self._thread
        if thread is None:
            if self._driving.acquire(blocking=False):
                self._carrier.close()
                self._driving.release()
        elif thread is not threading.current_thread():
            thread.join(max(0.0, end - time.monotonic()))

    def leave(self) -> None:
        """Give back, in a forked child, the descriptors: all of them are the parent's."""
        self._carrier.leave()
        self._poller.close()

    def _post(self, action: Callable[[], object]) -> None:
        """Have the worker do something, from any thread."""
        self._inbox.put(action)
        self._poller.ring()

    # --- the worker's thread ------------------------------------------------------------------------------

    def _start(self) -> bool:
        """Start the thread if there is none; False if it cannot be started now."""
        if self._thread is not None or not self._starting.acquire(blocking=False):
            return True  # it runs, or somebody else is at it
        try:
            if self._thread is None:
                self._poller.open()
                self._thread = start_thread("ocm-otel-worker", self._run)
        except (RuntimeError, OSError) as error:  # no thread to be had, or no open file
            self._books.add("failed_thread", type(error).__name__)
            return False
        finally:
            self._starting.release()
        return True

    def _run(self) -> None:
        """Drive until stopped; a failure of our own is told, and does not end deliveries."""
        rest, self._driver = 0.0, threading.get_ident()
        while not self._stopped or self._courier.under_way:
            with self._driving:
                try:
                    if rest:
                        self._take_in(rest, time.monotonic())
                        rest = 0.0
                    if not self._stopped or self._courier.under_way:
                        self._step(math.inf)
                except Exception as error:  # noqa: BLE001 - the border: the only thread must not die
                    rest = _REST
                    self._books.add("failed_worker", type(error).__name__)
                    self._books.report("failed_worker", "the worker failed (%s) and goes on", _where(error))
        self._carrier.close()

    def _drive(self, end: float, done: threading.Event) -> None:
        """Do the worker's work in this thread until `done` or `end`."""
        while not done.is_set() and time.monotonic() < end:
            if not self._driving.acquire(timeout=max(0.0, end - time.monotonic())):
                return
            try:
                self._poller.open()
                self._step(end)
            except Exception as error:  # noqa: BLE001 - the border: whoever waits is told False, and no more
                self._books.add("failed_worker", type(error).__name__)
                return
            finally:
                self._driving.release()

    def _step(self, end: float) -> None:
        """Hand out what is due, then wait for whatever comes first, until `end` at most."""
        began = now = time.monotonic()
        if now >= self._next_watch:
            self._journal.adopt()
            self._next_watch = now + (self._journal.watch_every or math.inf)
        self._see_to_late(now)
        turn, in_haste, wall = self._courtesy.turn(now), self._courier.awaited, time.time()
        slept = 0 if in_haste else sleeps()
        if now >= self._not_before or in_haste:  # not past the end: what cannot be waited for would only be ambiguous
            while not self._stopped and now < end and now < turn:
                if (call := self._courier.due(now, wall)) is None:
                    break
                self._carrier.hand_out(call, end, now)
                now = time.monotonic()
        rest = 0.0 if in_haste else self._courtesy.rest(began, now, sleeps() - slept)
        if rest and self._courier.under_way:
            time.sleep(rest)
        nap = _NAP if self._brisk and self._courier.under_way else math.inf
        self._asleep = nap == math.inf
        ready, now = self._courier.has_ready(), time.monotonic()
        if ready:  # a further event would not change what we wait for
            self._asleep, nap = False, math.inf
        wait = self._courier.sleep(now, ready=ready)
        if not in_haste:
            wait = max(wait, self._not_before - now)
        idle = self._courier.under_way == 0 and wait == math.inf
        came = self._take_in(min(wait, end - now, self._next_watch - now, nap), now)
        self._asleep = False
        self._brisk = came and time.monotonic() - now < _NAP
        if idle and self._delay and self._courier.has_ready():
            self._not_before = time.monotonic() + self._delay

    def _take_in(self, wait: float, now: float, turn: float | None = None) -> bool:
        """Wait for an answer or an action, and take in what came meanwhile; returns whether there were answers.

        It waits for `wait` seconds at most from `now`; answers are taken in until `turn`, else as long as is fair.
        """
        latest = min(wait, self._carrier.earliest - now)
        came = self._poller.wait(latest if self._inbox.empty() else 0.0)
        now = time.monotonic()
        self._carrier.take_in(came, self._courtesy.turn(now) if turn is None else turn, now)
        while not self._inbox.empty():  # this thread alone takes out
            self._inbox.get_nowait()()
        return bool(came)

    def _see_to_late(self, now: float) -> None:
        """Give up the calls that hang; what was answered while this thread was held up is no such call."""
        if self._courier.late_in(now) <= 0:
            for _ in range(_LOOKS):
                if not self._take_in(0.0, now, math.inf):
                    break
            for late in self._courier.late(now, time.time()):
                self._carrier.cut(late)

    def _stop(self) -> None:
        """Let the senders end once they have made the calls that they have, and this thread with them."""
        self._stopped = True
        self._carrier.stop()

    def _answered(self, call: Call, verdict: Verdict, now: float) -> None:
        """Settle a call, in the worker's thread."""
        self._courier.answered(call, verdict, now, time.time())


def _where(error: Exception) -> str:
    """Return the kind of an error and where it was raised; its text could show an id."""
    place, last = "", error.__traceback__
    while last is not None:
        place, last = f"{last.tb_frame.f_globals.get('__name__')}, line {last.tb_lineno}", last.tb_next
    return f"{type(error).__name__} in {place}"
