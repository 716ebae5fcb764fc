"""Parts that compare an answer with a reference: likeness, and an AI judge's word."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from workbench.cancel import CancelToken
from workbench.config.reward_parts.kinds import JudgePart, SimilarityPart
from workbench.data.design_folder import prompt_digest
from workbench.data.records import Message
from workbench.errors import UserError
from workbench.objectives.text_overlap import bleu, chrf, rouge_l
from workbench.rewards.judge_question import Judge, win_probabilities
from workbench.rewards.parts.answers import Answers, words

_MOST_WORDS = 2000


class Compared:
    """What parts with references have in common: no value before the last token."""

    def __init__(self, part: SimilarityPart | JudgePart, references: Mapping[str, str]) -> None:
        self._average = part.shift
        self._references = references

    def values(self, answers: Answers) -> list[float]:
        """One value per answer; an average for prompts that have no reference."""
        found = [self._references.get(prompt_digest(prompt)) for prompt in answers.prompts]
        known = [i for i, reference in enumerate(found) if reference is not None]
        compared = self.compare(
            [answers.prompts[i] for i in known],
            [answers.texts[i] for i in known],
            [found[i] or "" for i in known],
        )
        values = [self._average] * len(answers)
        for i, value in zip(known, compared, strict=True):
            values[i] = value
        return values

    def compare(
        self,
        prompts: Sequence[Sequence[Message]],
        texts: Sequence[str],
        references: Sequence[str],
    ) -> list[float]:
        """One value per pair of an answer and its reference."""
        raise NotImplementedError

    def prefixes(self, _answers: Answers) -> None:
        """A beginning is not compared."""

    def close(self) -> None:
        """It holds nothing."""


class Similarity(Compared):
    """How much two texts have in common."""

    def __init__(self, part: SimilarityPart, references: Mapping[str, str]) -> None:
        super().__init__(part, references)
        self._measure = _MEASURES[part.measure]

    def compare(
        self,
        _prompts: Sequence[Sequence[Message]],
        texts: Sequence[str],
        references: Sequence[str],
    ) -> list[float]:
        """The measure, pair by pair."""
        return [self._measure(a, b) for a, b in zip(texts, references, strict=True)]


class Judged(Compared):
    """How likely a judge finds the answer better than its reference."""

    def __init__(
        self, part: JudgePart, references: Mapping[str, str], judge: Judge, cancel: CancelToken
    ) -> None:
        super().__init__(part, references)
        self._judge = judge
        self._cancel = cancel

    def compare(
        self,
        prompts: Sequence[Sequence[Message]],
        texts: Sequence[str],
        references: Sequence[str],
    ) -> list[float]:
        """Win probabilities; equal texts are not asked about.

        Raises:
            UserError: The judge named neither answer of a pair.
            Cancelled: The run was cancelled or stopped meanwhile.
        """
        asked = [i for i, pair in enumerate(zip(texts, references, strict=True)) if _differ(*pair)]
        told = win_probabilities(
            self._judge,
            [prompts[i] for i in asked],
            [texts[i] for i in asked],
            [references[i] for i in asked],
        )
        self._cancel.raise_if_stopping()
        values = [0.5] * len(texts)
        for i, p in zip(asked, told, strict=True):
            if p is None:
                raise UserError(
                    "the judge named neither answer.",
                    "Ask for one letter only in its template, or allow longer answers.",
                )
            values[i] = p
        return values

    def close(self) -> None:
        """Close the judge."""
        self._judge.close()


def _differ(text: str, reference: str) -> bool:
    return text.strip() != reference.strip()


def _by_words(
    measure: Callable[[Sequence[str], Sequence[str]], float],
) -> Callable[[str, str], float]:
    def compare(text: str, reference: str) -> float:
        pair = (words(t.casefold())[:_MOST_WORDS] for t in (text, reference))
        return measure(*pair)

    return compare


_MEASURES: Mapping[str, Callable[[str, str], float]] = {
    "bleu": _by_words(bleu),
    "rouge-l": _by_words(rouge_l),
    "chrf": chrf,
}
