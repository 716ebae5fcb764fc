"""The decode loop against transformers' own `generate`, and what the loop may be asked for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests import tinymodels
from tests.close import EXACT, FORWARD, assert_close
from workbench.models.decoding import Samples, collect, pad_prompts, sample
from workbench.models.loading import LoadedModel

KINDS: tuple[tinymodels.Kind, ...] = ("llama", "gpt2", "pad_is_eos", "gemma2", "t5")
PROMPTS = [[5, 9, 1, 4, 19], [7], [3, 3, 8], [11, 1, 12, 6, 19, 4, 10]]
N = 4000


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("decoding")
    return {kind: tinymodels.write(root / kind, kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest, kinds: dict[str, Path]) -> LoadedModel:
    return tinymodels.load(kinds[request.param])


def _sample(model: LoadedModel, prompts: list[list[int]], **settings: Any) -> Samples:
    wanted = {"max_new_tokens": 10, "seeds": range(len(prompts)), "check": lambda: None}
    return collect(sample(model, prompts, **{**wanted, **settings}))


def _generate(model: LoadedModel, prompts: list[list[int]], **settings: Any) -> list[list[int]]:
    """Answers of transformers, up to and including the stop token."""
    ids, mask = pad_prompts(model, prompts)
    output = model.model.generate(
        input_ids=ids,
        attention_mask=mask.long(),
        pad_token_id=model.pad_id,
        top_k=0,
        **settings,
    )
    start = 1 if model.is_encoder_decoder else ids.shape[1]
    answers = []
    for row in output[:, start:].tolist():
        ends = [i for i, token in enumerate(row) if token in model.stop_ids]
        answers.append(row[: ends[0] + 1] if ends else row)
    return answers


def _answers(samples: Samples) -> list[list[int]]:
    rows = zip(samples.response_ids, samples.is_response, strict=True)
    return [ids[is_response].tolist() for ids, is_response in rows]


def test_greedy_answers_are_those_of_generate(model: LoadedModel) -> None:
    """Ragged prompts, left padding, a cache, rows that leave: the very same tokens."""
    ours = _answers(_sample(model, PROMPTS, temperature=0.0))
    assert ours == _generate(model, PROMPTS, do_sample=False, max_new_tokens=10)


def _distance(ours: list[list[int]], theirs: list[list[int]]) -> float:
    """χ² of "one distribution gave both", in standard deviations above its mean.

    Of the first two tokens, rare pairs together; χ² has mean k and variance 2k for k + 1 cells.
    """
    a, b = Counter(map(tuple, ours)), Counter(map(tuple, theirs))
    common = [cell for cell in a | b if a[cell] + b[cell] >= 20]
    cells = [(a[cell], b[cell]) for cell in common]
    cells.append((N - sum(x for x, _ in cells), N - sum(y for _, y in cells)))
    chi2 = sum((x - y) ** 2 / (x + y) for x, y in cells if x + y)
    k = len(cells) - 1
    assert k > 20
    return float((chi2 - k) / (2 * k) ** 0.5)


def test_answers_come_as_often_as_those_of_generate(model: LoadedModel) -> None:
    prompts = [PROMPTS[0], PROMPTS[1]] * (N // 2)
    torch.manual_seed(0)  # generate's; the state is put back after the test
    theirs = _generate(model, prompts, do_sample=True, temperature=0.8, max_new_tokens=2)
    ours = _answers(_sample(model, prompts, temperature=0.8, max_new_tokens=2))
    assert _distance(ours, theirs) < 5
    # The control: a slightly other temperature is noticed.
    other = _answers(_sample(model, prompts, temperature=1.1, max_new_tokens=2))
    assert _distance(other, theirs) > 5


def test_equal_prompts_are_read_once_with_the_same_answers(model: LoadedModel) -> None:
    groups = [p for p in (PROMPTS[3], PROMPTS[0], PROMPTS[3], PROMPTS[1]) for _ in range(3)]
    seeds = list(range(len(groups)))
    n_rows: list[int] = []
    model._blocks.modules[0].register_forward_pre_hook(
        lambda _module, args: n_rows.append(len(args[0]))
    )
    together = _sample(model, groups, seeds=seeds)
    assert n_rows[0] == 3 < n_rows[1]
    for row, prompt in enumerate(groups):
        alone = _sample(model, [prompt], seeds=[seeds[row]])
        n = int(alone.is_response.sum())
        assert _answers(together)[row] == _answers(alone)[0]
        assert_close(together.logps[row, :n], alone.logps[0], FORWARD)


@torch.no_grad()
def test_recorded_logps_are_those_of_one_plain_forward(model: LoadedModel) -> None:
    """Soft caps and scaled states included, in decoding and in training alike."""
    samples = _sample(model, PROMPTS, temperature=0.7)
    trained, _ = model.logps(
        model.response_states(*samples[:4]), samples.response_ids, samples.is_response, 0.7
    )
    for row, (prompt, answer) in enumerate(zip(PROMPTS, _answers(samples), strict=True)):
        if model.is_encoder_decoder:
            start = model.model.config.decoder_start_token_id
            ids = torch.tensor([[start, *answer[:-1]]])
            output = model.model(input_ids=torch.tensor([prompt]), decoder_input_ids=ids)
        else:
            output = model.model(input_ids=torch.tensor([prompt + answer[:-1]]))
        n = len(answer)
        logps = (output.logits[0, -n:] / 0.7).log_softmax(-1)[torch.arange(n), torch.tensor(answer)]
        assert_close(samples.logps[row, :n], logps, FORWARD)
        assert_close(trained[row, :n], logps, FORWARD)


def test_logps_that_nobody_wants_are_0_and_change_no_answer(model: LoadedModel) -> None:
    plain = _sample(model, PROMPTS)
    quick = _sample(model, PROMPTS, wants_logps=False)
    assert _answers(quick) == _answers(plain)
    assert plain.logps.any()
    assert not quick.logps.any()
    assert not plain.values.any()


def test_steering_changes_what_is_picked_and_recorded(model: LoadedModel) -> None:
    """A bonus on one token, given as logits: answers and log-probabilities follow it."""
    bonus = torch.zeros(len(tinymodels.VOCABULARY))
    bonus[7] = 3.0
    seen: list[tuple[Tensor, Tensor]] = []

    def steer(states: Tensor, logits: Tensor) -> Tensor:
        seen.append((states, logits))
        return logits + bonus

    prompts, settings = PROMPTS * 10, {"temperature": 0.7, "max_new_tokens": 4}
    plain = _sample(model, prompts, **settings)
    steered = _sample(model, prompts, steer=steer, **settings)
    n_plain, n_steered = (sum(a.count(7) for a in _answers(s)) for s in (plain, steered))
    assert n_steered > 3 * max(n_plain, 1)

    states, logits = seen[0]
    assert_close(model.logits(states), logits, FORWARD)
    wanted = ((logits + bonus) / 0.7).log_softmax(-1)
    rows = torch.arange(len(prompts))
    assert_close(steered.logps[:, 0], wanted[rows, steered.response_ids[:, 0]], FORWARD)
    # No bonus, no change.
    same = _sample(model, prompts, steer=lambda _, logits: logits, **settings)
    assert same.response_ids.tolist() == plain.response_ids.tolist()
    assert_close(same.logps, plain.logps, EXACT)
