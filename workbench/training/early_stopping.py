"""Stop when the held-out loss falls no more, and keep the weights of its lowest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from workbench.config.training import TrainingSettings
from workbench.models.heads import KeptWeights
from workbench.training.learner import Learner

_LOSS, _UPDATE, _WORSE = "best_loss", "best_update", "measured_since_best"


class EarlyStopping:
    """What it knows lies in the learner's counters, and so in its checkpoints.

    Args:
        learner: What learns.
        kept: Copies of its parameters, among its heads so that checkpoints hold them.
        parameters: Those to keep.
        metric: Lower is better.
        patience: Measurements without a lower one after which it is over; 0 never ends a run, and
            keeps nothing.
    """

    def __init__(
        self,
        learner: Learner[TrainingSettings],
        kept: KeptWeights,
        parameters: Sequence[nn.Parameter],
        metric: str,
        patience: int,
    ) -> None:
        self._counters = learner.counters
        self._learner = learner
        self._kept = kept
        self._parameters = parameters
        self._metric = metric
        self._patience = patience

    @property
    def is_over(self) -> bool:
        """Whether patience is at its end."""
        return self._counters.get(_WORSE, 0.0) >= self._patience

    @property
    def best_update(self) -> int | None:
        """After which update the figure was lowest; None before the first measurement."""
        update = self._counters.get(_UPDATE)
        return None if update is None else int(update)

    def take(self, figures: Mapping[str, float]) -> None:
        """Compare a figure with the lowest so far."""
        value, counters = figures[self._metric], self._counters
        if _LOSS in counters and not value < counters[_LOSS]:
            counters[_WORSE] += 1.0
            return
        counters[_LOSS], counters[_UPDATE] = value, float(self._learner.update)
        counters[_WORSE] = 0.0
        self._kept.keep_(self._parameters)

    def restore_(self) -> None:
        """Set the parameters to those of the lowest, where there is one."""
        if self.best_update is not None:
            self._kept.restore_(self._parameters)
