"""What a running job has told so far, for a page that is opened in the middle of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from workbench.events import Evaluated, Event, Marked, Sample, Step

Series = dict[str, tuple[list[int], list[float]]]


class LiveRun:
    """Metrics and latest samples of one run, kept in memory: the store is up to a second behind.

    Args:
        metrics: What the store already has of the run (it was resumed), as (step, value) pairs.
        samples: Samples the store already has.
        marks: What the store knows to have happened at which step.
    """

    def __init__(
        self,
        metrics: Mapping[str, Iterable[tuple[int, float]]] | None = None,
        samples: Sequence[Sample] = (),
        marks: Sequence[Marked] = (),
    ) -> None:
        self.series: Series = {}
        for name, pairs in (metrics or {}).items():
            for step, value in pairs:
                self._put(name, step, value)
        self.marks = list(marks)
        self.samples: list[Sample] = []
        for sample in samples:
            self.take(sample)
        self.done = 0
        self.total = 0

    def take(self, event: Event) -> None:
        """Remember what one event says."""
        if isinstance(event, Step):
            self.done, self.total = event.step, event.total
        if isinstance(event, Step | Evaluated):
            for name, value in event.metrics.items():
                self._put(name, event.step, value)
        elif isinstance(event, Sample):
            self._take_sample(event)
        elif isinstance(event, Marked) and event not in self.marks:
            self.marks.append(event)

    def _take_sample(self, sample: Sample) -> None:
        """Keep those of the latest update; the store has the others, and those asked again."""
        if sample.is_watched:
            return
        if self.samples and sample.step > self.samples[-1].step:
            self.samples.clear()
        if _key(sample) not in map(_key, self.samples):
            self.samples.append(sample)

    def _put(self, name: str, step: int, value: float) -> None:
        steps, values = self.series.setdefault(name, ([], []))
        if steps and step <= steps[-1]:
            # A page that is opened during a run reads from the store what is still on its way.
            return
        steps.append(step)
        values.append(value)


def _key(sample: Sample) -> tuple[object, ...]:
    """What tells samples apart; the store gives them without their tokens."""
    return sample.step, sample.prompt_id, sample.text, sample.reward
