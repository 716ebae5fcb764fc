"""Folders and files that are on the disk complete, or not at all.

A folder is written under a temporary name, every file is synced, MANIFEST.json with the SHA-256
of each file comes last, and only then the folder gets its name. A crash at any moment leaves a
`.partial` folder that nothing takes for whole and that `clean_leftovers` removes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from workbench.data.processes import is_alive
from workbench.errors import EnvironmentProblem, UserError

log = logging.getLogger(__name__)

MANIFEST = "MANIFEST.json"
GUIDANCE = "q_heads.safetensors"  # beside an adapter whose answers are sampled with value heads
_BLOCK = 1 << 20
_LEFTOVER = re.compile(r"^\.(?P<name>.+)\.(?P<pid>\d+)-[0-9a-f]{8}\.(?P<kind>partial|old)$")
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def atomic_folder(target: Path, *, is_replacing: bool = False) -> Iterator[Path]:
    """Give a temporary folder to write into; at a clean exit it becomes `target`, complete.

    Args:
        target: The folder to make. An empty folder of this name is taken over.
        is_replacing: Whether a whole folder of ours (with a manifest and nothing beside what it
            lists) may be replaced. Anything else that exists is refused, never overwritten.

    Yields:
        The temporary sibling folder; it is removed when the body raises.

    Raises:
        UserError: `target` exists and may not be replaced.
        EnvironmentProblem: The disk is full or the folder cannot be written.
    """
    refuse_existing(target, is_replacing)
    partial = _sibling(target, "partial")
    with telling_disk_problems(target):
        partial.mkdir(parents=True)
        try:
            yield partial
            _seal(partial)
            _put_in_place(partial, target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that after a crash it holds the old content or the new, never a part.

    Raises:
        EnvironmentProblem: The disk is full or the folder cannot be written.
    """
    partial = _sibling(path, "partial")
    with telling_disk_problems(path):
        try:
            _write_synced(partial, content)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def verify(folder: Path) -> list[str]:
    """Sentences on what is wrong with a folder made by `atomic_folder`; empty when it is whole.

    Files that the manifest does not list (a file manager's, a user's note) are no problem.
    """
    try:
        listed = _read_manifest(folder)
    except FileNotFoundError:
        return [f"{folder.name} is not complete: it has no {MANIFEST}."]
    except (ValueError, OSError) as error:
        return [f"{folder.name}: {MANIFEST} cannot be read ({error})."]
    return [problem for name, entry in listed.items() if (problem := _check(folder, name, entry))]


def digest_folder(folder: Path) -> str:
    """SHA-256 over names, sizes and SHA-256 of all files: that of MANIFEST.json, if there is one.

    Equal for a folder and its copy, and for a folder with and without its manifest.
    """
    try:
        content = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        content = _manifest(folder)
    return hashlib.sha256(content).hexdigest()


def leftovers(root: Path) -> list[Path]:
    """Half-written folders and files under `root` whose writer no longer runs."""
    return sorted(
        path
        for path in root.rglob(".*")
        if (found := _LEFTOVER.match(path.name)) and not is_alive(int(found["pid"]))
    )


def clean_leftovers(root: Path) -> list[Path]:
    """Remove what a crash left under `root`, and give back what was removed.

    A whole folder that had been moved aside for its successor goes back to its name when the
    successor never took its place.
    """
    found = leftovers(root)
    for path in found:
        match = _LEFTOVER.match(path.name)
        original = path.with_name(match["name"]) if match else path
        if match and match["kind"] == "old" and not original.exists():
            path.rename(original)
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        log.info("removed the leftover of a crash: %s", path)
    return found


@contextmanager
def telling_disk_problems(path: Path) -> Iterator[None]:
    """Turn an `OSError` about writing `path` into a sentence for the user."""
    try:
        yield
    except OSError as error:
        raise disk_problem(error, path) from error


