"""Masks, means and whitening: numerics.md items 2 (positions), 5, 6, 7, 24, 25."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from torch import Tensor

from tests.close import EXACT, FLOAT32, FLOAT64, assert_close
from tests.numerics import oracles
from workbench.objectives import masking

NAN = float("nan")


def _case(seed: int) -> tuple[Tensor, Tensor, list[float]]:
    """Values with NaN outside the mask: garbage there must not matter."""
    mask = oracles.ragged(seed)
    x = oracles.normal(seed, *mask.shape) * 3 + 2
    chosen = oracles.selected(x, mask)
    return torch.tensor(np.where(mask, x, NAN)), torch.tensor(mask), chosen


def test_mean_is_the_mean_of_the_selected() -> None:
    for seed in range(5):
        x, is_response, chosen = _case(seed)
        assert_close(masking.masked_mean(x, is_response), oracles.mean(chosen), FLOAT64)


@pytest.mark.parametrize("unbiased", [True, False])
def test_variance_divides_by_n_minus_one_or_by_n(unbiased: bool) -> None:
    for seed in range(5):
        x, is_response, chosen = _case(seed)
        expected = oracles.variance(chosen, ddof=int(unbiased))
        assert_close(masking.masked_var(x, is_response, unbiased), expected, FLOAT64)


def test_variance_is_unbiased_unless_told_otherwise() -> None:
    x, everything = torch.tensor([0.0, 2.0]), torch.tensor([True, True])
    assert_close(masking.masked_var(x, everything), 2.0, FLOAT32)


def test_whitened_values_have_mean_0_and_variance_1() -> None:
    x, is_response, _ = _case(3)
    white = masking.masked_whiten(x, is_response)
    chosen = oracles.selected(white.numpy(), is_response.numpy())
    assert_close(oracles.mean(chosen), 0.0, FLOAT64)
    # The 1e-8 under the root takes about that share of the variance.
    assert abs(oracles.variance(chosen, ddof=1) - 1.0) < 1e-7


def test_whitening_matches_numbers_worked_out_by_hand() -> None:
    x = torch.tensor([[1.0, 2.0, 3.0, 99.0]], dtype=torch.float64)
    is_response = torch.tensor([[True, True, True, False]])
    assert_close(masking.masked_whiten(x, is_response), [[-1.0, 0.0, 1.0, 0.0]], FLOAT32)


def test_scaling_without_shift_keeps_the_mean_and_is_not_the_inverted_condition() -> None:
    """torchtune adds the mean when it should shift: its default leaves 2.5 on [1, 2, 3, 4]."""
    x = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    everything = torch.ones(4, dtype=torch.bool)
    assert_close(masking.masked_whiten(x, everything).mean(), 0.0, FLOAT64)
    kept = masking.masked_whiten(x, everything, shift_mean=False)
    assert_close(kept.mean(), 2.5, FLOAT64)
    assert_close(kept.var(), 1.0, FLOAT32)


def test_whitening_is_0_outside_also_when_the_mean_is_kept() -> None:
    x, is_response, _ = _case(1)
    for shift_mean in (True, False):
        outside = masking.masked_whiten(x, is_response, shift_mean)[~is_response]
        assert_close(outside, torch.zeros(len(outside)), EXACT)


def test_nothing_selected_gives_0_and_no_nan() -> None:
    x, nothing = torch.tensor([[NAN, 3.0]]), torch.zeros(1, 2, dtype=torch.bool)
    assert_close(masking.masked_mean(x, nothing), 0.0, EXACT)
    assert_close(masking.masked_var(x, nothing), 0.0, EXACT)
    assert_close(masking.masked_whiten(x, nothing), [[0.0, 0.0]], EXACT)


def test_one_token_alone_has_no_spread() -> None:
    x, one = torch.tensor([[7.0, NAN]]), torch.tensor([[True, False]])
    assert_close(masking.masked_var(x, one), 0.0, EXACT)
    assert_close(masking.masked_whiten(x, one), [[0.0, 0.0]], EXACT)
    assert_close(masking.masked_whiten(x, one, shift_mean=False), [[7.0, 0.0]], EXACT)


def test_nan_outside_the_mask_reaches_no_gradient() -> None:
    x = torch.tensor([1.0, 2.0, NAN], requires_grad=True)
    masking.masked_whiten(x, torch.tensor([True, True, False]))[0].backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@given(
    x=hnp.arrays(np.float64, (3, 6), elements=st.floats(-1e3, 1e3)),
    mask=hnp.arrays(np.bool_, (3, 6)),
    scale=st.floats(0.1, 10.0),
    shift=st.floats(-100.0, 100.0),
)
def test_mean_and_variance_follow_scale_and_shift(
    x: oracles.F, mask: oracles.B, scale: float, shift: float
) -> None:
    t, is_response = torch.tensor(x), torch.tensor(mask)
    n = int(mask.sum())
    moved = scale * t + shift
    mean, var = masking.masked_mean(t, is_response), masking.masked_var(t, is_response)
    expected_mean = scale * mean + shift if n else torch.tensor(0.0)
    torch.testing.assert_close(
        masking.masked_mean(moved, is_response), expected_mean.double(), rtol=1e-9, atol=1e-7
    )
    torch.testing.assert_close(
        masking.masked_var(moved, is_response), scale**2 * var, rtol=1e-6, atol=1e-5
    )


def test_mask_includes_the_stop_token_and_excludes_everything_after() -> None:
    ids = torch.tensor([[5, 9, 2, 5, 2], [2, 5, 5, 5, 5], [5, 5, 5, 5, 2], [5, 6, 7, 8, 9]])
    expected = [
        [True, True, True, False, False],
        [True, False, False, False, False],  # the stop token first: one response token
        [True, True, True, True, True],
        [True, True, True, True, True],  # no stop token: cut by length
    ]
    assert masking.response_mask(ids, {2}).tolist() == expected


def test_any_of_several_stop_tokens_ends_an_answer() -> None:
    ids = torch.tensor([[5, 3, 2, 5], [5, 5, 2, 3]])
    assert masking.response_mask(ids, {2, 3}).sum(dim=1).tolist() == [2, 3]
    assert masking.response_mask(ids, [3]).sum(dim=1).tolist() == [2, 4]


def test_without_stop_tokens_nothing_ends() -> None:
    assert masking.response_mask(torch.tensor([[1, 2, 3]]), ()).all()


def test_a_sampled_padding_token_does_not_end_an_answer() -> None:
    """TRL cuts there: an answer is decided by stop tokens only."""
    pad = 0
    ids = torch.tensor([[5, pad, 6, 2, pad]])
    assert masking.response_mask(ids, {2}).tolist() == [[True, True, True, True, False]]


@given(hnp.arrays(np.int64, (4, 6), elements=st.integers(0, 4)), st.sets(st.integers(0, 4)))
def test_mask_equals_the_loop(ids: NDArray[np.int64], stop_ids: set[int]) -> None:
    actual = masking.response_mask(torch.tensor(ids), stop_ids).numpy()
    assert (actual == oracles.response_mask(ids, stop_ids)).all()


def test_positions_count_real_tokens_from_0() -> None:
    attention_mask = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 0, 1, 0]]).bool()
    assert masking.position_ids(attention_mask).tolist() == [
        [0, 1, 2, 3, 4],
        [0, 0, 0, 1, 2],
        [0, 0, 0, 0, 0],
    ]


def test_positions_are_the_same_for_a_bool_and_an_integer_mask() -> None:
    attention_mask = torch.tensor([[0, 1, 1]])
    assert masking.position_ids(attention_mask).dtype == torch.int64
    assert masking.position_ids(attention_mask.bool()).tolist() == [[0, 0, 1]]
