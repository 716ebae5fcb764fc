"""A simulated annotator: a stated rule with a noise rate, for the tour, tests and benchmarks.

Its judgements are marked as simulated wherever they go. The rule is English only, as VADER's
word list is (Hutto & Gilbert 2014).
"""

from __future__ import annotations

import hashlib

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from workbench.config.annotator import AnnotatorSettings
from workbench.data.records import Verdict

NAME = "simulated"


class SimulatedAnnotator:
    """Likes cheerful and brief answers, and errs at a stated rate."""

    def __init__(self, settings: AnnotatorSettings) -> None:
        self.settings = settings
        self._sentiment = SentimentIntensityAnalyzer()

    def utility(self, text: str) -> float:
        """sentiment_weight · sentiment − brevity_weight · words / 20; an empty answer gets −10."""
        if not text.strip():
            return -10.0
        sentiment = float(self._sentiment.polarity_scores(text)["compound"])
        words = len(text.split())
        return (
            self.settings.sentiment_weight * sentiment - self.settings.brevity_weight * words / 20
        )

    def judge(self, first: str, second: str, key: int) -> Verdict:
        """Verdict on two answers; the noise depends only on the seed and on `key`."""
        difference = self.utility(first) - self.utility(second)
        if abs(difference) < self.settings.tie_margin:
            return "tie"
        digest = hashlib.sha256(f"{self.settings.seed}/{key}".encode()).digest()
        if int.from_bytes(digest[:8], "big") / 2**64 < self.settings.noise:
            difference = -difference
        return "first" if difference > 0 else "second"
