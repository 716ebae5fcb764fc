"""A reward model learns what is visible in the pairs, and nothing where nothing is."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests import tinymodels
from workbench.cancel import CancelToken
from workbench.config.reward_model import RewardModelSettings
from workbench.data.records import Preference
from workbench.events import Evaluated
from workbench.training import reward_model
from workbench.training.inputs import Inputs

LIKED = "w7"


def _preferences(seed: int, *, is_shuffled: bool) -> list[Preference]:
    """The answer with the liked word wins; shuffled, a coin decides."""
    rng = random.Random(seed)
    prompts = tinymodels.prompts(60)
    others = [f"w{i}" for i in range(16) if f"w{i}" != LIKED]
    pairs = []
    for i in range(240):
        words = [rng.choice(others) for _ in range(5)]
        plain = " ".join(rng.choice(others) for _ in range(5))
        words[rng.randrange(5)] = LIKED
        chosen, rejected = " ".join(words), plain
        if is_shuffled and rng.random() < 0.5:
            chosen, rejected = rejected, chosen
        pairs.append(Preference(i, prompts[i % 60], chosen, rejected, "rule", "simulated"))
    return pairs


def _accuracies(folder: Path, tmp_path: Path, seed: int, *, is_shuffled: bool) -> list[float]:
    settings = RewardModelSettings.model_validate(
        {
            "epochs": 3,
            "learning_rate": 5e-3,
            "heldout_share": 0.4,
            "seed": seed,
            "lora": {"r": 4, "alpha": 8},
        }
    )
    preferences = _preferences(seed, is_shuffled=is_shuffled)
    inputs = Inputs(tinymodels.load(folder), tmp_path, preferences=preferences)
    events = reward_model.train(settings, inputs, CancelToken())
    return [e.metrics["reward/heldout_accuracy"] for e in events if isinstance(e, Evaluated)]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_visible_preference_is_learnt(llama_folder: Path, tmp_path: Path, seed: int) -> None:
    accuracies = _accuracies(llama_folder, tmp_path, seed, is_shuffled=False)
    assert accuracies[-1] > 0.9


def test_shuffled_labels_stay_at_chance(llama_folder: Path, tmp_path: Path) -> None:
    """The control: 96 held-out coin tosses stay within 3.5 standard deviations of one half."""
    accuracies = _accuracies(llama_folder, tmp_path, seed=0, is_shuffled=True)
    assert abs(accuracies[-1] - 0.5) < 0.18
