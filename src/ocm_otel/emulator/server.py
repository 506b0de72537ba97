"""The emulator as one object, for tests, demos and the command.

This is the face of the room: it puts store, plan, API, pages and service together, and answers questions
about what came in. What is answered, and how it is served, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import durations
from .answers import Answer
from .api import EventsApi
from .faults import FaultPlan
from .faultspec import apply, parse_all
from .figures import figures
from .latest import latest
from .mirror import Mirror
from .pages import create_app
from .report import text
from .rules import PATH
from .service import Service, listen
from .store import Store

if TYPE_CHECKING:
    from typing_extensions import Self


class Emulator:
    """The events API on 127.0.0.1: what came in can be read back, and any answer can be planned.

    Use it with ``with``, or call ``start()``, after which it is ready, and ``stop()``.

    Args:
        keys: the accepted API keys; None accepts any key that is not empty.
        latency: seconds before each answer.
        port: the TCP port; 0 for one that is free.
        path: a SQLite file that outlives the emulator; None for memory.
        host: the address to listen on.
        refusal_status: the HTTP status of ``NO-TYPE-PARAMETER``: the guide gives none, so 200 or 400.
        jitter: further seconds at most before each answer, thrown by the dice.
        faults: what some calls get instead of their answer, such as ``"503 rate=10%"`` (docs/emulator.md).
        seed: of the dice: the same seed and order of calls give the same answers.

    Raises:
        ValueError: no key, a refusal status other than 200 and 400, or a fault that is none.
        TypeError: keys is one text instead of a collection of them.
    """

    def __init__(
        self,
        keys: Collection[str] | None = ("demo-key",),
        latency: float = 0.0,
        port: int = 0,
        path: str | PathLike[str] | None = None,
        *,
        host: str = "127.0.0.1",
        refusal_status: int = 400,
        jitter: float = 0.0,
        faults: Iterable[str] = (),
        seed: int = 0,
    ) -> None:
        if isinstance(keys, str):
            raise TypeError("keys is one text: give a tuple of keys, such as keys=('demo-key',)")
        if keys is not None and not all(keys or ("",)):
            raise ValueError("keys has no key or an empty one: give at least one, or None to accept any")
        if refusal_status not in (200, 400):
            raise ValueError(f"refusal_status {refusal_status!r} is neither 200 nor 400")
        self._keys = keys
        self._plan = FaultPlan(latency, jitter, seed)
        self._plan.replace(parse_all(faults))
        self._address, self._path = (host, port), path
        self._refusal_status = refusal_status
        self._store: Store | None = None
        self._service: Service | None = None

    def start(self) -> Self:
        """Listen, and return when calls are answered.

        Raises:
            OSError: the port is taken, or the file cannot be opened.
            ValueError: the file was not written by an emulator.
            RuntimeError: it runs already, or the server did not come up.
        """
        if self._service is not None:
            raise RuntimeError("the emulator runs already: stop() it first")
        listener = listen(*self._address)
        try:
            store = Store(self._path)
        except BaseException:
            listener.close()
            raise
        self._port: int = listener.getsockname()[1]
        api = EventsApi(store, self._plan, self._keys, self._refusal_status)
        self._store = store
        self._mirror = Mirror(store)
        self._service = Service(create_app(store, self._mirror, self._plan, api), listener, api.hurry)
        try:
            self._service.start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Answer what waits, close the connections, the socket and the store; harmless when repeated."""
        service, self._service = self._service, None
        store, self._store = self._store, None
        if service is not None:
            service.stop()
        if store is not None:
            self._mirror.close()
            store.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address of the report page, without a slash at the end."""
        host = self._address[0]
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def port(self) -> int:
        """The TCP port that it listens on."""
        self._kept()
        return self._port

    @property
    def endpoint(self) -> str:
        """The address that events are sent to."""
        return self.url + PATH

    @property
    def key(self) -> str:
        """The first accepted key; any text when all are accepted."""
        return "any-key" if self._keys is None else next(iter(self._keys))

    @property
    def count(self) -> int:
        """How many events counted."""
        return self._kept().count

    @property
    def latency(self) -> float:
        """Seconds before each answer; may be set while the emulator runs."""
        return self._plan.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self._plan.latency = seconds

    def events(self) -> list[dict[str, Any]]:
        """Return the events that counted, in order of arrival.

        Returns:
            Dictionaries with id, received_at (seconds since 1970), type, course_id, user_id, entity_id
            (None where absent) and key (an alias of the API key).
        """
        return self._kept().events()[1]

    def requests(self) -> list[dict[str, Any]]:
        """Return every call in order of arrival, also the refused ones and those at unknown paths.

        Returns:
            Dictionaries with id, received_at, monotonic (seconds of that clock), client (address and
            port), method, path, query, status, reason, counted, key (an alias), the four parameters,
            header_names, and headers: the values of the harmless ones.
        """
        return self._kept().requests()[1]

    def wait_for(self, count: int, timeout: float = 10.0) -> bool:
        """Wait until at least so many events counted.

        Args:
            count: the number of events since the start or the last ``clear()``.
            timeout: seconds.

        Returns:
            Whether they came in time.
        """
        return self._kept().wait_for(count, timeout)

    def script(self, *answers: int | Answer) -> None:
        """Plan the next answers, one each: a status (200: normal handling) or an ``Answer``."""
        self._plan.script(*answers)

    def always(self, answer: int | Answer) -> None:
        """Give one answer to all calls after the script, until ``normally()``."""
        self._plan.always(answer)

    def normally(self) -> None:
        """Forget all planned answers and faults; the latency stays."""
        self._plan.normally()

    def set_faults(self, *faults: str, seed: int | None = None) -> None:
        """Put these faults in the place of those that were; their calls and seconds count from now.

        Args:
            faults: lines such as ``"reset-after times=1"`` (docs/emulator.md).
            seed: of the dice; None for the one that was.

        Raises:
            ValueError: a line is no fault; with what would be one.
        """
        self._plan.replace(parse_all(faults), seed)

    def load_faults(self, document: str | bytes, *faults: str, seed: int | None = None) -> None:
        """Make the plan what a JSON document says (docs/emulator.md).

        Args:
            document: the text.
            faults: further lines, after its own.
            seed: in the place of its own.

        Raises:
            ValueError: it is no such document; with what is wrong in it.
        """
        apply(self._plan, document, faults, seed)

    def load_durations(self, table: bytes) -> None:
        """Take the durations of courses, for the hours of training, from a table in CSV.

        Raises:
            ValueError: it is no such table; with the line that is wrong.
        """
        self._kept().measure(durations.read(table))

    def report(self) -> str:
        """Return the report as text for a terminal."""
        store = self._kept()
        return text(figures(self._mirror), latest(self._mirror, store, refused=True, most=20))

    def clear(self) -> None:
        """Forget what came in; planned answers stay."""
        self._kept().clear()

    def _kept(self) -> Store:
        if self._store is None:
            raise RuntimeError("the emulator does not run: use it inside `with Emulator() as emulator:`")
        return self._store
