"""Gradient × input against central differences along each embedding, in float64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests import tinymodels
from tests.close import FORWARD, SLOPE, Level, assert_close
from tests.tinymodels import EOS, Kind
from workbench.config.lora import LoraSettings
from workbench.models import adapters
from workbench.models.attribution import gradient_times_input
from workbench.models.decoding import pad_answers, pad_prompts
from workbench.models.heads import ScalarHead
from workbench.models.loading import LoadedModel

PROMPT, ANSWER = (5, 9, 4, 19), (6, 4, 9, EOS)
# GPT-2 computes in float64 throughout. The norms of the others compute in float32 whatever comes
# in, so their steps must be long, which five points allow; T5's ReLU has kinks near by.
ACCURACY: dict[Kind, tuple[float, Level]] = {
    "gpt2": (1e-4, SLOPE),
    "llama": (0.03, FORWARD),
    "gemma2": (0.03, FORWARD),
    "t5": (1e-3, FORWARD),
}


class _WideHead(ScalarHead):
    """The head of a reward in float64: its own float32 would drown the differences."""

    def forward(self, states: Tensor) -> Tensor:
        scores: Tensor = self.linear.double()(states).squeeze(-1)
        return scores


def _with_adapter(model: LoadedModel) -> None:
    """A LoRA adapter that changes something, as after training."""
    parameters = adapters.add(model, "reward", LoraSettings(r=2, alpha=4), 1)
    generator = torch.Generator().manual_seed(2)
    for parameter in parameters:
        parameter.data = torch.randn(parameter.shape, generator=generator).double() * 0.2


def _score(model: LoadedModel, head: ScalarHead) -> Callable[[], Tensor]:
    prompt, answer = pad_prompts(model, [PROMPT]), pad_answers(model, [ANSWER])

    def score() -> Tensor:
        with adapters.active(model, "reward"):
            states: Tensor = head(model.answer_states(*prompt, *answer))
        return states

    return score


def _slopes(
    model: LoadedModel, score: Callable[[], Tensor], call: int, n: int, step: float
) -> list[float]:
    """d score / d scale of each embedding that call number `call` to the table gives."""

    def scaled(position: int, factor: float) -> float:
        calls = iter(range(9))

        def scale(_module: Any, _arguments: Any, embedded: Tensor) -> Tensor:
            if next(calls) != call:
                return embedded
            factors = torch.ones(embedded.shape[1], 1, dtype=embedded.dtype)
            factors[position] = factor
            return embedded * factors

        tables = {
            id(m): m
            for m in model.model.modules()
            if isinstance(m, torch.nn.Embedding) and m.weight.shape[0] == len(tinymodels.VOCABULARY)
        }
        handles = [table.register_forward_hook(scale) for table in tables.values()]
        try:
            with torch.no_grad():
                return float(score())
        finally:
            for handle in handles:
                handle.remove()

    def slope(i: int) -> float:
        near = scaled(i, 1 + step) - scaled(i, 1 - step)
        far = scaled(i, 1 + 2 * step) - scaled(i, 1 - 2 * step)
        return (8 * near - far) / (12 * step)

    return [slope(i) for i in range(n)]


@pytest.mark.parametrize("kind", ACCURACY)
def test_each_token_against_central_differences(tmp_path: Path, kind: Kind) -> None:
    model = tinymodels.load(tinymodels.write(tmp_path / kind, kind), "float64")
    head = _WideHead(model.hidden_size, bias=False)
    head.init_normal_(torch.Generator().manual_seed(3))
    _with_adapter(model)
    score = _score(model, head)
    found = gradient_times_input(model, score, len(ANSWER))
    step, level = ACCURACY[kind]
    if model.is_encoder_decoder:
        prompt = _slopes(model, score, 0, len(PROMPT), step)
        answer = _slopes(model, score, 1, len(ANSWER) + 1, step)[1:]  # behind the start token
    else:
        whole = _slopes(model, score, 0, len(PROMPT) + len(ANSWER), step)
        prompt, answer = whole[: len(PROMPT)], whole[len(PROMPT) :]
    assert_close(found.prompt, prompt, level)
    assert_close(found.answer, answer, level)
    assert max(map(abs, answer)) > 1e-3, "nothing to compare"
    with torch.no_grad():
        assert found.value == float(score()), "the hooks are gone, and change no score"
    with adapters.active(model, None), torch.no_grad():
        plain = float(
            head(model.answer_states(*pad_prompts(model, [PROMPT]), *pad_answers(model, [ANSWER])))
        )
    assert abs(plain - found.value) > 1e-3, "the adapter took part"
    assert all(p.grad is None for p in model.model.parameters())
