"""What is special to DPO: whole updates against a twin, the reference, answers in several pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from pydantic import ValidationError
from torch import Tensor
from torch.nn.functional import logsigmoid

from tests import tinymodels
from tests.close import FORWARD, Level, assert_close
from tests.offline_runs import (
    Run,
    Twin,
    assert_same_adapter,
    one_batch,
    preferences,
    settings,
    trained,
)
from workbench.config.dpo import DPOSettings
from workbench.data.records import Preference
from workbench.models import adapters
from workbench.models.loading import LoadedModel
from workbench.rewards.neural import Encoded
from workbench.training import answers as training_answers
from workbench.training import dpo, pairs
from workbench.training.pairs import Pair

BETA = 0.3


def _loss(kind: str, delta: Tensor) -> Tensor:
    """Of one pair, whose Δ is of sums or, for IPO, of means."""
    if kind == "sigmoid":
        return -logsigmoid(BETA * delta)
    if kind == "conservative":
        return -0.8 * logsigmoid(BETA * delta) - 0.2 * logsigmoid(-BETA * delta)
    if kind == "ipo":
        return (delta - 1 / (2 * BETA)) ** 2
    return torch.clamp(1 - BETA * delta, min=0)


@pytest.mark.parametrize("kind", ["sigmoid", "conservative", "ipo", "hinge"])
def test_whole_updates_equal_a_twin_in_plain_transformers(
    kind: str, llama: LoadedModel, tmp_path: Path
) -> None:
    smoothing = {"kind": "sigmoid", "label_smoothing": 0.2}
    how = one_batch("dpo", beta=BETA, **(smoothing if kind == "conservative" else {"kind": kind}))
    still = Run("dpo", llama, how.model_copy(update={"learning_rate": 0.0}), tmp_path / "still")
    adapters.remove_all(llama)
    run = Run("dpo", llama, how, tmp_path / "run")
    twin = Twin(llama.info.path, still.folder)
    items = trained(preferences(), how)
    losses, margins, rights = [], [], []

    def loss() -> Tensor:
        total = torch.zeros(())
        rewards = []
        for pair in items:
            ratios = []
            for text in (pair.chosen, pair.rejected):
                new, old = twin.logp(pair.prompt, text), twin.reference(pair.prompt, text)
                ratio: Tensor = sum(n - o for n, o in zip(new, old, strict=True))  # type: ignore
                rewards.append(BETA * float(ratio.detach()))
                ratios.append(ratio / len(new) if kind == "ipo" else ratio)
            total = total + _loss(kind, ratios[0] - ratios[1])
        pair_margins = [c - r for c, r in zip(rewards[::2], rewards[1::2], strict=True)]
        losses.append(float(total.detach()) / len(items))
        margins.append(sum(pair_margins) / len(items))
        rights.append(sum(m > 1e-6 for m in pair_margins) / len(items))
        return total / len(items)

    assert_same_adapter(run.adapter(), twin.learn(loss, how))
    assert_close([m["loss/dpo"] for m in run.metrics], losses, FORWARD)
    assert_close([m["rewards/margins"] for m in run.metrics], margins, FORWARD)
    assert [m["rewards/accuracies"] for m in run.metrics] == pytest.approx(rights)
    for m in run.metrics:
        assert_close(m["rewards/chosen"] - m["rewards/rejected"], m["rewards/margins"], FORWARD)
    assert margins[2] > margins[1] > 1e-2


def _ranked() -> list[Preference]:
    """Four answers to each of six prompts, ranked: six pairs of which each answer is in three."""
    found = []
    for i, prompt in enumerate(tinymodels.prompts(6)):
        texts = [" ".join(f"w{(i + k + j) % 16}" for j in range(4 - k)) for k in range(4)]
        found += [
            Preference(100 * i + 10 * a + b, prompt, texts[a], texts[b], "rule", "simulated")
            for a in range(4)
            for b in range(a + 1, 4)
        ]
    return found


def test_an_answer_in_several_pairs_is_computed_once(
    llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Per step and prompt four answers, not twelve; for the reference once, before all steps."""
    forward = training_answers.forward
    seen: list[tuple[bool, list[Encoded]]] = []

    def note(model: LoadedModel, answers: Any) -> Any:
        seen.append((torch.is_grad_enabled(), list(answers)))
        return forward(model, answers)

    monkeypatch.setattr(training_answers, "forward", note)
    monkeypatch.setattr(dpo, "forward", note)
    Run("dpo", llama, settings("dpo", batch_size=24), tmp_path, preferences=_ranked())
    first = next(answers for is_learning, answers in seen if not is_learning)
    assert len(first) == len(set(first)) == 24
    (learned,) = [answers for is_learning, answers in seen if is_learning]
    assert len(learned) == len(set(learned)) == 4 * 4


