"""A board in memory, for paces that act in concert in virtual time."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ocm_otel._outlook import Outlook


class Slate:
    """What was written last, to be read by all."""

    def __init__(self) -> None:
        self.outlook: Outlook | None = None

    def read(self) -> Outlook | None:
        return self.outlook

    def write(self, outlook: Outlook) -> None:
        self.outlook = outlook

    def alone(self) -> AbstractContextManager[None]:
        return nullcontext()
