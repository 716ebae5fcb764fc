"""KTO moves to the answer that is called good more often than bad, the majority's.

Its loss is linear in how far an answer stands above the reference point, squashed, so what counts
of contradicting verdicts is which are more: the optimum is to say w7 always.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tinymodels
from tests.offline_runs import Run, settings, sure
from workbench.data.records import Feedback
from workbench.models import adapters
from workbench.models.loading import LoadedModel
from workbench.objectives.preference import kto_loss
from workbench.training import kto

# w7 is good in three of four verdicts on it, w3 in one of four.
FEEDBACK = [
    Feedback(prompt, word, is_good)
    for prompt in tinymodels.prompts(12)
    for word, n_good in (("w7", 3), ("w3", 1))
    for is_good in [True] * n_good + [False] * (4 - n_good)
]
SETTINGS: dict[str, Any] = {"epochs": 10, "batch_size": 16, "heldout_share": 0.3, "beta": 0.3}


@torch.no_grad()
def _share(model: LoadedModel, adapter: str | None) -> float:
    """Mean probability of w7 as the first word of an answer."""
    token = tinymodels.VOCABULARY.index("w7")
    shares = []
    with adapters.active(model, adapter):
        for prompt in tinymodels.prompts(12):
            ids = torch.tensor([model.encode_prompt(prompt.messages)])
            logits = model.model(input_ids=ids).logits[0, -1]
            shares.append(float(logits.softmax(-1)[token]))
    return sum(shares) / len(shares)


def _before_and_after(folder: Path, tmp_path: Path, seed: int) -> tuple[float, float]:
    model = sure(folder)
    Run("kto", model, settings("kto", **SETTINGS, seed=seed), tmp_path, feedback=FEEDBACK)
    return _share(model, None), _share(model, "policy")


@pytest.mark.parametrize("seed", range(5))
def test_the_answer_that_most_call_good_comes_up(
    llama_folder: Path, tmp_path: Path, seed: int
) -> None:
    before, after = _before_and_after(llama_folder, tmp_path, seed)
    assert before < 0.01
    assert after > 0.95


def test_with_a_turned_sign_it_goes_away(
    llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def turned(policy: Any, ref: Any, kl: Any, is_desirable: Any, *rest: Any) -> Any:
        return kto_loss(policy, ref, kl, ~is_desirable, *rest)

    monkeypatch.setattr(kto, "kto_loss", turned)
    before, after = _before_and_after(llama_folder, tmp_path, seed=0)
    assert after < before / 10