def test_shared_answers_have_the_gradients_of_separate_ones(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """A micro-batch of one pair at a time computes every answer anew."""
    how = one_batch("dpo")
    runs = [
        Run(
            "dpo",
            tinymodels.load(folders["gpt2"]),
            how.model_copy(update={"micro_batch_tokens": tokens}),
            tmp_path / str(tokens),
            preferences=_ranked(),
        )
        for tokens in (1024, 16)
    ]
    assert_same_adapter(runs[1].adapter(), runs[0].adapter())


def test_the_reference_is_not_run_while_learning(
    llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log-probabilities do not change: they are computed before the first update."""
    forward = training_answers.forward
    active: list[tuple[bool, bool]] = []

    def note(model: LoadedModel, answers: Any) -> Any:
        layers = [m for m in model.model.modules() if isinstance(m, BaseTunerLayer)]
        has_policy = all("policy" in layer.active_adapters for layer in layers)
        active.append((has_policy, torch.is_grad_enabled()))
        return forward(model, answers)

    monkeypatch.setattr(training_answers, "forward", note)
    monkeypatch.setattr(dpo, "forward", note)
    run = Run("dpo", llama, settings("dpo", epochs=2), tmp_path)
    assert len(run.steps) == 4
    n_reference = sum(not has_policy for has_policy, _ in active)
    assert n_reference == 1
    assert active[0] == (False, False)
    assert sum(is_learning for _, is_learning in active) == 4


def test_the_margin_that_is_told_is_that_of_the_saved_adapter(
    llama: LoadedModel, tmp_path: Path
) -> None:
    how = settings("dpo", epochs=3, beta=BETA)
    run = Run("dpo", llama, how, tmp_path)
    twin = Twin(llama.info.path, run.folder)
    kept = [p for p in preferences() if p not in trained(preferences(), how)]
    margins = []
    for pair in kept:
        ratios = [
            sum(float(x.detach()) for x in twin.logp(pair.prompt, text))
            - sum(twin.reference(pair.prompt, text))
            for text in (pair.chosen, pair.rejected)
        ]
        margins.append(BETA * (ratios[0] - ratios[1]))
    last = run.heldout[-1]
    assert_close(last["heldout/margins"], sum(margins) / len(margins), Level(1e-4, 1e-4))
    assert last["heldout/accuracies"] == sum(m > 0 for m in margins) / len(margins)
    assert last["heldout/pairs"] == len(kept)
    assert (
        last["heldout/accuracies_low"]
        <= last["heldout/accuracies"]
        <= last["heldout/accuracies_high"]
    )


def test_groups_of_a_prompt_fit_into_the_micro_batch() -> None:
    def answer(prompt: int, n: int, token: int) -> Encoded:
        return Encoded((prompt,) * 4, (token,) * n)

    ranked = [
        Pair(prompt, answer(prompt, 6, a), answer(prompt, 3, b))
        for prompt in (1, 2)
        for a in range(5)
        for b in range(a + 1, 5)
    ]
    for max_tokens in (1, 20, 33, 60, 1000):
        groups = pairs.by_prompt(ranked, max_tokens)
        assert sorted(p for g in groups for p in g) == sorted(ranked)
        for group in groups:
            assert len({p.prompt_id for p in group}) == 1
            assert len(group) == 1 or pairs.n_tokens(group) <= max_tokens
    assert len(pairs.by_prompt(ranked, 1000)) == 2


def test_smoothing_belongs_to_the_sigmoid_loss_only() -> None:
    with pytest.raises(ValidationError, match="label_smoothing: Must be 0 with the hinge loss"):
        DPOSettings(kind="hinge", label_smoothing=0.1)
    assert DPOSettings(label_smoothing=0.1).label_smoothing == 0.1
