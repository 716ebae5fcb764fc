"""The verdict on a reward: stated rules, each with its reason and what to do.

Not yet, where any rule says so; usable with care, where any asks for care; else good. What only
informs (the gain of more labels, the ceiling) decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from workbench.config.report_card import ReportCardSettings
from workbench.evaluation.report_records import (
    Figure,
    Level,
    Measured,
    Reason,
    Slice,
    State,
    Verdict,
)

_CHANCE = 0.5
_FEWEST_IN_RULE = 10
_NO_HEAT = 100.0  # no better than chance: no temperature would make it true
_GRAVITY: dict[State, int] = {"bad": 0, "warn": 1, "ok": 2, "info": 3}
_TRIVIAL = ("length", "repetition", "position", "logp")


def verdict(measured: Measured, settings: ReportCardSettings) -> Verdict:
    """What follows from the figures."""
    reasons = sorted(_reasons(measured, settings), key=lambda r: _GRAVITY[r.state])
    states = {reason.state for reason in reasons}
    level: Level = "good"
    if "bad" in states:
        level = "not yet"
    elif "warn" in states:
        level = "usable with care"
    word = level[0].upper() + level[1:]
    if measured.accuracy is None:
        return Verdict(level, f"{word}: {reasons[0].sentence}", tuple(reasons))
    return Verdict(level, f"{word}: {_right(measured)}", tuple(reasons))


def _right(measured: Measured) -> str:
    figure = measured.accuracy
    assert figure is not None
    which = "the pairs it has seen" if measured.has_seen else "held-out pairs"
    return f"{percent(figure.value)} of {which} right, {interval(figure)}"


def percent(value: float) -> str:
    """A share as text."""
    return f"{100 * value:.0f} %"


def interval(figure: Figure) -> str:
    """The interval of a share as text."""
    return f"95 % interval {100 * figure.low:.0f} to {100 * figure.high:.0f} %"


def points(figure: Figure) -> str:
    """A gain in points with its interval: "+3 points [0, 6]"."""
    low, high = 100 * figure.low, 100 * figure.high
    said = f"{100 * figure.value:+.0f} points [{low:.0f}, {high:.0f}]"
    return said.replace("-0", "0").replace("+0", "0").replace("-", "−")


def weakest(measured: Measured) -> Slice | None:
    """The group or tag of enough pairs whose accuracy may be chance, the lowest one."""
    some = [
        part
        for part in measured.slices
        if part.kind in ("group", "tag")
        and part.accuracy.n >= _FEWEST_IN_RULE
        and part.accuracy.low <= _CHANCE
    ]
    return min(some, key=lambda part: part.accuracy.value, default=None)


def _reasons(measured: Measured, settings: ReportCardSettings) -> Iterator[Reason]:
    yield from _numbers(measured)
    if measured.accuracy is None:
        yield Reason("pairs", "bad", "There is no pair to hold it against.", "Judge some pairs.")
        return
    yield from _amount(measured, settings)
    yield _accuracy(measured, measured.accuracy, settings)
    yield from _against_baselines(measured)
    yield from _against_probe(measured)
    yield from _length(measured, settings)
    yield from _calibration(measured, settings)
    yield from _slices(measured)
    yield from _edits(measured, settings)
    yield from _unfamiliar(measured, settings)
    yield from _outlook(measured)


def _numbers(measured: Measured) -> Iterator[Reason]:
    if measured.n_unscored:
        what = "pair" if measured.n_unscored == 1 else "pairs"
        yield Reason(
            "numbers",
            "bad",
            f"It gives no number (NaN) for {measured.n_unscored} {what}, which are left out.",
            "Look at these answers, and train again with a lower learning rate.",
        )


def _amount(measured: Measured, settings: ReportCardSettings) -> Iterator[Reason]:
    if measured.n_pairs < settings.min_pairs:
        yield Reason(
            "pairs",
            "bad",
            f"{measured.n_pairs} pairs are too few for a verdict; it takes {settings.min_pairs}.",
            "Judge more pairs, or hold out a larger share when training.",
        )
    if measured.has_seen:
        yield Reason(
            "seen",
            "bad",
            "It has learned from these very pairs, so the figures say nothing of new ones.",
            "Judge new pairs and measure on these.",
        )


def _accuracy(measured: Measured, figure: Figure, settings: ReportCardSettings) -> Reason:
    said = _right(measured)
    if figure.low <= _CHANCE:
        return Reason(
            "accuracy", "bad", f"It may be chance: {said}.", "Judge more pairs and train again."
        )
    if figure.low < settings.good_accuracy:
        limit = percent(settings.good_accuracy)
        return Reason(
            "accuracy",
            "warn",
            f"Better than chance, but not surely {limit}: {said}.",
            "More pairs narrow the interval.",
        )
    return Reason("accuracy", "ok", f"{said[0].upper()}{said[1:]}.")


def _against_baselines(measured: Measured) -> Iterator[Reason]:
    some = [b for key in _TRIVIAL if (b := measured.baseline(key)) is not None]
    if not some:
        return
    best = max(some, key=lambda b: b.accuracy.value)
    name = f"“{best.name}” ({percent(best.accuracy.value)})"
    if best.gain.value <= 0:
        yield Reason(
            "baseline",
            "bad",
            f"It is no better than {name} on the same pairs.",
            "Judge pairs on which that rule is wrong; balanced pairs teach more than many.",
        )
    elif best.gain.low <= 0:
        yield Reason(
            "baseline",
            "warn",
            f"It may be no better than {name}: {points(best.gain)}.",
            "More held-out pairs would tell.",
        )
    else:
        yield Reason("baseline", "ok", f"It beats {name} by {points(best.gain)}.")


def _against_probe(measured: Measured) -> Iterator[Reason]:
    probe = measured.baseline("probe")
    if probe is not None and probe.gain.high < 0:
        yield Reason(
            "probe",
            "warn",
            f"A light probe learns more from the same labels: it is right in "
            f"{percent(probe.accuracy.value)}, and the reward's gain over it is "
            f"{points(probe.gain)}.",
            "Train with more epochs or another learning rate, or take a probe.",
        )


def _length(measured: Measured, settings: ReportCardSettings) -> Iterator[Reason]:
    effect = measured.length
    if effect is None:
        return
    if effect.same_as_length >= settings.same_as_length:
        yield Reason(
            "length",
            "bad",
            f"It picks as length alone does in {percent(effect.same_as_length)} of the pairs: it "
            "has learned length.",
            "Judge pairs of equal length, and pairs whose shorter answer is better.",
        )
    elif effect.correlation and abs(effect.correlation.value) >= settings.length_correlation:
        rho = f"{effect.correlation.value:.2f}".replace("-", "−")
        yield Reason(
            "length",
            "warn",
            f"Score and length go together (rank correlation {rho}).",
            "Watch the answer length while training, or take length out in the reward design.",
        )
    elif effect.picks_longer.low > effect.labels_longer.high:
        yield Reason(
            "length",
            "warn",
            f"It prefers the longer answer in {percent(effect.picks_longer.value)} of the pairs, "
            f"the labels only in {percent(effect.labels_longer.value)}.",
            "Watch the answer length while training.",
        )


def _calibration(measured: Measured, settings: ReportCardSettings) -> Iterator[Reason]:
    found = measured.calibration
    if found is None:
        return
    heat, error = found.temperature, found.error
    if heat.low > 1 and heat.value >= _NO_HEAT:
        yield Reason(
            "calibration",
            "warn",
            f"It is over-confident: sure to {percent(found.mean_confidence)} on average, though "
            "its margins tell nothing.",
            "Judge more pairs and train again.",
        )
    elif heat.low > 1 and heat.value >= settings.max_temperature:
        yield Reason(
            "calibration",
            "warn",
            f"It is over-confident: sure to {percent(found.mean_confidence)} on average, and its "
            f"margins are {heat.value:.1f} times too large [{heat.low:.1f}, {heat.high:.1f}].",
            "Let scores be normalised in training; fewer epochs or label smoothing cool it down.",
        )
    elif heat.high < 1:
        yield Reason(
            "calibration",
            "info",
            "It is more often right than it thinks, which does no harm.",
        )
    else:
        said = f"{error.value:.2f} [{error.low:.2f}, {error.high:.2f}]"
        yield Reason(
            "calibration",
            "ok",
            f"Its confidence holds: calibration error {said}, {found.error_by_chance:.2f} being "
            "usual by chance.",
        )


def _slices(measured: Measured) -> Iterator[Reason]:
    weak = weakest(measured)
    if weak is not None:
        yield Reason(
            "slice",
            "warn",
            f"It is weak on {weak.name}: {percent(weak.accuracy.value)} of {weak.accuracy.n} pairs "
            "right, which may be chance.",
            f"Judge more pairs of {weak.name}.",
        )
    matched = next((s for s in measured.slices if s.name == "length-matched"), None)
    if matched and matched.accuracy.n >= _FEWEST_IN_RULE and matched.accuracy.low <= _CHANCE:
        yield Reason(
            "matched",
            "warn",
            f"On {matched.accuracy.n} pairs of about equal length it is right in "
            f"{percent(matched.accuracy.value)}, which may be chance.",
            "Judge pairs of equal length.",
        )


def _edits(measured: Measured, settings: ReportCardSettings) -> Iterator[Reason]:
    touchy = max(measured.edits, key=lambda edit: edit.flips.value, default=None)
    if touchy is None:
        return
    said = (
        f"{percent(touchy.flips.value)} of the pairs come out the other way by a harmless edit "
        f"({touchy.key})"
    )
    if touchy.flips.value > settings.max_flips:
        yield Reason(
            "edits",
            "warn",
            f"{said}.",
            "Training would find and use that; watch the samples for such habits.",
        )
    else:
        yield Reason("edits", "ok", f"At most {said}.")


def _unfamiliar(measured: Measured, settings: ReportCardSettings) -> Iterator[Reason]:
    found = measured.unfamiliar
    if found is None:
        return
    said = (
        f"{percent(found.share.value)} of {found.source} are unlike the labelled ones (5 % would "
        "be usual)"
    )
    if found.share.value > settings.max_unfamiliar:
        yield Reason(
            "unfamiliar",
            "warn",
            f"{said}.",
            "Judge answers of the current policy and train the reward again.",
        )
    else:
        yield Reason("unfamiliar", "ok", f"{said}.")


def _outlook(measured: Measured) -> Iterator[Reason]:
    again, accuracy = measured.again, measured.accuracy
    if again is not None and accuracy is not None:
        near = again.low <= accuracy.high
        yield Reason(
            "ceiling",
            "info",
            f"You said the same again in {percent(again.value)} of {again.n} repeats"
            + (", and it is near that." if near else "; there is room up to that."),
        )
    if measured.curve is not None:
        gain = measured.curve.gain
        yield Reason(
            "more",
            "info",
            f"{measured.curve.n_more} more labels: about {points(gain)} (of the light probe).",
        )
