"""What every part of a designed reward has: its weight, when it is paid, its own normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from workbench.config.spec import Settings, hyper

PART, NORMALISATION = "Part", "Normalisation"

Need = Literal["reward run", "references", "judge", "file"]


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a kind of part before it is set up.

    Attributes:
        title: As in the window.
        help: One or two sentences: what its value is.
        low: Lowest value; None where there is no bound.
        high: Highest value; None where there is no bound.
        unit: Of its value; empty for a plain number.
        needs: What must be there beside the answer.
        languages: Which languages it is for, in words; empty for all.
        is_by_token: Whether beginnings of an answer have a value, so that it can be paid token by
            token.
        warning: What a user must know before taking it; empty for nothing.
    """

    title: str
    help: str
    low: float | None = None
    high: float | None = None
    unit: str = ""
    needs: frozenset[Need] = frozenset()
    languages: str = ""
    is_by_token: bool = True
    warning: str = ""

    @property
    def range(self) -> str:
        """The values in words: 0 to 1, any number up to 0."""
        unit = f" {self.unit}" if self.unit else ""
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}{unit}"
        if self.high is not None:
            return f"up to {self.high:g}{unit}"
        return f"any number{unit and f' ({self.unit})'}"


class Part(Settings):
    """One part of a reward: weight · clip((value − shift) / scale)."""

    about: ClassVar[About]

    label: str = hyper(
        "", "Name", "How tables show this part; without one they show its kind.", group=PART
    )
    weight: float = hyper(
        1.0,
        "Weight",
        "What this part counts; below 0 it is something to avoid.",
        group=PART,
        ge=-10.0,
        le=10.0,
    )
    paid: Literal["end", "token"] = hyper(
        "end",
        "Paid",
        "end pays at the last token; token pays at each token by how much it raised the value of "
        "the answer so far. The sum is the same, and so is the best policy.",
        group=PART,
    )
    shift: float = hyper(
        0.0,
        "Shift",
        "Taken from the value; the mean over answers of the base makes it 0 on average.",
        group=NORMALISATION,
        ge=-1e6,
        le=1e6,
    )
    scale: float = hyper(
        1.0,
        "Scale",
        "The value is divided by this; the spread over answers of the base makes weights of "
        "different parts comparable.",
        group=NORMALISATION,
        gt=0.0,
        le=1e6,
    )
    clip: float = hyper(
        0.0,
        "Clip",
        "The shifted and scaled value is cut to plus and minus this; 0 means off.",
        group=NORMALISATION,
        ge=0.0,
        le=1000.0,
    )

    @property
    def kind_name(self) -> str:
        """Its kind, as in files."""
        return str(self.model_dump(include={"kind"})["kind"])

    @property
    def title(self) -> str:
        """How tables show it."""
        return self.label.strip() or self.about.title

    def normalised(self, raw: float) -> float:
        """A value shifted, scaled and clipped, without its weight."""
        value = (raw - self.shift) / self.scale
        return max(-self.clip, min(self.clip, value)) if self.clip else value

    def contribution(self, raw: float) -> float:
        """What a value adds to the reward."""
        return self.weight * self.normalised(raw)


def lines(text: str) -> list[str]:
    """The entries of a list that is written one per line; empty lines do not count."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def from_list(value: object) -> object:
    """A list as a text with one entry per line; a TOML file may hold either."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "\n".join(map(str, value))
    return value
