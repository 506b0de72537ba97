"""What a span, a log record or a line costs the application's own thread.

The applications take turns in short slices, in an order that changes, all in one process, so that they see the same
machine: a difference of a tenth of a microsecond shows in no other way. The figure is the CPU time of the thread; how
much it is above a processor that does nothing is taken within each round.
"""

from __future__ import annotations

import gc
import random
import statistics
import tempfile
import threading
import time

from applications import PLAIN, TAGGED, Make, set_ups

RECORDS, LEAST = 400, 5
#: In so short a slice the machine is the same as in the one before: for differences of tenths of a microsecond.
FINE = 50


def _slice(make: Make, records: int) -> tuple[float, float]:
    """Return the microseconds, of the thread's CPU and of the wall, that one call takes."""
    wall, began = time.perf_counter_ns(), time.thread_time_ns()
    for _ in range(records):
        make()
    took = time.thread_time_ns() - began
    return took / records / 1_000, (time.perf_counter_ns() - wall) / records / 1_000


class Clock:
    """How long rounds go on: five at least, and then until the time is up; all threads hear the same.

    Args:
        seconds: how long.
        threads: how many begin each slice together.
    """

    def __init__(self, seconds: float, threads: int = 1) -> None:
        self._end, self._over = time.monotonic() + seconds, False
        self._meet = threading.Barrier(threads, self._look)

    def _look(self) -> None:
        self._over = time.monotonic() > self._end

    def goes_on(self, number: int) -> bool:
        """Return whether there is to be one more round after so many; waits until all threads ask."""
        self._meet.wait(60)
        return number < LEAST or not self._over

    def together(self) -> None:
        """Wait until all threads are here."""
        self._meet.wait(60)


def _rounds(rows: dict[str, Make], clock: Clock, records: int) -> dict[str, float]:
    """Return, by row, the median and the median above `idle`, the latter of the wall's time as well."""
    seen: dict[str, list[tuple[float, float]]] = {row: [] for row in rows}
    number = 0
    while clock.goes_on(number):
        order = random.Random(number).sample(sorted(rows), len(rows))  # threads do the same at the same time
        for row in order:
            clock.together()
            seen[row].append(_slice(rows[row], records))
        number += 1
    found = {"rounds": float(number)}
    for row, times in seen.items():
        pairs = list(zip(times, seen["idle"], strict=True))
        found[row] = statistics.median(cpu for cpu, _ in times)
        found[f"{row}+"] = statistics.median(mine[0] - base[0] for mine, base in pairs)
        found[f"{row}+wall"] = statistics.median(mine[1] - base[1] for mine, base in pairs)
    return found


def _together(rows: dict[str, Make], seconds: float, threads: int, records: int = RECORDS) -> dict[str, float]:
    """Return the medians of threads that all make the same at the same time; of one, those of this one."""
    gc.collect()
    gc.disable()
    clock, found = Clock(seconds, threads), []
    team = [threading.Thread(target=lambda: found.append(_rounds(rows, clock, records))) for _ in range(threads - 1)]
    for one in team:
        one.start()
    found.append(_rounds(rows, clock, records))
    for one in team:
        one.join()
    return {row: statistics.median(each[row] for each in found) for row in found[0]}


def _outbox(place: str, port: int, **settings):
    from ocm_otel import Outbox, Settings

    where = f"http://127.0.0.1:{port}/v2.0/events"
    return Outbox(Settings(api_key="demo-key", endpoint=where, spool_dir=place, spool_max_bytes=2**30, **settings))


def held(
    kind: str, tagged: bool, seconds: float, threads: int = 1, only: list[str] | None = None, records: int = RECORDS
) -> dict[str, float]:
    """Return what each set-up costs while nothing is delivered: nobody listens at the address."""
    with tempfile.TemporaryDirectory() as place:
        outbox = _outbox(place, 9)
        rows = set_ups(kind, TAGGED if tagged else PLAIN, outbox, only)
        for make in rows.values():
            make()
        found = _together(rows, seconds, threads, records)
        outbox.close(0)
    return found


def fine(kind: str, seconds: float) -> dict[str, float]:
    """Return what an untagged one costs, and what it costs to look for the name alone: in short slices."""
    return held(kind, tagged=False, seconds=seconds, only=["idle", "look", "disk"], records=FINE)


def running(port: int, authority: str, seconds: float, threads: int = 1, backlog: int = 3000) -> dict[str, float]:
    """Return what a span costs while delivery runs all the time, as fast as it can, in the same process."""
    from ocm_otel import Event

    with tempfile.TemporaryDirectory() as place:
        outbox = _outbox(place, port)
        rows = set_ups("span", TAGGED, outbox, ["idle", "disk"])
        event = Event("course-save", course_id=7, user_id="bob")
        delivered = outbox.books.snapshot().delivered
        done = threading.Event()

        def feed() -> None:
            while not done.wait(0.02):  # so that it never runs dry
                for _ in range(backlog - outbox.books.snapshot().waiting):
                    outbox.put(event)

        feeder = threading.Thread(target=feed)
        feeder.start()
        time.sleep(0.3)
        began = time.perf_counter()
        found = _together(rows, seconds, threads)
        took = time.perf_counter() - began
        done.set()
        feeder.join()
        found["delivered"] = (outbox.books.snapshot().delivered - delivered) / took
        outbox.close(0)
    return found
