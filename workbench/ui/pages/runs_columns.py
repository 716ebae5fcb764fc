"""The columns of the table of runs."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication
from PySide6.QtGui import QIcon

from workbench.app.run_table import RunRow
from workbench.config.algorithms import ALGORITHMS, REWARD
from workbench.data.records import Run
from workbench.ui.pages.run_details import differing
from workbench.ui.pages.run_facts import heldout, reason, win_rates
from workbench.ui.pages.runs_table import RunColumn
from workbench.ui.pages.wording import MISSING, moment, number, percent_interval, status
from workbench.ui.theme import theme

REWARD_FIGURE, KL_FIGURE = "objective/scores", "objective/kl"


def _tr(text: str) -> str:
    return QCoreApplication.translate("runs", text)


def run_columns() -> list[RunColumn]:
    """All of them; those at the end go first where there is little room."""
    return [
        RunColumn(_tr("Run"), lambda r: r.run.name, value=lambda r: r.run.name),
        RunColumn(
            _tr("State"),
            lambda r: _word(r.run),
            "interrupted",
            icon=_icon,
            tooltip=lambda r: reason(r.run) or _word(r.run),
            value=lambda r: _word(r.run),
        ),
        RunColumn(_tr("Updates"), _updates, "0000 / 0000", True, value=_n_updates),
        RunColumn(
            _tr("Reward"),
            lambda r: number(r.final(REWARD_FIGURE)),
            "−00.00",
            True,
            value=lambda r: r.final(REWARD_FIGURE),
        ),
        RunColumn(
            _tr("KL, nats"),
            lambda r: number(r.final(KL_FIGURE)),
            "KL, nats",
            True,
            value=lambda r: r.final(KL_FIGURE),
        ),
        RunColumn(
            _tr("Held-out or win rate"),
            lambda r: _share_text(r.run),
            "000 % [00, 00]",
            True,
            is_optional=True,
            value=lambda r: _share(r.run),
        ),
        RunColumn(
            _tr("Tags"),
            lambda r: ", ".join(r.run.tags) or MISSING,
            "tag, other",
            is_optional=True,
            value=lambda r: ", ".join(r.run.tags) or None,
        ),
        RunColumn(
            _tr("Note"),
            lambda r: r.run.note or MISSING,
            "a note of a few words",
            is_optional=True,
            value=lambda r: r.run.note or None,
        ),
        RunColumn(
            _tr("Seed"),
            lambda r: MISSING if r.seed is None else str(r.seed),
            "0000",
            True,
            is_optional=True,
            value=lambda r: r.seed,
        ),
        RunColumn(
            _tr("Duration"),
            lambda r: span(r.seconds),
            "00:00:00",
            True,
            is_optional=True,
            tooltip=lambda _: _tr("From start to end, waiting and pauses included"),
            value=lambda r: r.seconds,
        ),
        RunColumn(
            _tr("Kind"),
            lambda r: kind(r.run),
            "Reward model",
            is_optional=True,
            value=lambda r: kind(r.run),
        ),
        RunColumn(
            _tr("Algorithm"),
            lambda r: algorithm(r.run),
            "Reward model",
            is_optional=True,
            value=lambda r: algorithm(r.run),
        ),
        RunColumn(
            _tr("Started"),
            lambda r: moment(r.run.created_at),
            "0000-00-00 00:00",
            is_optional=True,
            value=lambda r: r.run.created_at,
        ),
        RunColumn(
            _tr("Settings"),
            lambda r: _summary(r.run),
            "Updates 20, Learning rate 0.001,",
            is_optional=True,
            value=lambda r: _summary(r.run),
        ),
    ]


def kind(run: Run) -> str:
    """What a run makes."""
    words = {
        "policy": _tr("Policy"),
        "reward": _tr("Reward model"),
        "evaluation": _tr("Evaluation"),
    }
    return words[run.kind]


def algorithm(run: Run) -> str:
    """How, as the window calls it."""
    known = {**ALGORITHMS, REWARD.name: REWARD}.get(run.algorithm)
    return known.title if known else run.algorithm.replace("-", " ").capitalize()


def span(seconds: float | None) -> str:
    """A time as h:mm:ss, or m:ss."""
    if seconds is None:
        return MISSING
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _word(run: Run) -> str:
    return status(run.status)[1]


def _icon(row: RunRow) -> QIcon | None:
    return theme().status_icon(status(row.run.status)[0])


def _n_updates(row: RunRow) -> int | None:
    return row.updates if row.run.kind == "policy" else None


def _updates(row: RunRow) -> str:
    if row.run.kind != "policy":
        return MISSING
    return f"{row.updates or 0} / {row.run.settings.get('updates', MISSING)}"


def _share(run: Run) -> float | None:
    held = heldout(run)
    if held:
        return held.accuracy
    rates = win_rates(run)
    return rates[0].value if rates else None


def _share_text(run: Run) -> str:
    held = heldout(run)
    if held:
        return percent_interval(held.accuracy, held.low, held.high)
    rates = win_rates(run)
    return percent_interval(rates[0].value, rates[0].low, rates[0].high) if rates else MISSING


def _summary(run: Run) -> str:
    """What differs from the defaults, in one line."""
    text = ", ".join(f"{title} {value}" for title, value in differing(run))
    return text or _tr("defaults")
