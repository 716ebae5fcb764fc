"""What a run was trained on, beside the run: to go on exactly, whatever happens to the labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from workbench.data.folders import write_atomic
from workbench.data.records import (
    Answered,
    Feedback,
    Preference,
    Prompt,
    RankedAnswers,
    Rated,
    Tie,
)
from workbench.errors import UserError

DATA_FILE = "data.json"  # in the folder of its run


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Prompts, labels and answers of a run; what its algorithm does not need is empty.

    So is what the version that wrote the file did not know.

    Attributes:
        prompts: What a policy answers to learn.
        watch: What it answers again and again, to be read.
        preferences: Chosen over rejected answers.
        feedback: Answers called good or bad.
        answers: Answers by themselves.
    """

    prompts: tuple[Prompt, ...] = ()
    watch: tuple[Prompt, ...] = ()
    preferences: tuple[Preference, ...] = ()
    feedback: tuple[Feedback, ...] = ()
    answers: tuple[Answered, ...] = ()
    ties: tuple[Tie, ...] = ()
    rankings: tuple[RankedAnswers, ...] = ()
    ratings: tuple[Rated, ...] = ()

    def write(self, path: Path) -> None:
        """Write a JSON file that is complete or absent.

        Raises:
            EnvironmentProblem: The disk is full or refuses.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, _ADAPTER.dump_json(self))

    @classmethod
    def read(cls, path: Path) -> TrainingData:
        """Read what `write` wrote.

        Raises:
            UserError: The file is not there or was changed.
        """
        try:
            return _ADAPTER.validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise UserError(
                f"The training data of this run cannot be read: {path}.", "Start a new run."
            ) from error


_ADAPTER = TypeAdapter(TrainingData)
