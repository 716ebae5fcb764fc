"""Python files of the user that rewards may run: allowed one by one, by their exact content.

The permission is the user's on this machine, so it lies beside their settings and not in the
experiment: whoever is given an experiment is asked again.
"""

from __future__ import annotations

import ast
import hashlib
import json
import logging
from pathlib import Path

from workbench import places
from workbench.data.folders import write_atomic
from workbench.errors import UserError

log = logging.getLogger(__name__)


def allow(path: Path) -> str:
    """Allow the file as it is now; a change of it ends the permission. Its SHA-256.

    Raises:
        UserError: It cannot be read, or is no Python.
    """
    functions(path)
    digest = digest_of(path)
    _write({**_allowed(), digest: str(path.resolve())})
    return digest


def forbid(path: Path) -> None:
    """Take the permission of the file as it is now, and of what it was before, away."""
    digest, name = digest_of(path), str(path.resolve())
    _write({d: p for d, p in _allowed().items() if d != digest and p != name})


def is_allowed(path: Path) -> bool:
    """Whether the file as it is now may run.

    Raises:
        UserError: It cannot be read.
    """
    return is_digest_allowed(digest_of(path))


def is_digest_allowed(digest: str) -> bool:
    """Whether a file with this SHA-256 may run."""
    return digest in _allowed()


def digest_of(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        UserError: It cannot be read.
    """
    return hashlib.sha256(_content(path)).hexdigest()


def functions(path: Path) -> list[str]:
    """The functions that a file defines, without running it.

    Raises:
        UserError: It cannot be read, or is no Python.
    """
    try:
        tree = ast.parse(_content(path))
    except (SyntaxError, ValueError, RecursionError) as error:
        raise UserError(f"{path.name} is no Python: {error}.", "Correct it.") from None
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}.", "Check the path of the file."
        ) from None


def _allowed() -> dict[str, str]:
    """Path by digest; nothing where the list is damaged."""
    try:
        values = json.loads(_path().read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("the list of allowed functions cannot be read: %s", error)
        return {}
    return {str(k): str(v) for k, v in values.items()} if isinstance(values, dict) else {}


def _write(allowed: dict[str, str]) -> None:
    _path().parent.mkdir(parents=True, exist_ok=True)
    write_atomic(_path(), json.dumps(allowed, indent=1, ensure_ascii=False).encode())


def _path() -> Path:
    return places.home_dir() / "allowed_functions.json"
