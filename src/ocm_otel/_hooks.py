"""Hooks in the libraries that we are a guest of: something is added to a function of theirs until it is taken off.

OpenTelemetry and structlog are set up by the application, often after us, and neither of them tells when. So
the public functions that set them up are stood in for, as OpenTelemetry's own instrumentations do it. A hook
never keeps the function from doing its work; one that is taken off while somebody else stands in for our
stand-in stays where it is and adds nothing any more.
"""

from __future__ import annotations

import functools
import sys
import weakref
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


_Listener = TypeVar("_Listener")


class Undone(Protocol):
    """What can be taken off again."""

    def undo(self) -> None:
        """Take it off."""


class Instead:
    """Something that stands in the place of what another library has there, until `undo`.

    Args:
        owner: the module or class that has it.
        name: its name there.
        what: stands in its place, and does all that it did.
    """

    def __init__(self, owner: object, name: str, what: object) -> None:
        self._owner, self._name, self._what, self._original = owner, name, what, getattr(owner, name)
        setattr(owner, name, what)

    def undo(self) -> None:
        """Put back what was there, unless somebody else has put something in its place by now."""
        if vars(self._owner).get(self._name) is self._what:
            setattr(self._owner, self._name, self._original)


class Hook:
    """Something that is added to a function of another library, until `undo`.

    Args:
        owner: the module or class that has the function.
        name: the function's name there.
        around: called in its place, with the function itself before the caller's own arguments.
    """

    def __init__(self, owner: object, name: str, around: Callable[..., Any]) -> None:
        original = getattr(owner, name)
        self._on = True

        @functools.wraps(original)
        def hooked(*args: Any, **kwargs: Any) -> Any:
            return around(original, *args, **kwargs) if self._on else original(*args, **kwargs)

        self._instead = Instead(owner, name, hooked)

    def undo(self) -> None:
        """Take the hook off; afterwards the function is what it was."""
        self._on = False
        self._instead.undo()


class Wanted(Generic[_Listener]):
    """Hooks that are on as long as there is somebody who wants to hear of what they see.

    Args:
        begin: puts the hooks on and returns them.
    """

    def __init__(self, begin: Callable[[], list[Undone]]) -> None:
        self._begin = begin
        self._hooks: list[Undone] = []
        self._listeners: dict[weakref.ref[Any], _Listener] = {}

    def add(self, owner: object, listener: _Listener) -> None:
        """Let somebody hear, as long as `owner` lives; with the first one the hooks are put on."""
        self._listeners[weakref.ref(owner, self._forget)] = listener
        if not self._hooks:
            self._hooks = self._begin()

    def remove(self, owner: object) -> None:
        """Let somebody hear no more; with the last one the hooks are taken off."""
        self._forget(weakref.ref(owner))

    def _forget(self, owner: weakref.ref[Any]) -> None:
        self._listeners.pop(owner, None)
        if not self._listeners:
            for hook in self._hooks:
                hook.undo()
            self._hooks.clear()

    def owners(self) -> list[Any]:
        """Return those for whom somebody listens, the oldest first."""
        return [owner for ref in tuple(self._listeners) if (owner := ref()) is not None]

    def listeners(self) -> tuple[_Listener, ...]:
        """Return those who listen, the oldest first."""
        return tuple(self._listeners.values())


class _Waiting:
    """Finds one module as the others do, and calls back when it has been executed."""

    def __init__(self, name: str, then: Callable[[], None]) -> None:
        self._name, self._then = name, then

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        loader: Any = spec and spec.loader
        try:
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                self._then()

            loader.exec_module = exec_module
        except AttributeError:  # there is no such module, or a loader that takes no addition: the import goes on
            return spec
        return spec


def when_imported(name: str, then: Callable[[], None]) -> None:
    """Call `then` as soon as a top-level module is imported; at once, if it is already.

    Args:
        name: the module.
        then: what is called, once; it must not raise, or the import would.
    """
    if name in sys.modules:
        then()
    else:
        sys.meta_path.insert(0, _Waiting(name, then))