def disk_problem(error: OSError, path: Path) -> EnvironmentProblem:
    """The sentence for an operating system's refusal to write `path`."""
    if error.errno in _FULL:
        return EnvironmentProblem(
            f"The disk is full: {path.name} could not be written to {path.parent}.",
            "Nothing that was there before is lost. Free some space and try again.",
        )
    if error.errno in _REFUSED:
        return EnvironmentProblem(
            f"{path.name} could not be written: {path.parent} is read-only for this user.",
            "Nothing was changed. Choose another folder, or allow writing to this one.",
        )
    return EnvironmentProblem(
        f"{path.name} could not be written to {path.parent}: {error.strerror or error}.",
        "Nothing that was there before is lost. Check the disk and try again.",
    )


def _sibling(target: Path, kind: str) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.{kind}")


def refuse_existing(target: Path, is_replacing: bool = False) -> None:
    """Check that a folder may be written there; see `atomic_folder`.

    Raises:
        UserError: Something is there.
    """
    if not target.exists() or _is_empty_folder(target):
        return
    if is_replacing and _is_ours(target):
        return
    raise UserError(
        f"{target} is already there and is not overwritten.",
        "Choose another name, or move that folder away first.",
    )


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and next(path.iterdir(), None) is None


def _is_ours(folder: Path) -> bool:
    try:
        listed = _read_manifest(folder)
    except (ValueError, OSError):
        return False
    return {name for name, _ in _files(folder)} <= listed.keys()


def _seal(folder: Path) -> None:
    for _, path in _files(folder):
        _sync_file(path)
    _write_synced(folder / MANIFEST, _manifest(folder))
    for path in [p for p in folder.rglob("*") if p.is_dir()] + [folder]:
        _sync_folder(path)


def _put_in_place(partial: Path, target: Path) -> None:
    old: Path | None = None
    if _is_empty_folder(target):
        target.rmdir()
    elif target.exists():
        old = _sibling(target, "old")
        target.rename(old)
    partial.rename(target)
    _sync_folder(target.parent)
    if old:
        shutil.rmtree(old, ignore_errors=True)


def _files(folder: Path) -> list[tuple[str, Path]]:
    found = ((p.relative_to(folder).as_posix(), p) for p in folder.rglob("*") if not p.is_dir())
    return sorted((name, path) for name, path in found if name != MANIFEST)


def _manifest(folder: Path) -> bytes:
    files = {
        name: {"sha256": _sha256(path), "size": path.stat().st_size}
        for name, path in _files(folder)
    }
    text = json.dumps({"format": 1, "files": files}, indent=1, ensure_ascii=False)
    return text.encode()


def _read_manifest(folder: Path) -> dict[str, dict[str, object]]:
    content = json.loads((folder / MANIFEST).read_bytes())
    files = content.get("files") if isinstance(content, dict) else None
    if not isinstance(files, dict) or not all(isinstance(e, dict) for e in files.values()):
        raise ValueError("it does not list files")
    return files


def _check(folder: Path, name: str, entry: dict[str, object]) -> str:
    if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
        return f"{folder.name}: the manifest names a file outside the folder ({name})."
    path = folder / name
    if not path.is_file():
        return f"{folder.name}: {name} is missing."
    if path.stat().st_size != entry.get("size"):
        return f"{folder.name}: {name} has another size than when it was written."
    if _sha256(path) != entry.get("sha256"):
        return f"{folder.name}: {name} has changed since it was written."
    return ""


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        _sync(file.fileno())


def _sync_file(path: Path) -> None:
    # Windows refuses to sync a handle that cannot write.
    fd = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        _sync(fd)
    finally:
        os.close(fd)


def _sync_folder(path: Path) -> None:
    """Make renames and new names in `path` durable; Windows does this by itself."""
    if sys.platform == "win32":
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync(fd: int) -> None:
    if sys.platform == "darwin":
        import fcntl

        # fsync on macOS stops at the drive's cache.
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fsync(fd)
