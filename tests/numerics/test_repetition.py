"""Repeated n-grams against a count by hand."""

from collections import Counter

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.close import FLOAT32, assert_close
from workbench.objectives.repetition import repeated_share


def test_by_hand() -> None:
    ids = torch.tensor(
        [[1, 2, 1, 2, 1, 2, 1, 2], [1, 2, 3, 4, 5, 6, 7, 8], [9, 9, 0, 0, 0, 0, 0, 0]]
    )
    is_response = torch.tensor([[True] * 8, [True] * 8, [True] * 2 + [False] * 6])
    # 1212 2121 1212 2121 1212: two of five are new; the second has none twice, the third no four.
    assert_close(repeated_share(ids, is_response), (0.6 + 0.0) / 2, FLOAT32)
    assert_close(repeated_share(ids[2:], is_response[2:]), 0.0, FLOAT32)
    # What stands behind the end is not looked at.
    assert_close(repeated_share(ids[2:], is_response[2:], n=1), 0.5, FLOAT32)


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=12), min_size=1, max_size=4),
    st.integers(1, 4),
)
def test_is_the_share_of_n_grams_that_came_before(rows: list[list[int]], n: int) -> None:
    shares = []
    for row in rows:
        counts = Counter(tuple(row[i : i + n]) for i in range(len(row) - n + 1))
        if counts:
            total = sum(counts.values())
            shares.append(sum(c - 1 for c in counts.values()) / total)
    width = max(map(len, rows)) + 2
    ids = torch.tensor([[*row, *[3] * (width - len(row))] for row in rows])
    is_response = torch.arange(width) < torch.tensor([len(row) for row in rows]).unsqueeze(1)
    wanted = sum(shares) / len(shares) if shares else 0.0
    assert_close(repeated_share(ids, is_response, n), wanted, FLOAT32)
