"""Counts in sentences."""

from __future__ import annotations


def counted(n: int, one: str, many: str) -> str:
    """The translated sentence for `n`: `one` for 1, else `many`; "{n}" in it is the number.

    Qt's own %n needs a loaded translation even for English, and is not looked up at all
    through `self.tr` of a Python subclass.
    """
    return (one if n == 1 else many).format(n=n)
