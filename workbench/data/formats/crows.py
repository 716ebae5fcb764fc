"""Pairs of sentences as CrowS-Pairs has them (Nangia et al. 2020, arXiv:2010.00133).

A CSV file with the columns `sent_more` (the more stereotyping sentence), `sent_less`, and as far as
there are any `stereo_antistereo` (whether the pair shows a stereotype or its opposite) and
`bias_type`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.data.formats.lines import LineError, LineProblem, check_text, read_text
from workbench.data.formats.tables import read_table
from workbench.errors import UserError

_COLUMNS = ("sent_more", "sent_less", "stereo_antistereo", "bias_type")


@dataclass(frozen=True, slots=True)
class SentencePair:
    """The more and the less stereotyping of two sentences; direction is stereo or antistereo."""

    more: str
    less: str
    direction: str
    bias: str


def read_sentence_pairs(path: Path) -> tuple[list[SentencePair], list[LineProblem]]:
    """The pairs of a file, and the rows that were left out.

    Raises:
        UserError: There is no such file, it is not text, its columns are others, or it is empty.
    """
    header, rows = read_table(read_text(path), _COLUMNS)
    if missing := [name for name in _COLUMNS[:2] if name not in header]:
        raise UserError(
            f"{path.name} has no column {' and no column '.join(missing)}; its columns are "
            f"{', '.join(header)}.",
            "Name the columns sent_more and sent_less in the first line.",
        )
    pairs: list[SentencePair] = []
    problems: list[LineProblem] = []
    for number, row in rows:
        try:
            if isinstance(row, LineError):
                raise row
            assert isinstance(row, dict)
            pairs.append(_to_pair(row))
        except LineError as error:
            problems.append(LineProblem(number, str(error)))
    if not pairs:
        why = f" Line {problems[0].line}: {problems[0].message}" if problems else ""
        raise UserError(f"{path.name} holds no pair of sentences.{why}")
    return pairs, problems


def _to_pair(row: Mapping[str, str]) -> SentencePair:
    more, less, direction, bias = (check_text((row.get(c) or "").strip()) for c in _COLUMNS)
    if not more or not less:
        raise LineError("One of the two sentences is empty.")
    if direction not in ("", "stereo", "antistereo"):
        raise LineError(f"stereo_antistereo is {direction!r}: it must be stereo or antistereo.")
    return SentencePair(more, less, direction or "stereo", bias or "all")
