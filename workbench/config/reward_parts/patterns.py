"""Regular expressions of a user that cannot hang a run: each search has a time limit."""

from __future__ import annotations

from typing import Any

import regex

LIMIT_S = 0.5
_LONGEST = 500
_PROBE_S = 0.05
# Long enough for a cubic pattern to be found out, and each step four times the one before, so
# that an exponential one is found out early.
_PROBE_SIZES = (8, 16, 24, 32, 128, 512, 2048)
_COMMON = ("a", "0", " ", "\n", "好", "ab", "a ", "0.")


def compiled(pattern: str, *, is_case_sensitive: bool = True) -> Any:
    """The pattern.

    Raises:
        ValueError: It is no pattern; the sentence says where.
    """
    if len(pattern) > _LONGEST:
        raise ValueError(f"pattern: Must have at most {_LONGEST} characters.")
    try:
        return regex.compile(pattern, 0 if is_case_sensitive else regex.IGNORECASE)
    except regex.error as error:
        where = "" if error.pos is None else f" at character {error.pos + 1}"
        raise ValueError(f"pattern: Is no regular expression: {error.msg}{where}.") from None


def slowness(pattern: str) -> str:
    """Why a pattern is refused, as a sentence; empty for one that is quick on every probe.

    The probes repeat what the pattern itself names, up to 2,048 times, and end with what it can
    hardly expect: that is what makes a pattern try every way to read a text.
    """
    wanted = compiled(pattern)
    letters = dict.fromkeys(c for c in pattern if c.isalnum() or c.isspace())
    for unit in dict.fromkeys((*letters, *_COMMON)):
        for size in _PROBE_SIZES:
            text = unit * (size // len(unit)) + "\x01"
            try:
                wanted.search(text, timeout=_PROBE_S)
            except TimeoutError:
                return (
                    f"Takes too long on {size} characters of {unit!r}. Take care with repeats "
                    "inside repeats, such as (a+)+."
                )
    return ""
