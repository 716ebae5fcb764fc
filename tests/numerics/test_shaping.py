"""Paying a score as it rises leaves every return, and so the best policy, as it is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.close import FLOAT64, assert_close
from workbench.objectives.advantages import place_rewards, shaping
from workbench.objectives.moments import Moments

NUMBERS = st.floats(-100, 100)


def _potentials(rows: list[list[float]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rises (B, T) of potentials after 0, 1, … tokens, and where there are tokens."""
    width = max(len(row) - 1 for row in rows) + 2
    rises = torch.full((len(rows), width), 7.0, dtype=torch.float64)  # padding is not read
    is_response = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        rises[i, : len(row) - 1] = torch.tensor(row, dtype=torch.float64).diff()
        is_response[i, : len(row) - 1] = True
    return rises, is_response


@given(
    st.lists(st.lists(NUMBERS, min_size=2, max_size=7), min_size=1, max_size=3),
    st.floats(0.1, 1.0),
    NUMBERS,
)
def test_the_return_of_every_answer_stays(
    rows: list[list[float]], gamma: float, score: float
) -> None:
    rises, is_response = _potentials(rows)
    scores = torch.full((len(rows),), score, dtype=torch.float64)
    nothing = torch.zeros_like(rises)
    plain = place_rewards(scores, nothing, is_response, 0.0)
    paid = shaping(rises, is_response, gamma)
    shaped = place_rewards(scores, nothing, is_response, 0.0, token_rewards=paid)
    discount = gamma ** torch.arange(rises.shape[1], dtype=torch.float64)
    assert_close((shaped * discount).sum(1), (plain * discount).sum(1), FLOAT64)
    assert not shaped[~is_response].any()


# Answers of three tokens out of three: 27 in all, each state a beginning.
TOKENS, LENGTH = 3, 3
STATES = [s for n in range(LENGTH) for s in itertools.product(range(TOKENS), repeat=n)]
ANSWERS = list(itertools.product(range(TOKENS), repeat=LENGTH))


def _best_actions(
    rewards: dict[tuple[int, ...], list[float]], gamma: float
) -> dict[tuple[int, ...], int]:
    """By value iteration; `rewards` holds for each answer what its tokens earn."""
    value = dict.fromkeys([*STATES, *ANSWERS], 0.0)
    best = {}
    for state in sorted(STATES, key=len, reverse=True):
        q = []
        for action in range(TOKENS):
            after = (*state, action)
            answer = next(a for a in ANSWERS if a[: len(after)] == after)
            q.append(rewards[answer][len(state)] + gamma * value[after])
        best[state] = int(np.argmax(q))
        value[state] = max(q)
    return best


def _rewards(seed: int, gamma: float, how: str) -> dict[tuple[int, ...], list[float]]:
    rng = np.random.default_rng(seed)
    scores = {answer: float(rng.normal()) for answer in ANSWERS}
    potential = {beginning: 3.0 * float(rng.normal()) for beginning in [*STATES, *ANSWERS]}
    found = {}
    for answer in ANSWERS:
        row = [potential[answer[:n]] for n in range(LENGTH)] + [potential[answer]]
        rises, is_response = _potentials([row])
        end = torch.tensor([scores[answer]], dtype=torch.float64)
        token = {
            "plain": None,
            "shaped": shaping(rises, is_response, gamma),
            "not telescoping": rises.cumsum(1) * is_response,
        }[how]
        rewards = place_rewards(end, rises * 0, is_response, 0.0, token_rewards=token)
        found[answer] = rewards[0, :LENGTH].tolist()
    return found


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_the_best_policy_stays_under_shaping_and_moves_without_telescoping(gamma: float) -> None:
    n_moved = 0
    for seed in range(4):
        plain = _best_actions(_rewards(seed, gamma, "plain"), gamma)
        assert _best_actions(_rewards(seed, gamma, "shaped"), gamma) == plain
        n_moved += _best_actions(_rewards(seed, gamma, "not telescoping"), gamma) != plain
    assert n_moved == 4, "the potentials are large enough to matter"


def test_moments_of_batches_are_those_of_all() -> None:
    rng = np.random.default_rng(0)
    batches = [rng.normal(1e4, 3.0, size=n) for n in (1, 5, 2, 30)]
    now = Moments(0.0, 0.0, 0.0)
    for i, batch in enumerate(batches):
        now = now.merged(Moments.of(torch.tensor(batch)))
        everything = np.concatenate(batches[: i + 1])
        assert now.n == len(everything)
        assert_close(now.mean, everything.mean(), FLOAT64)
        assert abs(now.std - everything.std()) < 1e-8
