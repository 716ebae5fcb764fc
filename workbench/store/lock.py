"""One program at a time writes to an experiment: a lock file that says who holds it.

The operating system's lock on the file decides; it ends with the process, however that dies. The
text in the file is for the sentence to the second opener, and for disks that cannot lock.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from workbench.data.folders import telling_disk_problems
from workbench.data.processes import is_alive
from workbench.errors import EnvironmentProblem
from workbench.store.database import now

log = logging.getLogger(__name__)

LOCK_NAME = "experiment.lock"
# Windows forbids reading what is locked: lock a byte far behind the text.
_LOCKED_BYTE = 1 << 30


@dataclass(frozen=True, slots=True)
class Holder:
    """The program that writes to an experiment."""

    pid: int
    host: str
    since: str


class ExperimentHeld(EnvironmentProblem):
    """Another program has the experiment open; read-only opening is possible."""

    def __init__(self, folder: Path, holder: Holder) -> None:
        is_here = holder.host == socket.gethostname()
        where = "this computer" if is_here else holder.host
        super().__init__(
            f"{folder.name} is open in another program: process {holder.pid} on {where}, "
            f"since {holder.since[:16].replace('T', ' ')} UTC.",
            "Open it read-only, or close that program first."
            if is_here
            else "Open it read-only, or close that program first. If it is certain that it no "
            f"longer runs, delete {folder / LOCK_NAME}.",
        )
        self.holder = holder


class Lock:
    """The held lock of one experiment folder."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path = path
        self._fd: int | None = fd

    @classmethod
    def acquire(cls, folder: Path) -> Lock:
        """Take the lock, also over from a process of this computer that died.

        Raises:
            ExperimentHeld: Another program holds it.
            EnvironmentProblem: The folder cannot be written.
        """
        path = folder / LOCK_NAME
        with telling_disk_problems(path):
            while True:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
                try:
                    _take(fd, folder)
                    if _is_current(fd, path):
                        _write(fd, Holder(os.getpid(), socket.gethostname(), now()))
                        return cls(path, fd)
                except BaseException:
                    os.close(fd)
                    raise
                # The holder before us removed the file between our open and our lock.
                os.close(fd)

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._fd is None:
            return
        os.ftruncate(self._fd, 0)
        if sys.platform != "win32":
            # While it is still locked: a new file is a new lock.
            self._path.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = None


def _take(fd: int, folder: Path) -> None:
    answer = _try_lock(fd)
    holder = _read(fd)
    if answer == "refused" or (holder and _may_live(holder, is_locked=answer == "locked")):
        raise ExperimentHeld(folder, holder or Holder(0, "an unknown computer", "an unknown time"))
    if holder:
        log.warning("took over the lock of process %d, which died", holder.pid)


def _try_lock(fd: int) -> Literal["locked", "refused", "unsupported"]:
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return "refused"
    except OSError as error:
        log.warning("this disk cannot lock files (%s): only the lock file protects it", error)
        return "unsupported"
    return "locked"


def _may_live(holder: Holder, *, is_locked: bool) -> bool:
    """Whether the holder that the file names may still be at work though we got the lock.

    Of this computer it cannot, when the system's lock is ours: a living process with that id is
    another one. Of another computer nobody can tell, since not every disk shares locks.
    """
    if holder.host != socket.gethostname():
        return True
    return not is_locked and is_alive(holder.pid)


def _is_current(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _read(fd: int) -> Holder | None:
    os.lseek(fd, 0, os.SEEK_SET)
    try:
        content = json.loads(os.read(fd, 4096))
        return Holder(int(content["pid"]), str(content["host"]), str(content["since"]))
    except (ValueError, KeyError, TypeError):
        return None


def _write(fd: int, holder: Holder) -> None:
    os.ftruncate(fd, 0)
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, json.dumps(asdict(holder)).encode())
    os.fsync(fd)
