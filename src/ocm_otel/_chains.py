"""Our processor in structlog's chains: those that are configured, and those that will be.

It is put right after `merge_contextvars`, so that what is bound to the context is seen and no filter of levels
stands before it; where that is not in the chain, it comes first. A chain that has an `OCMProcessor` stays as it
is. The chain that is configured when we come is extended in place, for loggers that were cached keep the list
itself; one that is given later is copied, and the application's own list stays as it is. structlog is not
imported for all this: an application that does not use it does not pay for it.

Out of reach are loggers that were cached with a chain that is no list, `from structlog import configure` before us
with a call of it after us, and a `BoundLogger` that is constructed by hand.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ocm_otel._doors import is_shut, last_resort, shut
from ocm_otel._hidden import hidden
from ocm_otel._hooks import Hook, when_imported
from ocm_otel.structlog import OCMProcessor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ocm_otel._outbox import Outbox

#: Functions that are given a chain, and which of their arguments it is.
_GIVEN = {"configure": 0, "configure_once": 0, "wrap_logger": 1}


class Chains:
    """Structlog's chains, and our one processor in them."""

    def __init__(self) -> None:
        self._processor: OCMProcessor | None = None
        self._hooks: list[Hook] = []

    def watch(self, outbox: Outbox) -> None:
        """Put our processor into the chain that is configured, and into those that will be.

        Args:
            outbox: where the events go.
        """
        if self._processor is None:
            self._processor = OCMProcessor(outbox=outbox)
            when_imported("structlog", self._begin)

    def leave(self) -> None:
        """Take our processor out of the configured chain; elsewhere it lets no more events through."""
        if self._processor is None:
            return
        for hook in self._hooks:
            hook.undo()
        self._hooks.clear()
        chain = self._configured()
        if isinstance(chain, list) and self._processor in chain:
            chain.remove(self._processor)
        shut(self._processor)
        hidden.leave(self._processor)
        self._processor = None

    def _begin(self) -> None:
        """Hook what sets structlog up, and extend the chain that is there."""
        try:
            if self._processor is None or self._hooks:
                return
            import structlog

            self._hooks = [Hook(structlog, name, self._given(at)) for name, at in _GIVEN.items()]
            self._hooks.append(Hook(structlog, "reset_defaults", self._then_extend))
            self._hooks.append(Hook(structlog.stdlib, "recreate_defaults", self._then_extend))
            self._extend_configured()
        except Exception as error:  # noqa: BLE001 - the border to the application: an import, say; counted
            last_resort.add("failed_door", type(error).__name__)

    def _configured(self) -> Any:
        structlog = sys.modules.get("structlog")
        return None if structlog is None else structlog.get_config()["processors"]

    def _extend_configured(self) -> None:
        chain = self._configured()
        if isinstance(chain, list):
            at = self._place(chain)
            if at is not None:
                chain.insert(at, self._processor)
        else:
            import structlog

            structlog.configure(processors=chain)  # which is hooked by now

    def _place(self, chain: Iterable[Any]) -> int | None:
        """Return where in a chain our processor belongs; None if one of us is there."""
        at = 0
        for index, processor in enumerate(chain):
            if isinstance(processor, OCMProcessor) and not is_shut(processor):
                return None
            if getattr(processor, "__name__", "") == "merge_contextvars":
                at = index + 1
        return at

    def _extended(self, chain: Any) -> Any:
        """Return a copy of a chain with our processor, or the chain itself if it needs none."""
        try:
            copy = list(chain)
            at = self._place(copy)
        except Exception as error:  # noqa: BLE001 - what is no chain is structlog's to complain of; counted
            last_resort.add("failed_door", type(error).__name__)
            return chain
        if at is None:
            return chain if isinstance(chain, list) else copy  # an iterator has been used up by now
        copy.insert(at, self._processor)
        return copy

    def _given(self, position: int) -> Callable[..., Any]:
        """Return what stands around a function that is given a chain as `processors` or at `position`."""

        def around(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            if kwargs.get("processors") is not None:
                kwargs["processors"] = self._extended(kwargs["processors"])
            elif len(args) > position and args[position] is not None:
                args = (*args[:position], self._extended(args[position]), *args[position + 1 :])
            return original(*args, **kwargs)

        return around

    def _then_extend(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        done = original(*args, **kwargs)
        try:
            self._extend_configured()
        except Exception as error:  # noqa: BLE001 - the border to the application; counted
            last_resort.add("failed_door", type(error).__name__)
        return done


#: The process's chains.
chains = Chains()
