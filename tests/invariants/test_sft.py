"""What is special to supervised fine-tuning: which tokens count, and how much."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from torch import Tensor

from tests import tinymodels
from tests.close import FORWARD, assert_close
from tests.offline_runs import Run, Twin, answers, assert_same_adapter, one_batch, trained
from workbench.models import adapters
from workbench.models.loading import LoadedModel


def test_whole_updates_equal_a_twin_in_plain_transformers(
    causal_model: LoadedModel, tmp_path: Path
) -> None:
    model, how = causal_model, one_batch("sft")
    still = Run("sft", model, how.model_copy(update={"learning_rate": 0.0}), tmp_path / "still")
    adapters.remove_all(model)
    run = Run("sft", model, how, tmp_path / "run")
    assert len(run.steps) == 3

    twin = Twin(model.info.path, still.folder)
    items = trained(answers(), how)
    losses = []

    def loss() -> Tensor:
        tokens = [logp for item in items for logp in twin.logp(item.prompt, item.answer)]
        mean: Tensor = -sum(tokens) / len(tokens)  # type: ignore[assignment]
        losses.append(float(mean.detach()))
        return mean

    assert_same_adapter(run.adapter(), twin.learn(loss, how))
    assert_close([m["loss/sft"] for m in run.metrics], losses, FORWARD)


def test_the_heldout_loss_is_the_mean_over_tokens(llama: LoadedModel, tmp_path: Path) -> None:
    how = one_batch("sft", learning_rate=0.0)
    run = Run("sft", llama, how, tmp_path)
    twin = Twin(llama.info.path, run.folder)
    learned = trained(answers(), how)
    kept = [a for a in answers() if a not in learned]
    assert kept
    tokens = [float(x.detach()) for a in kept for x in twin.logp(a.prompt, a.answer)]
    assert_close(run.heldout[0]["heldout/loss"], -sum(tokens) / len(tokens), FORWARD)


def test_prompts_are_read_and_not_learned(folders: dict[str, Path], tmp_path: Path) -> None:
    """The gradient of −log π(answer | prompt): a twin that learned prompt tokens would differ."""
    model = tinymodels.load(folders["llama"])
    how = one_batch("sft")
    still = Run("sft", model, how.model_copy(update={"learning_rate": 0.0}), tmp_path / "still")
    adapters.remove_all(model)
    run = Run("sft", model, how, tmp_path / "run")
    twin = Twin(model.info.path, still.folder)
    items = trained(answers(), how)

    def wrong() -> Tensor:
        total, n = torch.zeros(()), 0
        for item in items:
            words = [*(m.content for m in item.prompt.messages), "w16", item.answer]
            ids = torch.tensor([twin.tokenizer.encode(" ".join(words))])
            rows = twin.model(input_ids=ids).logits[0, :-1].log_softmax(-1)
            total = total - rows.gather(-1, ids[0, 1:, None]).sum()
            n += ids.shape[1] - 1
        return total / n

    other = twin.learn(wrong, how)
    differences = [float((run.adapter()[k] - v).abs().max()) for k, v in other.items()]
    assert max(differences) > 1e-3


def test_the_order_of_the_answers_in_memory_changes_nothing(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """With everything in one batch, only rounding is left of the order."""
    how = one_batch("sft")
    shuffled = answers()
    random.Random(0).shuffle(shuffled)
    runs = [
        Run("sft", tinymodels.load(folders["llama"]), how, tmp_path / str(i), answers=data)
        for i, data in enumerate([answers(), shuffled])
    ]
    assert_same_adapter(runs[1].adapter(), runs[0].adapter())
