"""Hidden repeats: which judged pair comes again and when, and how far the first word holds.

Nothing is remembered between calls: what is next follows from the seed and from what is stored,
so that a program that was killed goes on with the same pair.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workbench.app.quality.findings import (
    FEW,
    OUTCOMES,
    Finding,
    State,
    Voice,
    interval,
    kappa_words,
    percent,
)
from workbench.app.workspace import Workspace
from workbench.config.quality import QualitySettings
from workbench.data.records import Comparison, Repeat, Strength, Verdict
from workbench.objectives.agreement import Estimate, cohen_kappa
from workbench.objectives.intervals import newcombe, wilson

_SETTINGS = "label_quality"
_SWAPPED: dict[Verdict, Verdict] = {"first": "second", "second": "first"}
_LOW_AGREEMENT = 0.7


@dataclass(frozen=True, slots=True)
class Again:
    """A repeat beside what was said of the pair before."""

    before: Verdict
    repeat: Repeat

    @property
    def is_same(self) -> bool:
        """Whether the same was said again."""
        return OUTCOMES[self.before] == OUTCOMES[self.repeat.verdict]


def settings(ws: Workspace) -> QualitySettings:
    """How often this experiment repeats pairs; the defaults until it says otherwise."""
    stored = ws.experiment.settings.get(_SETTINGS, {})
    known = {k: v for k, v in dict(stored).items() if k in QualitySettings.model_fields}
    try:
        return QualitySettings(**known)
    except ValueError:
        # Written by another version, whose bounds were others.
        return QualitySettings()


def save_settings(ws: Workspace, chosen: QualitySettings) -> None:
    """Keep these settings in the experiment.

    Raises:
        UserError: It is open read-only.
    """
    ws.check_writable()
    ws.experiment.settings.set(_SETTINGS, chosen.model_dump())


def next_repeat(ws: Workspace) -> tuple[Comparison, bool] | None:
    """The pair to show once more now, and whether with its sides swapped; None when not now.

    To be asked after each judgement. The judgements are cut into blocks, 1 / rate long, and after
    a drawn one of each block a drawn pair comes again; of two blocks in a row one swaps the
    sides. The answer stays the same until the pair is judged through `judge_repeat`, or until the
    next block's turn.
    """
    chosen = settings(ws)
    if not chosen.repeat_rate or ws.is_read_only:
        return None
    repeats, who = ws.experiment.repeats, ws.annotator
    n_judged = repeats.n_judged(who)
    block, number = _last_turn(chosen, who, n_judged)
    end = number - chosen.repeat_gap + 1
    if end <= 0 or not repeats.is_due(who, n_judged - 1 - number):
        return None
    draw = _draw(chosen, who, "pair", block)
    comparison = repeats.candidate(who, draw.randrange(end), end, n_judged)
    if comparison is None:
        return None
    is_swapped = (block % 2 == 0) == (_draw(chosen, who, "side", block // 2).random() < 0.5)
    return comparison, is_swapped


def judge_repeat(
    ws: Workspace,
    comparison_id: int,
    verdict: Verdict,
    seconds: float,
    is_swapped: bool,
    strength: Strength = 0,
) -> Repeat:
    """Store what was said of a repeated pair; the first judgement stands as it is.

    Args:
        ws: The experiment.
        comparison_id: The pair.
        verdict: As seen on the screen: "first" is the answer that stood first there.
        seconds: How long it took.
        is_swapped: Whether the comparison's second answer stood first.
        strength: How much better the better one is.

    Raises:
        UserError: There is no such comparison.
        EnvironmentProblem: It could not be stored; nothing was changed.
    """
    ws.experiment.comparisons.get(comparison_id)
    own_order = _SWAPPED.get(verdict, verdict) if is_swapped else verdict
    return ws.experiment.repeats.add(
        comparison_id,
        own_order,
        ws.annotator,
        "person",
        max(0.0, seconds),
        is_swapped=is_swapped,
        strength=strength,
    )


def _last_turn(chosen: QualitySettings, annotator: str, n_judged: int) -> tuple[int, int]:
    """The last block whose turn has come, and the number of the judgement that it comes after.

    The number is -1 as long as no turn has come.
    """
    for block in range(math.floor(n_judged * chosen.repeat_rate), -1, -1):
        within = _draw(chosen, annotator, "when", block).random()
        number = math.floor((block + within) / chosen.repeat_rate)
        if number < n_judged:
            return block, number
    return 0, -1


def _draw(chosen: QualitySettings, annotator: str, purpose: str, block: int) -> random.Random:
    return random.Random(f"{chosen.seed}/{annotator}/{purpose}/{block}")


def compared(ws: Workspace, annotator: str) -> list[Again]:
    """The standing repeats of an annotator beside the judgement that stood before each."""
    return list(_compared(ws, annotator))


def _compared(ws: Workspace, annotator: str) -> Iterator[Again]:
    for repeat in ws.experiment.repeats.list(annotator):
        before = ws.experiment.repeats.said_before(repeat)
        if before in OUTCOMES and repeat.verdict in OUTCOMES:
            yield Again(before, repeat)


def self_agreement(again: Sequence[Again], voice: Voice) -> Iterator[Finding]:
    """How often the same was said again: of all repeats, the plain ones and the swapped ones."""
    if not again:
        nothing = Estimate(math.nan, 0.0, 1.0, 0)
        yield Finding(
            "again",
            "Same again",
            "info",
            "No pair was judged a second time yet, so how far the labels hold is not known.",
            nothing,
        )
        return
    yield _agreement("again", "Same again", again, voice, "hidden repeats")
    plain = [a for a in again if not a.repeat.is_swapped]
    swapped = [a for a in again if a.repeat.is_swapped]
    if plain and swapped:
        kinds = {
            "again_plain": ("Same sides", plain, "repeats with the same sides"),
            "again_swapped": ("Sides swapped", swapped, "repeats with the sides swapped"),
        }
        for key, (title, some, of_what) in kinds.items():
            yield _agreement(key, title, some, voice, of_what)
        yield from _swap_effect(plain, swapped, voice)


def _agreement(key: str, title: str, again: Sequence[Again], voice: Voice, of_what: str) -> Finding:
    n_same, n = sum(a.is_same for a in again), len(again)
    share = Estimate(n_same / n, *wilson(n_same, n), n)
    kappa = cohen_kappa(
        [OUTCOMES[a.before] for a in again], [OUTCOMES[a.repeat.verdict] for a in again]
    )
    state: State = "ok"
    end = "."
    if n < FEW:
        state, end = "info", ": too few to conclude from."
    elif kappa.is_defined and kappa.low <= 0:
        state, end = "bad", ": no better than chance, as far as can be told."
    elif share.value < _LOW_AGREEMENT:
        state, end = "warn", ": a model cannot learn more from the labels than holds."
    sentence = (
        f"{voice.subject} said the same again in {n_same} of {n} {of_what} ({percent(share.value)},"
        f" {interval(share)}; {kappa_words(kappa)}){end}"
    )
    return Finding(key, title, state, sentence, share, kappa)


def _swap_effect(
    plain: Sequence[Again], swapped: Sequence[Again], voice: Voice
) -> Iterator[Finding]:
    """Whether less holds once the sides are swapped: then the place decides part of it."""
    if min(len(plain), len(swapped)) < FEW:
        return
    n = len(plain), len(swapped)
    same = sum(a.is_same for a in plain), sum(a.is_same for a in swapped)
    effect = Estimate(*newcombe(same, n), sum(n))
    if effect.low > 0:
        sentence = (
            f"With the sides swapped {voice.within} said the same less often,"
            f" {percent(same[1] / n[1])} against {percent(same[0] / n[0])} (difference"
            f" {percent(effect.value)}, {interval(effect)}): the place on the screen decides some"
            " of the choices."
        )
        yield Finding("swap", "Effect of swapping", "warn", sentence, effect)
