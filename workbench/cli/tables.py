"""Results as tables of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.app.best_of_n import Figure, Point


def curve_table(points: Sequence[Point]) -> str:
    """The curve of best of n, a line for each n; means over prompts with 95 % intervals."""
    lines = [f"{'n':>4} {'KL at most':>10}   {'score':24} {'win rate':24} tokens"]
    for point in points:
        wins = "" if point.win_rate is None else _interval(point.win_rate)
        lines.append(
            f"{point.n:4} {point.kl_bound:10.2f}   {_interval(point.score):24} {wins:24} "
            f"{point.length.value:.1f}"
        )
    return "\n".join(lines)


def _interval(figure: Figure) -> str:
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"
