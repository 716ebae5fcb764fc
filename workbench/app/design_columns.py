"""Values of parts for one and the same answers, kept by what decides them.

A part that was taken out and comes back, or stands in another version, is not measured again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from workbench.app.design_draft import Values, core
from workbench.app.design_numbers import Floats
from workbench.app.designs import Measured, Row, calibrated
from workbench.config.reward_parts.design import RewardDesign
from workbench.config.reward_parts.kinds import AnyPart
from workbench.errors import UserError


@dataclass(frozen=True, slots=True)
class Column:
    """A part on the answers.

    Attributes:
        part: As it was measured.
        values: (A,), NaN for none.
        problem: Why it has none; empty where it has.
        seconds: How long it took for all.
    """

    part: AnyPart
    values: Floats
    problem: str
    seconds: float


class Columns:
    """The answers of the table, and a column for each part that was measured on them."""

    def __init__(self) -> None:
        self.rows: tuple[Row, ...] = ()
        self.kl: Floats = np.zeros(0)
        self._columns: dict[str, Column] = {}

    @property
    def ids(self) -> list[int]:
        """The answers."""
        return [row.completion_id for row in self.rows]

    def take(self, table: Measured) -> None:
        """Add the columns of a table; one of other answers takes the place of all."""
        if [row.completion_id for row in table.rows] != self.ids:
            self._columns.clear()
        self.rows = tuple(replace(row, raw=()) for row in table.rows)
        self.kl = _numbers([row.kl for row in table.rows])
        for i, part in enumerate(table.design.parts):
            values = _numbers([row.raw[i] for row in table.rows])
            self._columns[_key(part.model_dump())] = Column(
                part, values, table.problems[i], table.seconds[i]
            )

    def forget(self, parts: Sequence[Values]) -> None:
        """Measure these again: what they need has changed."""
        for part in parts:
            self._columns.pop(_key(part), None)

    def find(self, parts: Sequence[Values]) -> list[Column | None]:
        """The columns of some parts; None for what was not measured."""
        return [self._columns.get(_key(part)) for part in parts]

    def raw(self, found: Sequence[Column | None]) -> Floats:  # (A, P)
        """Their values; NaN for what was not measured."""
        values = np.full((len(self.rows), len(found)), np.nan)
        for i, column in enumerate(found):
            if column is not None:
                values[:, i] = column.values
        return values

    def is_measured(self, part: Values) -> bool:
        """Whether there is a column for it, or the reason why there is none."""
        return _key(part) in self._columns

    def normalised(self, part: AnyPart) -> AnyPart:
        """The part with shift and scale of the base's answers in the table.

        Raises:
            UserError: It was not measured, or on too few answers of the base.
        """
        column = self._columns.get(_key(part.model_dump()))
        if column is None or column.problem:
            raise UserError("This part has no values yet.", "Measure the answers first.")
        rows = tuple(
            replace(row, raw=(None if np.isnan(value) else float(value),))
            for row, value in zip(self.rows, column.values, strict=True)
        )
        design = RewardDesign(parts=(part,))
        table = Measured(design, rows, ("",), (column.seconds,))
        found = calibrated(design, table).parts[0]
        if found == part and len(set(column.values.tolist())) == 1:
            raise UserError(
                "All these answers get the same from this part, so there is no spread to divide by."
            )
        return found


def _numbers(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _key(part: Values) -> str:
    return json.dumps(core(part), sort_keys=True, default=str)
