"""How pages spell numbers, intervals, times and states: one spelling for the whole window."""

from __future__ import annotations

import math
from datetime import datetime

from PySide6.QtCore import QCoreApplication

from workbench.ui.widgets.basics import Status

MISSING = "–"
"""Stands for "not measured" in every table; never 0."""


def _tr(text: str) -> str:
    return QCoreApplication.translate("wording", text)


def number(value: object, digits: int = 2) -> str:
    """A number with a true minus sign and fixed digits; a dash for no number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return MISSING
    text = str(value) if isinstance(value, int) else f"{value:.{digits}f}"
    if text.startswith("-"):
        # What rounds to nothing has no sign.
        return "−" + text[1:] if text.strip("-0.") else text[1:]
    return text


def percent(share: object) -> str:
    """A share in [0, 1] as "63 %"; a dash for no number."""
    if not isinstance(share, int | float) or math.isnan(share):
        return MISSING
    return f"{100 * share:.0f} %"


def percent_interval(share: float, low: float, high: float) -> str:
    """A share with its interval as tables write it: "63 % [54, 71]"."""
    return f"{percent(share)} [{100 * low:.0f}, {100 * high:.0f}]"


def interval_sentence(low: float, high: float) -> str:
    """The interval as banners write it: "95 % interval 54 to 71 %"."""
    return _tr("95 % interval {low} to {high} %").format(
        low=f"{100 * low:.0f}", high=f"{100 * high:.0f}"
    )


def count(n: int) -> str:
    """A large number in thousands, millions or billions, as model cards write it: "135 M"."""
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if n >= limit:
            value = n / limit
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return str(n)


def size(n_bytes: float) -> str:
    """A size in MB or GB."""
    if n_bytes >= 1e9:
        return f"{n_bytes / 1e9:.1f} GB"
    if n_bytes >= 1e5:
        return f"{n_bytes / 1e6:.1f} MB"
    return f"{n_bytes / 1e3:.0f} kB"


def moment(iso: str | None) -> str:
    """A stored UTC time as the user's clock shows it: "today 14:02", else the date."""
    if not iso:
        return MISSING
    then = datetime.fromisoformat(iso).astimezone()
    if then.date() == datetime.now().astimezone().date():
        return _tr("today {time}").format(time=f"{then:%H:%M}")
    return f"{then:%Y-%m-%d %H:%M}"


def status_badge(name: str) -> tuple[Status, str]:
    """Kind and word of a run's status as a badge shows it."""
    kind, word = status(name)
    return kind, word[:1].upper() + word[1:]


def status(name: str) -> tuple[Status, str]:
    """Badge kind and word of a run's status."""
    words: dict[str, tuple[Status, str]] = {
        "queued": ("neutral", _tr("waiting")),
        "running": ("info", _tr("running")),
        "paused": ("warn", _tr("paused")),
        "done": ("ok", _tr("finished")),
        "stopped": ("warn", _tr("stopped")),
        "failed": ("bad", _tr("failed")),
        "interrupted": ("warn", _tr("interrupted")),
    }
    return words.get(name, ("neutral", name))
