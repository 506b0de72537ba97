"""The tallies of an account together: those of the living read, those of the dead added up, old days thrown away.

A file is added up in one step: the day's page that has its counts also has its name, so that who is killed before the
file is removed does not let it count twice. Who reads holds the folder's lock, and so sees each file in one place.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections import defaultdict
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from ocm_otel._tally import COLUMNS, FOLDER, SETTLING, counts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Days for which a day's page is kept: a year, and a month to find out what is wrong with it.
KEPT_DAYS = 400
#: Types that a day's page has one by one.
_MOST_TYPES = 500
_FILE = re.compile(r"(\d{8})-\d+-[0-9a-f]{6}\.tally")
_PAGE = re.compile(r"(\d{8})\.json")
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC

#: Day (``20261123``), type as in a query, hour -> counts.
Rows = dict[tuple[str, str, int], list[int]]


def read(directory: Path) -> tuple[Rows, dict[str, str]]:
    """Return all counts of an account, and which files of it cannot be read, and why.

    Args:
        directory: the account's directory.

    Raises:
        OSError: the folder cannot be read.
    """
    rows: Rows = defaultdict(lambda: [0] * len(COLUMNS))
    bad: dict[str, str] = {}
    folder = directory / FOLDER
    if not folder.is_dir():
        return {}, {}
    with _locked(folder, fcntl.LOCK_SH):
        added: set[str] = set()
        for path, day in _named(folder, _PAGE):
            try:
                page = _read_page(path)
            except (OSError, ValueError) as error:
                bad[path.name] = str(error)
                continue
            added.update(page["from"])
            for kind, hour, row in _rows_of(page):
                _add(rows[day, kind, hour], row)
        for path, day in _named(folder, _FILE):
            if path.name not in added:
                for kind, hour, row in counts(_content(path)):
                    _add(rows[day, kind, hour], row)
    return dict(rows), bad


def fold(folder: Path, *, settling: float = SETTLING) -> None:
    """Add up the files of dead processes, and throw away what is too old; does nothing if somebody else is at it.

    Args:
        folder: the account's folder of tallies.
        settling: seconds after its last change for which a file is left alone.

    Raises:
        OSError: a page cannot be written.
    """
    with _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB) as alone:
        if not alone:
            return
        days: dict[str, list[Path]] = defaultdict(list)
        for path, day in _named(folder, _FILE):
            if _is_dead(path, settling):
                days[day].append(path)
        for day, paths in days.items():
            _add_up(folder / f"{day}.json", day, paths)
        oldest = (datetime.now(timezone.utc) - timedelta(days=KEPT_DAYS)).strftime("%Y%m%d")
        for path, day in _named(folder, _PAGE):
            if day < oldest:
                path.unlink(missing_ok=True)


def _add_up(path: Path, day: str, files: list[Path]) -> None:
    """Put the counts of files into their day's page, and remove them."""
    try:
        page = _read_page(path)
    except ValueError:
        return  # whoever asks is told; the files stay until it is mended or removed
    before = set(page["from"])
    types: dict[str, dict[str, list[int]]] = page["types"]
    for file in files:
        if file.name not in before:
            for kind, hour, row in counts(_content(file)):
                known = kind if kind in types or len(types) < _MOST_TYPES else ""
                _add(types.setdefault(known, {}).setdefault(str(hour), [0] * len(COLUMNS)), row)
    names = sorted({file.name for file in files} | {name for name in before if path.with_name(name).exists()})
    beside = path.with_suffix(".new")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS, 0o600)
    with os.fdopen(handle, "w") as target:
        json.dump({"day": day, "columns": COLUMNS, "from": names, "types": types}, target)
        target.flush()
        os.fsync(target.fileno())
    beside.replace(path)
    for file in files:
        file.unlink(missing_ok=True)


def _is_dead(path: Path, settling: float) -> bool:
    """Return whether nobody counts in a file any more."""
    try:
        handle = os.open(path, os.O_RDONLY | _FLAGS)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return time.time() - os.fstat(handle).st_mtime >= settling
    except BlockingIOError:
        return False
    finally:
        os.close(handle)


def _content(path: Path) -> bytes:
    """Return what is in a file; nothing if it is gone."""
    with suppress(FileNotFoundError), os.fdopen(os.open(path, os.O_RDONLY | _FLAGS), "rb") as file:
        return file.read()
    return b""


def _read_page(path: Path) -> dict[str, Any]:
    """Return a day's page, an empty one if there is none.

    Raises:
        ValueError: it is no page of this version.
    """
    content = _content(path)
    if not content:
        return {"from": [], "types": {}}
    try:
        page: dict[str, Any] = json.loads(content)
        for name in page["from"]:
            if not isinstance(name, str):
                raise TypeError
        for _ in _rows_of(page):
            pass
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ValueError("it is no page of this version") from None
    return page


def _rows_of(page: dict[str, Any]) -> Iterator[tuple[str, int, list[int]]]:
    for kind, hours in page["types"].items():
        for hour, row in hours.items():
            if len(row) != len(COLUMNS) or not all(type(count) is int and count >= 0 for count in row):
                raise ValueError
            yield kind, int(hour) % 24, row


def _add(total: list[int], row: list[int]) -> None:
    for place, count in enumerate(row):
        total[place] += count


def _named(folder: Path, pattern: re.Pattern[str]) -> list[tuple[Path, str]]:
    """Return the files with such a name, and the day in it."""
    found = [(path, pattern.fullmatch(path.name)) for path in sorted(folder.iterdir())]
    return [(path, match[1]) for path, match in found if match]


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[bool]:
    """Hold the folder's lock; yields False if it is not to be had at once and `how` says not to wait."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
    try:
        fcntl.flock(handle, how)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(handle)
