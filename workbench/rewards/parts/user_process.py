"""Calls a function of a user's Python file: one JSON line in, one JSON line out, per answer.

This file is run by itself, in a process of its own, so that whatever the function does (ends the
process, prints, hangs) cannot harm a training run. It imports nothing of this program.
"""

from __future__ import annotations

import json
import os
import traceback
from typing import Any, TextIO

_LAST_CALLS = -3


def main() -> None:
    """Answer questions from standard input until it closes; the first line is the file itself."""
    # What the function prints goes to standard error: standard output carries the answers only.
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    asked = os.fdopen(os.dup(0), encoding="utf-8")
    try:
        function = _load(**json.loads(asked.readline()))
    except BaseException:  # noqa: BLE001 - the file may do anything, and sys.exit too
        _tell(told, {"error": traceback.format_exc(limit=_LAST_CALLS)})
        return
    _tell(told, {"value": 0.0})
    for line in asked:
        prompt, answer = json.loads(line)
        try:
            reply = _said(function(prompt, answer))
        except BaseException:  # noqa: BLE001 - as above
            reply = {"error": traceback.format_exc(limit=_LAST_CALLS)}
        _tell(told, reply)


def _load(source: str, path: str, name: str) -> Any:
    names = {"__name__": "reward_function", "__file__": path}
    exec(compile(source, path, "exec"), names)
    return names[name]


def _said(value: Any) -> dict[str, Any]:
    """A number, also one of NumPy or torch; anything else is told as it looks."""
    if isinstance(value, str | bytes | bool) or not hasattr(value, "__float__"):
        return {"other": repr(value)[:200]}
    return {"value": float(value)}


def _tell(file: TextIO, reply: dict[str, Any]) -> None:
    file.write(json.dumps(reply) + "\n")
    file.flush()


if __name__ == "__main__":
    main()
