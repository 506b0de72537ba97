"""The words of the page around its tables: headings, what a table is about, and why something falls short."""

from __future__ import annotations

HOT = "What the application's threads pay"
FEEL = "What a request feels"
DELIVERY = "What a delivered event costs"
PEERS = "Beside libraries that pack many events into a request"
WAITING = "What waits"
GROWTH = "A cost that does not grow"
START = "Before the first event"

HEAD = """\
# Performance

<!-- Printed by `python tests/bench`: run it again rather than change it here. -->

One event is one HTTP request, and the threads that make events are yours. So what counts is CPU time, *beside something
else in the same run*: microseconds are the machine's, ratios travel. What is compared took turns, round for round, in
processes of their own (on the hot path: in slices, in one process). Each figure is the median of {rounds}
or more, "times" that of the rounds' ratios; half of those lie between the two in brackets. CPU is user and system time
of the whole process, all its threads; what a caller pays is that of the caller's thread. The server was {server},
in a process of its own.

{where}

To measure again, on a machine with nothing else to do; the first takes about half an hour and writes this page, the
second a minute, and its figures are rough:

<!-- not run: it takes half an hour, and the libraries that it compares with -->
```sh
nox -s bench
nox -s bench -- --quick
```
"""

ABOUT = {
    HOT: """\
What a span, a log record or a structlog line costs the thread that makes it, above the same application with a
processor that does nothing. A tagged one is an event, and is on disk when the call returns.""",
    FEEL: """\
A request works for 0.3 ms and sleeps for 1 ms, over and over, and puts 500 events a second itself; the API takes 20 ms.
Idle to wire is the time from `put`, in a process that does nothing, to the arrival at the server.""",
    DELIVERY: """\
Ours is all-in: `put` into the journal on disk, the call, the verdict, the books. The others make the calls and nothing
else: no journal, no retry, no count. The bare socket loop is about the least that Python can do, and does not read what
the API answers.""",
    PEERS: """\
The same number of events, as fast as one thread can make them, each library with its own defaults and its own flush.
They pack a hundred or so into a request; the events API takes one. Microseconds are for each event that arrived.""",
    WAITING: """\
What waits is on disk, and memory holds little of it; the journal's mapped files count as resident memory.""",
    GROWTH: """\
What it takes to deliver an event, by how many wait, how many doors they came in by, and how long the API was away. (The
outage goes by {faster} times faster than a real one, with as many attempts.)""",
    START: """\
What an application pays before it has an event, what the command pays before it does anything, and what a process pays
that finds the events of a dead one.""",
}

#: Why what falls short does, by the beginning of the rows' keys; said only while such a row falls short.
WHY: dict[str, str] = {
    "untagged": """\
The bound was set on a machine where a span takes 11.9 µs and a structlog line 6.9. Where they take longer, so do a call
and a few look-ups; as a share of the span or line, which travels, it is kept. Beside it stands what the look-ups
alone take here. Of a span ours is some 630 instructions of 138,000 (counted by valgrind); of a structlog line it is
three look-ups, for the three forms that a tag may have. On one such machine an idle span took 21 µs in calm minutes and
38 in others, with which ours went from +0.2 to +0.38 µs.""",
    "tagged-": """\
Four threads take turns at the interpreter and at the processor's caches, and one thread makes its events with both to
itself: what that comes to moves with the machine, from 1.0 to 1.8 times in runs of one engine, the median 1.2.""",
    "running": """\
A tagged span is some 50,000 instructions above the 139,000 of the span itself (counted by valgrind): four tags are
judged, the query, the checksum and the record are made, an id is remembered, and one copy goes into the mapped file. No
call of the system is among them. `put`, called over and over, takes 5 µs for its part; between two spans, whose code
and data push ours out of the processor's nearest caches, three times as long.""",
    "cpu-": """\
The bare loop sends one request and counts answers. An event that is delivered is also written with its checksum,
marked on the disk before the call and after it, judged by its answer, counted by type and hour, and tells how many
calls at once are best. That is some 1,220 steps of Python's byte code in the worker, spread evenly: no function has
more than a twelfth of them. With `put` it is 105,000 instructions (counted by valgrind).""",
    "rate-0ms": """\
One thread makes all calls, so that it is one second of CPU that is divided by what an event costs. `put` shares the
interpreter with it.""",
    "p99": """\
The 99th percentile of a request moves as much between two blocks in which nothing goes out ("once more") as the goal
allows for. What is ours in it is `put`, which takes 5 µs in a loop and 50 after a pause, from cold caches.""",
    "million": """\
Where a million wait, each is read from a file that has to be mapped first; the rest is what the machine does of its own
between two runs, which one after the other takes a minute.""",
    "growth": """\
What takes part here is measured one after the other, so that a machine whose speed changes from minute to minute shows
as a cost that grows, or shrinks.""",
    "import": """\
What a door's import takes beside the SDK is mostly modules of the SDK's that a processor derives from and that the SDK
alone does not load; our own take some 2.4 ms (`python -X importtime`).""",
}
