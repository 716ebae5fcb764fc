"""Measuring a reward: scores, edits, baselines and features, with one count for all of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from workbench.app import judge_agreement
from workbench.app.features import last_states
from workbench.app.judge_records import judges
from workbench.app.report_card.pairs import Pairs, policy_answers, said_again
from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.config.report_card import ReportCardSettings
from workbench.data.records import Message
from workbench.errors import UserError
from workbench.evaluation import report_figures as figures
from workbench.evaluation.report_records import (
    Edit,
    Figure,
    JudgeAgreement,
    Judged,
    Measured,
    Spread,
)
from workbench.events import Progress
from workbench.objectives.intervals import wilson
from workbench.rewards import selection

if TYPE_CHECKING:
    from workbench.models.loading import LoadedModel
    from workbench.rewards.base import Scorer

Floats = NDArray[np.float64]
Answer = tuple[tuple[Message, ...], str]
T = TypeVar("T")
Told = Generator[Progress, None, T]

_AT_ONCE = 16
_FEWEST_TO_LEARN = 8


class Count:
    """How many answers have been read, of all that the report reads, so that an end is in sight."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0

    def told(self, note: str, done: int = 0) -> Progress:
        """Where the work is, `done` answers into its part."""
        return Progress(min(self.total, self.done + done), self.total, note)


