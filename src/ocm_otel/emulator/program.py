"""The emulator as a program: it runs until it is told to end.

For the command and for whoever starts it as a process of its own. What it serves is ``server``'s business.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterable
from os import PathLike, fspath
from pathlib import Path

from .server import Emulator


def serve(
    host: str = "127.0.0.1",
    port: int = 8377,
    *,
    keys: Collection[str] | None = ("demo-key",),
    path: str | PathLike[str] | None = None,
    latency: float = 0.0,
    refusal_status: int = 400,
    jitter: float = 0.0,
    faults: Iterable[str] = (),
    seed: int | None = None,
    plan: str | PathLike[str] | None = None,
    durations: str | PathLike[str] | None = None,
    ready: Callable[[Emulator], object] | None = None,
) -> None:
    """Run the emulator until SIGINT or SIGTERM, then stop it and return.

    Args:
        host: the address to listen on.
        port: the TCP port; 0 for one that is free.
        keys: the accepted API keys; None accepts any key that is not empty.
        path: a SQLite file that outlives the emulator; None for memory.
        latency: seconds before each answer.
        refusal_status: the HTTP status of ``NO-TYPE-PARAMETER``, 200 or 400.
        jitter: further seconds at most before each answer.
        faults: such as ``"503 rate=10%"``.
        seed: of the dice; None for that of the plan, or 0.
        plan: a JSON file with faults; those of ``faults`` come after its own.
        durations: a CSV file with the durations of courses.
        ready: called once with the running emulator, for instance to print its address.

    Raises:
        OSError: the port is taken, or a file cannot be read.
        ValueError: a key, the refusal status, a fault or a file is not usable.
    """
    emulator = Emulator(
        keys,
        latency,
        port,
        path,
        host=host,
        refusal_status=refusal_status,
        jitter=jitter,
        faults=faults,
        seed=seed or 0,
    )
    if plan is not None:
        _load(plan, lambda content: emulator.load_faults(content, *faults, seed=seed))
    # Blocked and waited for, not handled: a handler would run in the middle of anything.
    ends = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        with emulator:
            if durations is not None:
                _load(durations, emulator.load_durations)
            if ready is not None:
                ready(emulator)
            signal.sigwait(ends)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _load(path: str | PathLike[str], take: Callable[[bytes], object]) -> None:
    """Hand a file's content to whom it concerns; what is wrong is told with the file's name."""
    try:
        take(Path(path).read_bytes())
    except OSError as error:
        raise OSError(
            error.errno, f"cannot read {fspath(path)!r}: {error.strerror}; name a file that is there"
        ) from error
    except ValueError as error:
        raise ValueError(f"{fspath(path)}: {error}") from error
