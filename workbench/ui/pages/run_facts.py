"""What a run's record says, read in one place: held-out accuracy, last figures, why it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QCoreApplication

from workbench.config.algorithms import DESIGN, IMPORTED, REWARD
from workbench.data.records import Run
from workbench.ui.pages.interval_plot import Share
from workbench.ui.pages.live_run import LiveRun
from workbench.ui.pages.wording import MISSING, interval_sentence, number, percent

OPEN = ("queued", "running", "paused")
Kind = Literal["ok", "warn", "bad", "info"]

_USABLE, _GOOD = 0.5, 0.6


def _tr(text: str) -> str:
    return QCoreApplication.translate("run_facts", text)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One sentence with its number, and the reason under it."""

    kind: Kind
    text: str
    detail: str = ""


def kind_of_reward(run: Run) -> str:
    """What a reward run holds, in a word or two."""
    if run.algorithm == IMPORTED.name:
        return _tr("imported")
    if run.algorithm == DESIGN.name:
        return _tr("design")
    if run.algorithm != REWARD.name:
        return _tr("probe")
    n = run.settings.get("ensemble", 1)
    return _tr("ensemble of {n}").format(n=n) if isinstance(n, int) and n > 1 else _tr("network")


@dataclass(frozen=True, slots=True)
class Heldout:
    """Held-out accuracy with its 95 % Wilson interval over `n` pairs."""

    accuracy: float
    low: float
    high: float
    n: int


def is_open(run: Run | None) -> bool:
    """Whether a run has not ended yet."""
    return run is not None and run.status in OPEN


def reason(run: Run) -> str:
    """Why a run failed, as sentences; a bug's report is left to the log."""
    return run.error.partition("\n\n")[0]


def heldout(run: Run) -> Heldout | None:
    """The held-out accuracy of a reward run, if it was measured."""
    names = ("accuracy", "low", "high", "pairs")
    values = [run.results.get(f"reward/heldout_{name}") for name in names]
    if not all(isinstance(v, int | float) for v in values):
        return None
    accuracy, low, high, n = (float(str(v)) for v in values)
    return Heldout(accuracy, low, high, int(n))


def verdict_of_reward(run: Run) -> Verdict:
    """Whether a reward model can be used, in one sentence with the number."""
    if run.status == "failed":
        return Verdict("bad", _tr("{run} failed.").format(run=run.name), reason(run))
    held = heldout(run)
    if held is None and run.status == "done":
        text = _tr("{run} is ready; it was not measured on pairs.").format(run=run.name)
        return Verdict("info", text)
    if held is None:
        return Verdict(
            "warn", _tr("{run} ended before it was measured.").format(run=run.name), reason(run)
        )
    number = _tr("{share} of held-out pairs right, {interval}").format(
        share=percent(held.accuracy), interval=interval_sentence(held.low, held.high)
    )
    detail = _tr("Measured on {n} pairs of prompts that were not trained on.")
    if run.algorithm == IMPORTED.name:
        detail = _tr("Measured on {n} of your pairs, none of which it has seen.")
    detail = detail.format(n=held.n)
    if held.low <= _USABLE:
        text = _tr("May be chance: {number}").format(number=number)
        return Verdict("warn", text, detail + " " + _tr("More ranked pairs narrow the interval."))
    if held.low <= _GOOD:
        return Verdict("warn", _tr("Usable with care: {number}").format(number=number), detail)
    return Verdict("ok", _tr("Usable: {number}").format(number=number), detail)


def verdict_of_policy(run: Run, live: LiveRun) -> Verdict:
    """How a policy run ended, with its reward before and after."""
    _, scores = live.series.get("objective/scores", ([], []))
    _, kl = live.series.get("objective/kl", ([], []))
    figures = ""
    if scores:
        figures = _tr("Reward went from {first} to {last}, KL is {kl} nats per answer.").format(
            first=number(scores[0]), last=number(scores[-1]), kl=number(kl[-1] if kl else None, 1)
        )
    else:
        figures = _heldout_figures(live)
    updates, _ = live.series.get("optim/lr", ([], []))
    n = updates[-1] if updates else 0
    if run.status == "failed":
        return Verdict(
            "bad", _tr("{run} failed at update {n}.").format(run=run.name, n=n + 1), reason(run)
        )
    total = run.settings.get("updates") or live.total
    if run.status == "done":
        return Verdict("ok", _tr("{run} finished, adapter saved").format(run=run.name), figures)
    place = (_tr("{n} of {total}") if total else "{n}").format(n=n, total=total)
    words = {
        "stopped": _tr("{run} was stopped at update {place} and saved"),
        "interrupted": _tr("{run} was interrupted at update {place}"),
    }
    text = words.get(run.status, run.name).format(run=run.name, place=place)
    return Verdict("warn", text, figures)


