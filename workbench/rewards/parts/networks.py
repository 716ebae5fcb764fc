"""Parts that are networks: reward runs, and the likelihood under the reference."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.config.reward_parts.kinds import RewardModelPart
from workbench.rewards.base import InPieces, PrefixReward, Read, Scorer
from workbench.rewards.parts.answers import Answers


class NetworkPart:
    """A reward that was read from its folder, as a part of another."""

    def __init__(self, part: RewardModelPart, scorer: Scorer) -> None:
        self._part = part
        self.scorer = scorer

    @property
    def tokens_at_once(self) -> int:
        """Tokens that it computes at once."""
        return self.scorer.tokens_at_once if isinstance(self.scorer, InPieces) else 4096

    @tokens_at_once.setter
    def tokens_at_once(self, n: int) -> None:
        if isinstance(self.scorer, InPieces):
            self.scorer.tokens_at_once = n

    def read(self, read: Read) -> Sequence[float] | None:
        """Its values from states that are there already; None when it has to compute them."""
        return read(self.scorer)

    def values(self, answers: Answers) -> Sequence[float]:
        """The scores."""
        return self.scorer.score(answers.prompts, answers.ids)

    def prefixes(self, answers: Answers) -> Sequence[Sequence[float]] | None:
        """Scores of beginnings, where the reward has them."""
        if isinstance(self.scorer, PrefixReward):
            return self.scorer.score_prefixes(answers.prompts, answers.ids)
        return None

    def close(self) -> None:
        """Close the reward."""
        self.scorer.close()