class Measuring:
    """Holds what a report is made from while it is made."""

    def __init__(
        self,
        ws: Workspace,
        model: LoadedModel,
        scorer: Scorer,
        pairs: Pairs,
        settings: ReportCardSettings,
        cancel: CancelToken,
    ) -> None:
        self.ws, self.model, self.scorer = ws, model, scorer
        self.pairs, self.settings, self.cancel = pairs, settings, cancel
        self.notes: list[str] = []
        rng = np.random.default_rng(settings.seed)
        shuffled = rng.permutation(len(pairs.learn))[: settings.curve_pairs]
        self.learn = [pairs.learn[i] for i in np.sort(shuffled)]
        labelled = (*pairs.learn, *pairs.test)
        self.source, self.policy = policy_answers(ws, settings.policy_answers, labelled)
        n_edited = min(len(pairs.test), settings.edit_pairs)
        # Scores and log-probabilities of both answers, edits of both, features of all.
        n_read = 2 * (3 * len(pairs.test) + len(figures.EDITS) * n_edited + len(self.learn))
        self.count = Count(n_read + len(self.policy))

    def measure(self) -> Told[Measured]:
        """All figures of the reward.

        Raises:
            Cancelled: On a stop as well: half a report would mislead.
        """
        pairs = self.pairs.test
        chosen, rejected = yield from self._scores(pairs)
        is_number = np.isfinite(chosen) & np.isfinite(rejected)
        unscored = [pair for pair, fine in zip(pairs, is_number, strict=True) if not fine]
        kept = [pair for pair, fine in zip(pairs, is_number, strict=True) if fine]
        chosen, rejected = chosen[is_number], rejected[is_number]
        measured = Measured(
            n_pairs=len(kept),
            n_prompts=len({pair.preference.prompt.id for pair in kept}),
            has_seen=self.pairs.has_seen,
            accuracy=None,
            unscored=tuple(figures.wrong(p, None) for p in unscored[: figures.LISTED]),
            n_unscored=len(unscored),
        )
        if not kept:
            return measured
        measured = self._from_scores(measured, chosen, rejected, kept)
        edits = yield from self._edits(chosen, rejected, kept)
        others, measured = yield from self._from_base(measured, kept)
        seed = self.settings.seed
        return replace(
            measured,
            edits=edits,
            baselines=figures.baselines(chosen - rejected, kept, self.pairs.learn, others, seed),
            spread=self._spread(kept),
        )

    def _from_scores(
        self, measured: Measured, chosen: Floats, rejected: Floats, kept: Sequence[Judged]
    ) -> Measured:
        margins, seed = chosen - rejected, self.settings.seed
        worst, n_wrong = figures.worst(margins, kept)
        again = said_again(self.ws)
        share = None
        if again:
            share = Figure(float(np.mean(again)), *wilson(sum(again), len(again)), len(again))
        return replace(
            measured,
            accuracy=figures.accuracy(margins, kept),
            slices=figures.slices(margins, kept, self.settings.near_length),
            calibration=figures.calibration(margins, kept, seed),
            length=figures.length_effect(chosen, rejected, kept, seed),
            judges=tuple(self._judges(margins, kept)),
            again=share,
            ceiling=None if share is None else ceiling(share),
            worst=worst,
            n_wrong=n_wrong,
        )

    def _judges(
        self, margins: Floats, kept: Sequence[Judged]
    ) -> Generator[JudgeAgreement, None, None]:
        for name in judges(self.ws):
            said = {
                o.comparison_id: o.verdict == "first"
                for o in judge_agreement.opinions(self.ws, name)
                if o.verdict in ("first", "second")
            }
            rows = [
                i
                for i, pair in enumerate(kept)
                if pair.is_first is not None and pair.preference.comparison_id in said
            ]
            if not rows:
                continue
            some = [kept[i] for i in rows]
            # 1 where the judge, too, takes the chosen answer.
            with_labels = [float(said[p.preference.comparison_id] == p.is_first) for p in some]
            picks = (0.5 + 0.5 * np.sign(margins[rows])).tolist()
            with_reward = [1 - abs(a - b) for a, b in zip(with_labels, picks, strict=True)]
            yield JudgeAgreement(
                name, figures.share(with_reward, some), figures.share(with_labels, some)
            )

    def _edits(
        self, chosen: Floats, rejected: Floats, kept: Sequence[Judged]
    ) -> Told[tuple[Edit, ...]]:
        rng = np.random.default_rng((self.settings.seed, 1))
        rows = np.sort(rng.permutation(len(kept))[: self.settings.edit_pairs])
        if not len(rows):
            return ()
        some = [kept[i] for i in rows]
        spread = float(np.concatenate([chosen, rejected]).std())
        before = chosen[rows], rejected[rows]
        found = []
        for key, edit in figures.EDITS.items():
            after = yield from self._scores(some, edit)
            if all(np.isfinite(scores).all() for scores in after):
                found.append(figures.edit_effect(key, before, after, some, spread))
            else:
                self.notes.append(f"With a {key} some scores are no numbers.")
        return tuple(found)

    def _scores(
        self, pairs: Sequence[Judged], edit: Callable[[str], str] = lambda text: text
    ) -> Told[tuple[Floats, Floats]]:
        """Scores (N,) of the chosen and of the rejected answers; equal answers are scored once."""
        places: dict[Answer, int] = {}
        rows = [
            [places.setdefault(answer, len(places)) for answer in _answers(pair, edit)]
            for pair in pairs
        ]
        answers = list(places)

        values = yield from self._lots(answers, self._scored, "Scoring answers")
        self.count.done += 2 * len(pairs) - len(answers)
        index = np.array(rows, dtype=np.int64).reshape(-1, 2)
        scores = np.array(values, dtype=np.float64)
        return scores[index[:, 0]], scores[index[:, 1]]

    def _scored(self, some: Sequence[Answer]) -> list[float]:
        """Scores of answers; NaN of those that the reward refuses, so that they can be named."""
        try:
            return self.scorer.score_texts([p for p, _ in some], [text for _, text in some])
        except UserError as error:
            if len(some) > 1:
                return [score for answer in some for score in self._scored([answer])]
            if error.message not in self.notes:
                self.notes.append(error.message)
            return [math.nan]

    def _lots(
        self,
        answers: Sequence[Answer],
        compute: Callable[[Sequence[Answer]], list[float]],
        note: str,
    ) -> Told[list[float]]:
        values: list[float] = []
        for start in range(0, len(answers), _AT_ONCE):
            self.cancel.raise_if_stopping()
            yield self.count.told(note)
            lot = answers[start : start + _AT_ONCE]
            with self.model.checking(self.cancel.raise_if_cancelled):
                values += compute(lot)
            self.count.done += len(lot)
        return values

    def _from_base(
        self, measured: Measured, kept: Sequence[Judged]
    ) -> Told[tuple[Mapping[str, tuple[str, Floats]], Measured]]:
        """What the base's log-probabilities and hidden states tell of the same pairs."""
        from workbench.evaluation.base_logps import mean_logps

        def likely(some: Sequence[Answer]) -> list[float]:
            return mean_logps(self.model, [p for p, _ in some], [text for _, text in some])

        answers = [answer for pair in kept for answer in _answers(pair)]
        logps = np.array((yield from self._lots(answers, likely, "Reading with the base")))
        others = {"logp": ("More likely answer wins", logps[::2] - logps[1::2])}
        if len(self.learn) < _FEWEST_TO_LEARN:
            self.notes.append(
                f"There are {len(self.learn)} pairs besides those measured on, too few for a "
                "learning curve and for what is unfamiliar."
            )
            return others, measured
        features = yield from self._features(kept)
        n_learn, n_test = 2 * len(self.learn), 2 * len(kept)
        compact = selection.compact(features[: n_learn + n_test])
        apart = compact[::2] - compact[1::2]
        curve, probe = figures.curve(
            apart[: len(self.learn)],
            apart[len(self.learn) :],
            [pair.preference.prompt.id for pair in self.learn],
            kept,
            self.settings.n_draws,
            self.settings.n_more,
            self.settings.seed,
        )
        others["probe"] = ("Light probe on the base", probe)
        measured = replace(measured, curve=curve)
        if self.policy:
            unfamiliar = figures.unfamiliar(
                features[:n_learn],
                features[n_learn : n_learn + n_test],
                features[n_learn + n_test :],
                [answer.prompt_id for answer in self.policy],
                self.source,
            )
            measured = replace(measured, unfamiliar=unfamiliar)
        else:
            self.notes.append("There is no answer of a policy to look at.")
        return others, measured

    def _features(self, kept: Sequence[Judged]) -> Told[Floats]:
        """Features of the answers of what was learned from, of the pairs, and of the policy."""
        answers = [answer for pair in (*self.learn, *kept) for answer in _answers(pair)]
        answers += [(answer.messages, answer.text) for answer in self.policy]
        reading = last_states(self.ws, self.model, answers, self.cancel)
        with self.model.checking(self.cancel.raise_if_cancelled):
            while True:
                try:
                    told = next(reading)
                except StopIteration as end:
                    self.count.done += len(answers)
                    return np.asarray(end.value, dtype=np.float64)
                self.cancel.raise_if_stopping()
                known = len(answers) - told.total
                yield self.count.told("Reading with the base", known + told.done)

    def _spread(self, kept: Sequence[Judged]) -> Spread | None:
        from workbench.rewards.base import SpreadReward

        scorer = self.scorer
        if not isinstance(scorer, SpreadReward) or scorer.n_members < 2:
            return None

        def mean(answers: Sequence[Answer]) -> float:
            self.cancel.raise_if_stopping()
            prompts, texts = [p for p, _ in answers], [text for _, text in answers]
            return float(np.mean(scorer.score_texts_with_spread(prompts, texts)[1]))

        try:
            labelled = mean([answer for pair in kept for answer in _answers(pair)])
            policy = mean([(a.messages, a.text) for a in self.policy]) if self.policy else None
        except UserError as error:
            self.notes.append(f"{error.message} The spread of the ensemble is left out.")
            return None
        return Spread(labelled, policy)


def ceiling(again: Figure) -> Figure:
    """What a reward could reach that knew what the person means, from how often they repeat it.

    If each label is wrong with probability e, two agree with a = 1 − 2e(1 − e), and the truth
    agrees with one of them in 1 − e = (1 + √(2a − 1)) / 2.
    """

    def reach(share: float) -> float:
        return float(0.5 + 0.5 * np.sqrt(max(0.0, 2 * share - 1)))

    return Figure(reach(again.value), reach(again.low), reach(again.high), again.n)


def _answers(pair: Judged, edit: Callable[[str], str] = lambda text: text) -> tuple[Answer, Answer]:
    said = pair.preference
    return (said.prompt.messages, edit(said.chosen)), (said.prompt.messages, edit(said.rejected))
