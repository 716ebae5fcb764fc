"""Numbers of the designer: against the design itself, and against loops and closed forms."""

import math

import numpy as np
import pytest

from tests.close import FLOAT64, assert_close
from workbench.app import design_draft, design_numbers
from workbench.app.design_columns import Columns
from workbench.app.design_draft import Draft, Edits
from workbench.app.designs import Measured, Row
from workbench.config.reward_parts.design import RewardDesign
from workbench.config.reward_parts.kinds import AnyPart, BrevityPart, StopTokenPart
from workbench.errors import UserError


def test_totals_are_those_of_the_design() -> None:
    parts = (
        BrevityPart(weight=-1.5, shift=0.2, scale=0.5, clip=1.0),
        StopTokenPart(weight=2.0),
        StopTokenPart(weight=0.0),
    )
    raw = np.random.default_rng(3).normal(size=(40, 3))
    paid = design_numbers.contributions(raw, parts)
    design = RewardDesign(parts=parts)
    assert_close(
        design_numbers.totals(paid), [design.total(tuple(map(float, r))) for r in raw], FLOAT64
    )
    raw[3, 1] = math.nan
    unknown = design_numbers.contributions(raw, [*parts[:2], None])
    assert math.isnan(unknown[3, 1])
    assert np.isnan(unknown[:, 2]).all()
    assert design_numbers.totals(unknown)[3] == pytest.approx(parts[0].contribution(raw[3, 0]))


def test_shares_of_what_decides() -> None:
    """Independent parts decide in proportion to their variances; one against the rest, below 0."""
    a, b = np.array([1.0, 1, -1, -1]), np.array([1.0, -1, 1, -1])
    assert_close(design_numbers.shares(np.stack([3 * a, b], 1)), [0.9, 0.1], FLOAT64)
    assert_close(design_numbers.shares(np.stack([3 * a, -a], 1)), [1.5, -0.5], FLOAT64)
    assert design_numbers.shares(np.stack([a, -a], 1)).tolist() == [0, 0]
    assert design_numbers.shares(np.ones((1, 2))).tolist() == [0, 0]
    columns = [[2.0, math.nan, 2.0], [1.0, 2.0, 1.0], [math.nan, math.nan, 1.0]]
    assert design_numbers.are_constant(np.array(columns).T).tolist() == [True, False, False]


def test_places_and_their_correlation() -> None:
    assert design_numbers.ranks(np.array([0.5, 2.0, 0.5, -1.0])).tolist() == [2.5, 1.0, 2.5, 4.0]
    first = np.array([5.0, 4, 3, 2, 1])
    swapped = np.array([5.0, 1, 3, 2, 4])
    found = design_numbers.compare(first, swapped)
    # Without ties: 1 − 6 Σ d² / (n (n² − 1)), with d = (0, 3, 0, 0, −3).
    assert found.correlation == pytest.approx(1 - 6 * 18 / (5 * 24))
    assert found.order[:2].tolist() == [1, 4]
    assert (found.before[1], found.after[1]) == (2.0, 5.0)
    assert design_numbers.compare(first, -first).correlation == pytest.approx(-1)
    assert math.isnan(design_numbers.compare(first, np.zeros(5)).correlation)


def test_edits_are_undone_step_by_step_and_kept(ws) -> None:
    edits = Edits(design_draft.load(ws))
    assert edits.now == Draft()
    edits.change(edits.now.added(design_draft.fresh("brevity")))
    edits.change(edits.now.added(design_draft.fresh("stop-token")))
    for weight in (0.2, 0.4, 0.6):
        assert edits.change(edits.now.with_part(0, weight=weight), ("weight", 0))
    assert not edits.change(edits.now, ("weight", 0))
    edits.change(edits.now.moved(0, 1))
    assert edits.now == edits.now.moved(0, -1)
    design_draft.keep(ws, edits.now)
    assert design_draft.load(ws) == edits.now
    assert [p["kind"] for p in edits.now.parts] == ["stop-token", "brevity"]

    assert edits.undo()
    assert edits.now.parts[0]["weight"] == 0.6
    assert edits.undo()  # all three in one
    assert edits.now.parts[0]["weight"] == 1.0
    assert edits.redo()
    assert edits.now.parts[0]["weight"] == 0.6
    edits.change(edits.now.without(0))
    assert not edits.can_redo
    while edits.undo():
        pass
    assert edits.now == Draft()

    assert design_draft.part_of({"kind": "brevity", "weight": 99}) is None
    assert design_draft.part_of({"kind": "nonsense"}) is None
    brevity = design_draft.fresh("brevity")
    assert design_draft.core(brevity) == design_draft.core({**brevity, "weight": 3, "clip": 1})
    assert design_draft.core(brevity) != design_draft.core({**brevity, "longest": 7})


def test_columns_are_kept_by_what_decides_them() -> None:
    def table(parts: tuple[AnyPart, ...], raw: list[tuple[float | None, ...]]) -> Measured:
        rows = [Row(k, "w1", "w2", True, values, 0.0) for k, values in enumerate(raw)]
        design = RewardDesign(parts=parts)
        return Measured(design, tuple(rows), ("",) * len(parts), (0.4,) * len(parts))

    brevity, ended = BrevityPart(longest=4), StopTokenPart()
    columns = Columns()
    columns.take(table((brevity,), [(-0.5,), (-1.0,), (0.0,)]))
    columns.take(table((ended,), [(1.0,), (None,), (1.0,)]))
    shown = [p.model_dump() for p in (BrevityPart(longest=4, weight=2, clip=1), ended)]
    wrong = [BrevityPart(longest=5).model_dump()]
    assert columns.is_measured(shown[0])
    assert not columns.is_measured(wrong[0])
    raw = columns.raw(columns.find([*shown, *wrong]))
    assert raw[:, 0].tolist() == [-0.5, -1.0, 0.0]
    assert np.isnan(raw).tolist() == [
        [False, False, True],
        [False, True, True],
        [False] * 2 + [True],
    ]

    found = columns.normalised(brevity)
    assert (found.shift, found.scale) == pytest.approx((-0.5, math.sqrt(1 / 6)))
    assert found.longest == 4
    with pytest.raises(UserError, match="no values yet"):
        columns.normalised(BrevityPart(longest=5))
    columns.forget(shown[1:])
    assert not columns.is_measured(shown[1])
    # Other answers: nothing of before is of them.
    columns.take(table((ended,), [(1.0,), (1.0,)]))
    assert not columns.is_measured(shown[0])
    assert columns.ids == [0, 1]
    with pytest.raises(UserError, match="no spread"):
        columns.normalised(ended)
