"""A report card in plain words, for the command line, for copying and for those who cannot see."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.evaluation.report_records import Figure, ReportCard, State
from workbench.evaluation.report_verdict import percent, points

_MARKS: dict[State, str] = {"ok": "  ", "info": "  ", "warn": "! ", "bad": "!!"}
_LISTED = 5
_LONGEST = 70
_WIDTH = 28
_NO_HEAT = 100.0


def lines(card: ReportCard, stale: str = "") -> list[str]:
    """The whole report, a line each; the verdict first."""
    return list(_lines(card, stale))


def _lines(card: ReportCard, stale: str) -> Iterator[str]:
    yield f"{card.run_name}: {card.verdict.sentence}"
    if stale:
        yield f"Out of date: {stale}"
    yield card.pairs
    for reason in card.verdict.reasons:
        yield f"{_MARKS[reason.state]} {reason.sentence} {reason.advice}".rstrip()
    for title, rows in sections(card):
        yield ""
        yield title
        yield from (f"   {name:{_WIDTH}} {value}" for name, value in rows)
    if card.notes:
        yield ""
        yield from (f"Note: {note}" for note in card.notes)
    yield ""
    yield f"Made {card.created_at} by version {card.version} of {card.n_labels} labels."


def sections(card: ReportCard) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The figures as tables of a name and a value."""
    m = card.measured
    if m.slices:
        yield "Accuracy", [(part.name, told(part.accuracy)) for part in m.slices]
    if m.baselines:
        yield (
            "Against baselines",
            [(b.name, f"{told(b.accuracy)}, the reward {points(b.gain)}") for b in m.baselines],
        )
    if m.calibration:
        yield "Calibration", list(_calibration(card))
    if m.curve:
        yield "Learning of a light probe", list(_curve(card))
    rows = [*_length(card), *_agreement(card)]
    if rows:
        yield "Length and agreement", rows
    rows = [*_robustness(card)]
    if rows:
        yield "Edits and unfamiliar answers", rows
    if m.worst:
        yield (
            f"Worst pairs ({m.n_wrong} are wrong)",
            [
                (f"pair {p.comparison_id}, margin {number(p.margin)}", short(p.prompt))
                for p in m.worst[:_LISTED]
            ],
        )
    if m.unscored:
        yield (
            "Pairs without a number",
            [(f"pair {p.comparison_id}", short(p.prompt)) for p in m.unscored[:_LISTED]],
        )


def _calibration(card: ReportCard) -> Iterator[tuple[str, str]]:
    found = card.measured.calibration
    assert found is not None
    for part in found.bins:
        yield f"sure to {percent(part.predicted)}", told(part.right, word=" right")
    yield "calibration error", f"{told(found.error, 2)}, by chance {found.error_by_chance:.2f}"
    if found.temperature.value < _NO_HEAT:
        yield "margins too large by", told(found.temperature, 2)


def _curve(card: ReportCard) -> Iterator[tuple[str, str]]:
    found = card.measured.curve
    assert found is not None
    for point in found.points:
        yield f"{point.n} labels", told(point.accuracy)
    yield f"{found.n_more} more", f"about {points(found.gain)}"


def _length(card: ReportCard) -> Iterator[tuple[str, str]]:
    found = card.measured.length
    if found is None:
        return
    if found.correlation:
        yield "rank correlation, length", told(found.correlation, 2)
    yield "reward picks the longer", told(found.picks_longer)
    yield "labels pick the longer", told(found.labels_longer)


def _agreement(card: ReportCard) -> Iterator[tuple[str, str]]:
    m = card.measured
    if m.again is not None:
        yield "you said the same again", told(m.again)
    if m.ceiling is not None:
        yield "so it could reach", told(m.ceiling)
    for judge in m.judges:
        yield f"{judge.judge} with reward", told(judge.with_reward)
        yield f"{judge.judge} with labels", told(judge.with_labels)


def _robustness(card: ReportCard) -> Iterator[tuple[str, str]]:
    m = card.measured
    for edit in m.edits:
        yield (
            edit.key,
            told(edit.flips, word=" turn round") + f", the score moves {edit.change:.2f} SD",
        )
    if m.unfamiliar is not None:
        yield "unfamiliar", f"{told(m.unfamiliar.share)} of {m.unfamiliar.source}"
    if m.spread is not None:
        policy = "" if m.spread.policy is None else f", policy answers {m.spread.policy:.2f}"
        yield "spread of the ensemble", f"labelled answers {m.spread.labelled:.2f}{policy}"


def told(figure: Figure, digits: int | None = None, word: str = "") -> str:
    """A figure with its interval and n: as a share, or as a number with so many digits."""
    if digits is None:
        bounds = f"[{100 * figure.low:.0f}, {100 * figure.high:.0f}]"
        return f"{percent(figure.value)}{word} {bounds} n = {figure.n}"
    value, low, high = (number(x, digits) for x in (figure.value, figure.low, figure.high))
    return f"{value} [{low}, {high}]"


def number(value: float | None, digits: int = 1) -> str:
    """A number with a true minus; a dash for none."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def short(text: str) -> str:
    """One line that is not too long."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
