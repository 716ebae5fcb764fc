from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workbench.data.records import Message, NewCompletion, NewPrompt
from workbench.store.experiment import Experiment

AddPrompt = Callable[..., tuple[int, list[int]]]


@pytest.fixture
def experiment(tmp_path: Path) -> Iterator[Experiment]:
    with Experiment.create(tmp_path / "experiment") as opened:
        yield opened


@pytest.fixture
def add_prompt(experiment: Experiment) -> AddPrompt:
    """Adds a prompt with answers; gives its id and theirs."""

    def add(text: str, *answers: str) -> tuple[int, list[int]]:
        [prompt_id] = experiment.prompts.add_many([NewPrompt((Message("user", text),))])
        new = [NewCompletion(prompt_id, answer, seed=i) for i, answer in enumerate(answers)]
        return prompt_id, experiment.completions.add_many(new)

    return add


@pytest.fixture
def pairs(experiment: Experiment, add_prompt: AddPrompt) -> list[int]:
    """Ten comparisons of ten prompts."""
    with experiment.database.write():  # one sync instead of thirty
        for i in range(10):
            prompt_id, (first, second) = add_prompt(f"prompt {i}", f"good {i}", f"bad {i}")
            experiment.comparisons.add_many([(prompt_id, first, second)])
    return experiment.comparisons.pending_ids("ada")
