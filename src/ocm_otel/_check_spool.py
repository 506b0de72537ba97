"""Can events wait on this disk? A look at the spool directory that makes, marks and removes nothing.

It knows the spool from outside: whose it is, how much room there is, and what kind of file system it is on.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ocm_otel._account import UnusableSpool
from ocm_otel._census import Census, Standing
from ocm_otel._findings import Finding, fine, problem, warning
from ocm_otel._setting import PREFIX
from ocm_otel._terminal import in_bytes, in_time, plain
from ocm_otel._values import SettingsError

if TYPE_CHECKING:
    from ocm_otel._settings import Settings

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ncpfs",
    "afs",
    "9p",
    "ceph",
    "lustre",
    "glusterfs",
    "gfs2",
    "ocfs2",
    "beegfs",
    "davfs",
    "fuse.sshfs",
    "fuse.glusterfs",
    "fuse.s3fs",
    "fuse.ceph",
}
_PASSING = {
    "tmpfs": "in memory (tmpfs): what waits is lost when the machine restarts",
    "ramfs": "in memory (ramfs): what waits is lost when the machine restarts",
    "overlay": "in a container's own layer: what waits is lost with the container",
}
#: Free bytes below which not even some ledgers can be made; a ledger has at most 8 MiB.
_LEAST_FREE = 16 * 1024 * 1024
_ANOTHER = f"Set {PREFIX}SPOOL_DIR to a directory that only the application's user can write to."
_LOCAL = f"Set {PREFIX}SPOOL_DIR to a directory on a local disk (in a container, on a volume)."


def look(settings: Settings, key: str, *, now: float) -> list[Finding]:
    """Return what there is to say of the spool of an account."""
    if settings.durability == "memory":
        return [fine("spool", "none: durability is `memory`, so what waits ends with the process")]
    try:
        root = settings.spool()
        standing = Standing(root, settings.endpoint, key)
        census = standing.census()
        used = standing.bytes_used() if census.there else 0
        near = _nearest(root)
        free = _free(near)
    except (SettingsError, OSError) as error:
        said = "; events would wait in memory and end with the process"
        return [problem("spool", f"it cannot be used: {plain(str(error))}{said}", _ANOTHER)]
    findings = [_place(root, near), *judge_room(used, free, settings.spool_max_bytes)]
    if kind := kind_of(near.resolve(), _mounts()):
        findings += judge_kind(kind)
    return [*findings, *_owed(census, now)]


def _nearest(root: Path) -> Path:
    """Return the spool directory, or the directory above it that is there and in which it will be made.

    Raises:
        UnusableSpool: it could not be made there.
    """
    near = root.absolute()
    while not near.exists():
        near = near.parent
    if not near.is_dir() or not os.access(near, os.W_OK | os.X_OK):
        msg = f"{near} cannot be written to"
        raise UnusableSpool(msg)
    return near


def _place(root: Path, near: Path) -> Finding:
    said = "only this user can write to it" if near == root.absolute() else "it is not there yet, and can be made"
    return fine("spool", f"{plain(str(root))}: {said}")


def _free(path: Path) -> int:
    """Return the bytes that this user may still write."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def judge_room(used: int, free: int, most: int) -> list[Finding]:
    """Return whether there is room.

    Args:
        used: bytes that the account's ledgers take.
        free: bytes that the disk has left.
        most: bytes that the settings allow the ledgers together.
    """
    said = f"{in_bytes(used)} of at most {in_bytes(most)} are in use, and the disk has {in_bytes(free)} free"
    if used >= most:
        return [
            problem(
                "room",
                f"{said}: no further event is accepted",
                f"See why they wait (`ocm-otel spool list`), or raise {PREFIX}SPOOL_MAX_BYTES.",
            )
        ]
    if free < _LEAST_FREE:
        return [problem("room", said, "Make room on the disk: no event can be accepted without.")]
    if free < most - used:
        return [
            warning(
                "room",
                f"{said}: the disk will be full before the limit is reached",
                f"Make room, or lower {PREFIX}SPOOL_MAX_BYTES.",
            )
        ]
    if used > most * 0.8:
        return [warning("room", said, "See why so many events wait: `ocm-otel spool list`.")]
    return [fine("room", said)]


def _mounts() -> str:
    """Return what the kernel says of its mounts; nothing where there is no such file."""
    try:
        return _MOUNTS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def kind_of(path: Path, mounts: str) -> str:
    r"""Return the kind of file system that a path is on; nothing if that cannot be said.

    Args:
        path: absolute, without links.
        mounts: as ``/proc/self/mountinfo`` has it (proc(5)): the fifth word of a line is the place, with spaces
            as ``\040``; the word after the lone ``-`` the kind.
    """
    best, kind = -1, ""
    for line in mounts.splitlines():
        head, _, tail = line.partition(" - ")
        words = head.split()
        if len(words) < 5 or not tail:
            continue
        place = Path(words[4].replace("\\040", " "))
        if path.is_relative_to(place) and len(place.parts) >= best:  # of two on one place, the later one is seen
            best, kind = len(place.parts), tail.split()[0]
    return kind


def judge_kind(kind: str) -> list[Finding]:
    """Return what to know of a kind of file system; nothing of the usual ones."""
    if kind in _NETWORK:
        return [
            warning(
                "disk",
                f"the spool is on a network file system ({kind}), where locks and mapped files cannot be relied on",
                _LOCAL,
            )
        ]
    if kind in _PASSING:
        return [warning("disk", f"the spool is {_PASSING[kind]}", _LOCAL)]
    return []


def _owed(census: Census, now: float) -> list[Finding]:
    """Return what waits already, and what was refused."""
    findings = []
    left, living = (sum(one.owed for one in census.holdings if one.living is alive) for alive in (False, True))
    oldest = min((one.oldest for one in census.holdings if one.oldest is not None), default=now)
    if left:
        findings.append(
            warning(
                "owed",
                f"{left} events were left behind by processes that died, the oldest {in_time(now - oldest)} ago",
                "The application's next process delivers them, or `ocm-otel spool drain`.",
            )
        )
    elif living:
        findings.append(
            fine("owed", f"{living} events wait in living processes, the oldest for {in_time(now - oldest)}")
        )
    if refused := sum(census.refused.values()):
        findings.append(
            warning(
                "refused",
                f"{refused} events were refused by the API, and are kept",
                "Look at them: `ocm-otel spool show`.",
            )
        )
    return findings
