"""Experiments that are ready for a stage, made by the same calls as the program's own."""

from __future__ import annotations

from pathlib import Path

from workbench.app import answers, labelling, library, reward
from workbench.app.workspace import Workspace
from workbench.config.annotator import AnnotatorSettings
from workbench.config.generation import SamplingSettings
from workbench.config.reward_model import RewardModelSettings
from workbench.data.records import Message, NewPrompt
from workbench.jobs.runner import Job

_TRAIN = ["say something good", "write about the sea", "tell a story", "how are you"]
_HELDOUT = ["what is rain", "name a friend"]


def new_experiment(folder: Path, model: str, n_repeats: int = 2) -> Workspace:
    """An experiment with a chosen model and a few prompts, `n_repeats` variants of each."""
    ws = Workspace.open(folder, create=True)
    ws.keeps_core_free = True
    library.select_model(ws, model)
    for split, texts in (("train", _TRAIN), ("heldout", _HELDOUT)):
        ws.experiment.prompts.add_many(
            [
                NewPrompt((Message("user", f"{text} {i}"),), "test", "en", split)
                for text in texts
                for i in range(n_repeats)
            ]
        )
    return ws


def add_answers(ws: Workspace, max_new_tokens: int = 12) -> None:
    """Two answers to each training prompt, paired."""
    settings = SamplingSettings(max_new_tokens=max_new_tokens, batch_size=16, n_answers=3)
    end(answers.generate(ws, settings))


def add_judgements(ws: Workspace) -> None:
    """All pairs, judged by the simulated annotator."""
    end(labelling.simulate(ws, AnnotatorSettings(tie_margin=0.0)))


def add_reward_model(ws: Workspace) -> int:
    """A reward model trained on the judgements; its run."""
    job = reward.train_reward(ws, RewardModelSettings(epochs=1, learning_rate=2e-3))
    end(job)
    assert job.run_id is not None
    return job.run_id


def end(job: Job) -> None:
    """Wait for a job and fail with its sentence when it failed."""
    assert job.wait(120), f"{job.title} hangs"
    assert job.finished is not None
    assert job.finished.error is None, job.finished.error