def _heldout_figures(live: LiveRun) -> str:
    """What a run that samples nothing was measured by: held-out loss, and accuracy."""
    _, losses = live.series.get("heldout/loss", ([], []))
    _, shares = live.series.get("heldout/accuracies", ([], []))
    sentences = []
    if losses:
        text = _tr("Held-out loss went from {first} to {last}.")
        sentences.append(text.format(first=number(losses[0], 3), last=number(losses[-1], 3)))
    if shares:
        text = _tr("{share} of what was held out is ordered right.")
        sentences.append(text.format(share=percent(shares[-1])))
    return " ".join(sentences)


def win_rates(run: Run) -> list[Share]:
    """Win rates of the trained policy that an evaluation measured, with their intervals."""
    labels = {
        "win_rate": _tr("Simulated annotator"),
        "win_rate_reward": _tr("Reward model"),
    }
    shares = []
    n = int(_figure(run, "n_prompts") or 0)
    for name, label in labels.items():
        value, low, high = (_figure(run, f"{name}{end}") for end in ("", "_low", "_high"))
        if value is not None and low is not None and high is not None:
            shares.append(Share(label, value, low, high, n))
    return shares


def verdict_of_evaluation(run: Run) -> Verdict:
    """Whether training helped, in one sentence with its interval."""
    if run.status == "failed":
        return Verdict("bad", _tr("{run} failed.").format(run=run.name), reason(run))
    shares = win_rates(run)
    if not shares:
        return Verdict("warn", _tr("{run} ended before it measured anything.").format(run=run.name))
    first, others = shares[0], shares[1:]
    judge = first.label[0].lower() + first.label[1:]
    interval = interval_sentence(first.low, first.high)
    if first.may_be_chance(0.5):
        kind: Kind = "warn"
        text = _tr("May be chance: the {judge} prefers the trained policy in {share}, {interval}")
    elif first.value > 0.5:
        kind = "ok"
        text = _tr("The {judge} prefers the trained policy in {share} of the pairs, {interval}")
    else:
        kind = "bad"
        text = _tr("The {judge} prefers the base: the policy wins {share} of the pairs, {interval}")
    text = text.format(judge=judge, share=percent(first.value), interval=interval)
    detail = [_tr("Ties count half. Same prompts and same seeds on both sides.")]
    detail += [
        _tr("{judge}: {share}, {interval}.").format(
            judge=s.label, share=percent(s.value), interval=interval_sentence(s.low, s.high)
        )
        for s in others
    ]
    return Verdict(kind, text, " ".join(detail))


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the before-and-after table, as texts."""

    name: str
    before: str
    after: str
    change: str


def measures(run: Run) -> list[Measure]:
    """Reward (where a model scored), length and KL before and after, with 95 % intervals."""
    is_scored = _figure(run, "reward_before") is not None
    return [
        *([_measure(run, _tr("Reward"), "reward", 2)] if is_scored else []),
        _measure(run, _tr("Length, tokens"), "length", 0),
        Measure(_tr("KL, nats"), number(0.0, 1), _spread(run, "kl", 1), MISSING),
    ]


def _measure(run: Run, name: str, key: str, digits: int) -> Measure:
    before, after = f"{key}_before", f"{key}_after"
    edges = [_figure(run, f"{side}{end}") for side in (before, after) for end in ("_low", "_high")]
    change = _tr("no clear change")
    if None not in edges:
        b_low, b_high, a_low, a_high = (float(edge or 0.0) for edge in edges)
        difference = (_figure(run, after) or 0.0) - (_figure(run, before) or 0.0)
        if a_low > b_high or a_high < b_low:
            sign = "+" if difference > 0 else ""
            change = sign + number(difference, digits)
    return Measure(name, _spread(run, before, digits), _spread(run, after, digits), change)


def _spread(run: Run, key: str, digits: int) -> str:
    value, low, high = (_figure(run, f"{key}{end}") for end in ("", "_low", "_high"))
    if low is None or high is None:
        return number(value, digits)
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"


def _figure(run: Run, name: str) -> float | None:
    value = run.results.get(name)
    return float(value) if isinstance(value, int | float) else None
