"""A reward design that is worked on: kept with the experiment, its edits undone one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workbench.app.workspace import Workspace
from workbench.config.reward_parts.design import PARTS, RewardDesign
from workbench.config.reward_parts.part import Part

_KEY = "design.draft"
_MOST_STEPS = 200
_NOT_ITS_VALUE = {"weight", "label", "paid", "shift", "scale", "clip"}

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Draft:
    """A design as it stands on the page; its values may be wrong.

    Attributes:
        name: Of the design.
        parts: The settings of each part, with its kind.
        run_id: The version that it was opened from or saved as; None for a new one.
        kl_weight: What a nat of KL costs in the table. Training has its own setting for that, so
            it is not saved with a version.
    """

    name: str = RewardDesign().name
    parts: tuple[Values, ...] = ()
    run_id: int | None = None
    kl_weight: float = 0.0

    @classmethod
    def of(cls, design: RewardDesign, run_id: int | None, kl_weight: float = 0.0) -> Draft:
        """The draft that a design begins as."""
        return cls(design.name, tuple(p.model_dump() for p in design.parts), run_id, kl_weight)

    def values(self) -> dict[str, Any]:
        """What `designs.check` and `reward_parts.design.read` take."""
        return {"name": self.name, "parts": [dict(part) for part in self.parts]}

    def with_part(self, index: int, **changes: object) -> Draft:
        """With some settings of one part changed."""
        parts = list(self.parts)
        parts[index] = {**parts[index], **changes}
        return replace(self, parts=tuple(parts))

    def added(self, values: Values) -> Draft:
        """With one part more, at the end."""
        return replace(self, parts=(*self.parts, values))

    def without(self, index: int) -> Draft:
        """Without one part."""
        return replace(self, parts=(*self.parts[:index], *self.parts[index + 1 :]))

    def moved(self, index: int, by: int) -> Draft:
        """With one part so many places further down; at the ends nothing happens."""
        to = index + by
        if not 0 <= to < len(self.parts):
            return self
        parts = list(self.parts)
        parts.insert(to, parts.pop(index))
        return replace(self, parts=tuple(parts))


def fresh(kind: str) -> dict[str, Any]:
    """The settings that a new part of a kind begins with."""
    return PARTS[kind]().model_dump()


def part_of(values: Values) -> Part | None:
    """The part that some settings make; None while something is wrong with them."""
    model = PARTS.get(str(values.get("kind")))
    try:
        return None if model is None else model.model_validate(dict(values))
    except ValueError:
        return None


def core(values: Values) -> dict[str, Any]:
    """What of a part decides its raw value: two parts with equal cores are measured once."""
    return {name: value for name, value in values.items() if name not in _NOT_ITS_VALUE}


class Edits:
    """The draft with the steps that led to it; edits of one and the same thing are one step."""

    def __init__(self, draft: Draft) -> None:
        self._now = draft
        self._before: list[Draft] = []
        self._after: list[Draft] = []
        self._subject: object = None

    @property
    def now(self) -> Draft:
        """As it stands."""
        return self._now

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._before)

    @property
    def can_redo(self) -> bool:
        """Whether a step was taken back."""
        return bool(self._after)

    def change(self, draft: Draft, subject: object = None) -> bool:
        """Go on from another draft; whether that is any other.

        Args:
            draft: As it stands now.
            subject: What was edited, such as a weight that is being dragged: the next change of the
                same belongs to this step. None is a step of its own.
        """
        if draft == self._now:
            return False
        if subject is None or subject != self._subject:
            self._before = [*self._before, self._now][-_MOST_STEPS:]
        self._subject = subject
        self._after.clear()
        self._now = draft
        return True

    def settle(self) -> None:
        """The gesture is over: the next change is a step of its own."""
        self._subject = None

    def amend(self, draft: Draft) -> None:
        """Note what is no edit, such as the version it was saved as."""
        self._now = draft

    def undo(self) -> bool:
        """Take the last step back."""
        return self._step(self._before, self._after)

    def redo(self) -> bool:
        """Do it again."""
        return self._step(self._after, self._before)

    def _step(self, here: list[Draft], there: list[Draft]) -> bool:
        if not here:
            return False
        there.append(self._now)
        # What it was saved as meanwhile is no edit.
        self._now = replace(here.pop(), run_id=self._now.run_id)
        self._subject = None
        return True


def load(ws: Workspace) -> Draft:
    """The draft that was kept; an empty one when there is none, or none that can be read."""
    kept = ws.experiment.settings.get(_KEY)
    if not isinstance(kept, Mapping):
        return Draft()
    parts, run_id, weight = kept.get("parts"), kept.get("run_id"), kept.get("kl_weight")
    return Draft(
        name=str(kept.get("name", Draft().name)),
        parts=_parts(parts) if isinstance(parts, Sequence) else (),
        run_id=run_id if isinstance(run_id, int) else None,
        kl_weight=float(weight) if isinstance(weight, int | float) else 0.0,
    )


def keep(ws: Workspace, draft: Draft) -> None:
    """Keep it: on the disk when this returns. A read-only experiment keeps nothing."""
    if not ws.is_read_only:
        values = {**draft.values(), "run_id": draft.run_id, "kl_weight": draft.kl_weight}
        ws.experiment.settings.set(_KEY, values)


def _parts(kept: Sequence[object]) -> tuple[Values, ...]:
    """Those of a kind that this version of the program knows."""
    return tuple(p for p in kept if isinstance(p, Mapping) and p.get("kind") in PARTS)
