"""A designed reward: the weighted sum of its parts, each named where something is wrong with it.

    reward(x, y) = Σ_i w_i · clip((f_i(x, y) − shift_i) / scale_i)

A part that is paid token by token pays at each token by how much its share of the sum rose: the
potential-based shaping of Ng, Harada & Russell 1999, whose sum over an answer is the same for
every way to pay, so that no policy becomes better or worse than another. A part that has no value
before the last token has the potential 0 until then.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from workbench.config.reward_parts.design import RewardDesign
from workbench.config.reward_parts.part import Part
from workbench.data.chat_template import decode_answer, encode_answer
from workbench.data.records import Message
from workbench.errors import Cancelled, UserError, WorkbenchError
from workbench.models.loading import LoadedModel
from workbench.rewards.base import InPieces, Paid, Read
from workbench.rewards.parts.answers import Answers, PartScorer
from workbench.rewards.parts.networks import NetworkPart

_SLIPS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)
_LONGEST_TOLD = 300


@dataclass(frozen=True, slots=True)
class PartValues:
    """One part's view of some answers.

    Attributes:
        raw: Its value for each, before shift, scale and weight; None when it has none.
        problem: Why it has none, as a sentence; empty when all is well.
        seconds: How long it took.
    """

    raw: tuple[float, ...] | None
    problem: str
    seconds: float


class DesignedReward:
    """Scores answers by a design whose parts are loaded.

    Attributes:
        name: The design's.
        design: What it is made of.
        pays_tokens: Whether a part is paid token by token.

    Args:
        design: The design.
        scorers: One for each of its parts.
        base: The model whose answers are scored.
        numbers: The numbers by which parts are named, from 0; None counts them.
    """

    def __init__(
        self,
        design: RewardDesign,
        scorers: Sequence[PartScorer],
        base: LoadedModel,
        numbers: Sequence[int] | None = None,
    ) -> None:
        self.name = design.name
        self.design = design
        self.pays_tokens = any(part.paid == "token" for part in design.parts)
        self._parts = list(zip(design.parts, scorers, strict=True))
        self._base = base
        self._numbers = numbers or range(len(scorers))

    @property
    def tokens_at_once(self) -> int:
        """Tokens in memory at once while networks among the parts score."""
        sizes = [n.tokens_at_once for n in self._networks()]
        return min(sizes, default=4096)

    @tokens_at_once.setter
    def tokens_at_once(self, n: int) -> None:
        for network in self._networks():
            network.tokens_at_once = n

    def score(
        self, prompts: Sequence[Sequence[Message]], answers: Sequence[Sequence[int]]
    ) -> list[float]:
        """One score per answer given as token ids.

        Raises:
            UserError: A part cannot score them; it is named.
        """
        return self.pay(prompts, answers, _unread, with_potentials=False).scores

    def score_texts(
        self, prompts: Sequence[Sequence[Message]], texts: Sequence[str]
    ) -> list[float]:
        """One score per answer given as text, which counts as one that ended by itself."""
        answers = self._as_text(prompts, texts)
        return self._sums([self._values(i, answers, _unread) for i in range(len(self._parts))])

    def score_prefixes(
        self, prompts: Sequence[Sequence[Message]], answers: Sequence[Sequence[int]]
    ) -> list[list[float]]:
        """Scores of each answer after 0, 1, … all of its tokens; the last equals `score`."""
        batch = self._as_ids(prompts, answers)
        return self._potentials(batch, range(len(self._parts)), {})

    def pay(
        self,
        prompts: Sequence[Sequence[Message]],
        answers: Sequence[Sequence[int]],
        read: Read,
        *,
        with_potentials: bool,
    ) -> Paid:
        """Scores, and potentials of the parts that are paid token by token.

        Args:
            prompts: What is answered.
            answers: Token ids.
            read: Scores of a network of which the rollout has the lower states.
            with_potentials: Whether the potentials are wanted; without them nothing is scored
                beginning by beginning.
        """
        batch = self._as_ids(prompts, answers)
        values = [self._values(i, batch, read) for i in range(len(self._parts))]
        scores = self._sums(values)
        if not with_potentials:
            return Paid(scores, [])
        by_token = [i for i, (part, _) in enumerate(self._parts) if part.paid == "token"]
        return Paid(scores, self._potentials(batch, by_token, dict(enumerate(values))))

    def table(
        self,
        prompts: Sequence[Sequence[Message]],
        texts: Sequence[str],
        answers: Sequence[Sequence[int] | None] | None = None,
    ) -> Iterator[PartValues]:
        """What each part makes of answers, one part after the other; one that fails has no values.

        Args:
            prompts: What is answered.
            texts: The answers.
            answers: Their token ids where they are known: they tell whether an answer ended.
        """
        batch = self._as_text(prompts, texts, answers)
        for i in range(len(self._parts)):
            start = time.perf_counter()
            raw, problem = None, ""
            try:
                raw = tuple(self._values(i, batch, _unread))
            except UserError as error:
                # The table says which part it is.
                cause = error.__cause__
                problem = str(cause if isinstance(cause, WorkbenchError) else error)
                problem = problem[:1].upper() + problem[1:]
            yield PartValues(raw, problem, time.perf_counter() - start)

    def close(self) -> None:
        """Take off the base, and end, what was loaded for the parts."""
        for _, scorer in self._parts:
            scorer.close()

    def _networks(self) -> Iterator[InPieces]:
        for _, scorer in self._parts:
            if isinstance(scorer, InPieces):
                yield scorer

    def _as_ids(
        self, prompts: Sequence[Sequence[Message]], answers: Sequence[Sequence[int]]
    ) -> Answers:
        tokenizer = self._base.tokenizer
        return Answers(prompts, [decode_answer(tokenizer, ids) for ids in answers], answers)

    def _as_text(
        self,
        prompts: Sequence[Sequence[Message]],
        texts: Sequence[str],
        answers: Sequence[Sequence[int] | None] | None = None,
    ) -> Answers:
        known = answers or [None] * len(texts)
        tokenizer, stop_id = self._base.tokenizer, self._base.stop_id
        ids = [
            encode_answer(tokenizer, text, stop_id) if given is None else given
            for text, given in zip(texts, known, strict=True)
        ]
        return Answers(prompts, texts, ids)

    def _values(self, i: int, answers: Answers, read: Read) -> Sequence[float]:
        scorer = self._parts[i][1]
        with self._naming(i):
            values = None
            if isinstance(scorer, NetworkPart):
                values = scorer.read(read)
            if values is None:
                values = scorer.values(answers)
            return _checked(values, len(answers))

    def _sums(self, values: Sequence[Sequence[float]]) -> list[float]:
        """The reward of each answer from the values of all parts."""
        return [self.design.total(row) for row in zip(*values, strict=True)]

    def _potentials(
        self, answers: Answers, chosen: Sequence[int], known: dict[int, Sequence[float]]
    ) -> list[list[float]]:
        """What the chosen parts contribute after 0, 1, … all tokens of each answer."""
        sums = [[0.0] * (len(ids) + 1) for ids in answers.ids]
        for i in chosen:
            part, scorer = self._parts[i]
            values = known.get(i)
            if values is None:
                values = self._values(i, answers, _unread)
            with self._naming(i):
                beginnings = scorer.prefixes(answers)
                for row, whole in enumerate(values):
                    n = len(answers.ids[row])
                    before = [] if beginnings is None else beginnings[row][:n]
                    contributed = _contributions(part, _checked(before, len(before)))
                    added = [*(contributed or [0.0] * n), part.contribution(whole)]
                    sums[row] = [a + b for a, b in zip(sums[row], added, strict=True)]
        return sums

    @contextmanager
    def _naming(self, i: int) -> Iterator[None]:
        """While open, whatever a part does wrong is told with its name.

        Memory that runs out is no fault of the part: the caller tries it in smaller pieces.
        """
        where = f"Part {self._numbers[i] + 1} of {self.name} ({self._parts[i][0].title})"
        try:
            yield
        except Cancelled:
            raise
        except WorkbenchError as error:
            raise UserError(f"{where}: {error.message}", error.hint or _REMEDY) from error
        except _SLIPS as error:
            told = f"{type(error).__name__}: {error}"[:_LONGEST_TOLD]
            raise UserError(f"{where} failed: {told}", _REMEDY) from error


_REMEDY = "Correct this part of the design, or take it out; then go on from the last checkpoint."


def _contributions(part: Part, values: Sequence[float]) -> list[float]:
    return [part.contribution(value) for value in values]


def _checked(values: Sequence[float], n: int) -> Sequence[float]:
    """The values, when they are as many finite numbers as there are answers.

    Raises:
        UserError: They are not.
    """
    if len(values) != n:
        raise UserError(f"it gave {len(values)} values for {n} answers.")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"it gave {str(value)[:_LONGEST_TOLD]!r}, which is not a number.")
        if not math.isfinite(value):
            raise UserError(f"it gave {value}, which is not a number that can be added.")
    return values


def _unread(_reward: object) -> None:
    """Nothing is known beforehand."""
