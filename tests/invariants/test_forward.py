"""Padding, batch and cache change nothing: numerics.md items 1, 2, 3, 4, 10, 12, 13 (paths)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.close import BFLOAT16, FLOAT32, FORWARD, assert_close
from tests.tinymodels import EOS
from workbench.models.decoding import Samples, collect, pad_prompts, sample
from workbench.models.heads import ScalarHead
from workbench.models.loading import LoadedModel

# An end token inside a prompt is an ordinary token there: TRL masks it when pad is eos.
PROMPTS = [[5, 9, EOS, 4, 19], [7], [3, 3, 8], [11, EOS, 12, 6, 19, 4, 10]]
ANSWERS = [[6, 4, EOS], [9, 2, 13, 14, 5], [EOS], [8, 17, EOS]]
T = 0.7


def _batch(
    model: LoadedModel, rows: list[int], *, left: int = 0, right: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Prompts and answers padded `left` and `right` further than needed."""
    prompt_ids, prompt_mask = pad_prompts(model, [PROMPTS[r] for r in rows])
    width = max(len(ANSWERS[r]) for r in rows) + right
    response_ids = torch.full((len(rows), width), 7)  # padding that is a word
    is_response = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, r in enumerate(rows):
        response_ids[i, : len(ANSWERS[r])] = torch.tensor(ANSWERS[r])
        is_response[i, : len(ANSWERS[r])] = True
    pad = torch.full((len(rows), left), model.pad_id)
    return (
        torch.cat([pad, prompt_ids], 1),
        torch.cat([pad.bool() & False, prompt_mask], 1),
        response_ids,
        is_response,
    )


def _measure(model: LoadedModel, rows: list[int], **padding: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities and states (B, T, H) of the answers to `rows`."""
    prompt_ids, prompt_mask, ids, is_response = _batch(model, rows, **padding)
    states = model.response_states(prompt_ids, prompt_mask, ids, is_response)
    return model.logps(states, ids, is_response, T)[0], states


def _by_hand(model: LoadedModel, row: int) -> list[float]:
    """One forward per token, no padding, no cache: the definition."""
    logps = []
    for t, token in enumerate(ANSWERS[row]):
        logits = _plain_logits(model, PROMPTS[row], ANSWERS[row][:t]).double()
        logps.append(float((logits / T).log_softmax(-1)[token]))
    return logps


def _plain_logits(model: LoadedModel, prompt: list[int], answer: list[int]) -> Tensor:
    """Logits (V,) of what follows, by transformers' own model and nothing else."""
    if model.is_encoder_decoder:
        start = model.model.config.decoder_start_token_id
        ids = torch.tensor([[start, *answer]])
        output = model.model(input_ids=torch.tensor([prompt]), decoder_input_ids=ids)
    else:
        output = model.model(input_ids=torch.tensor([prompt + answer]))
    logits: Tensor = output.logits[0, -1]
    return logits


@torch.no_grad()
def test_logps_equal_one_plain_forward_per_token(model: LoadedModel) -> None:
    """Finds a shift by one, lost positions, and prompts whose end tokens were masked."""
    logps, _ = _measure(model, [0, 1, 2, 3], left=3, right=2)
    for row, answer in enumerate(ANSWERS):
        assert_close(logps[row, : len(answer)], _by_hand(model, row), FORWARD)


@torch.no_grad()
def test_a_whole_answers_state_predicts_what_follows_it(model: LoadedModel) -> None:
    """A reward head reads at the stop token, not before it and not at the padding behind it."""
    batch = _batch(model, [0, 1, 2, 3], left=3, right=2)
    logits = model.logits(model.answer_states(*batch))
    for row, answer in enumerate(ANSWERS):
        assert_close(logits[row], _plain_logits(model, PROMPTS[row], answer), FORWARD)


@torch.no_grad()
def test_padding_changes_nothing(model: LoadedModel) -> None:
    for row in range(len(PROMPTS)):
        alone, states = _measure(model, [row])
        n = len(ANSWERS[row])
        for left, right in [(1, 0), (0, 3), (7, 2)]:
            padded, padded_states = _measure(model, [row], left=left, right=right)
            assert_close(padded[:, :n], alone, FORWARD)
            assert_close(padded_states[:, :n], states, FORWARD)


@torch.no_grad()
def test_what_else_is_in_the_batch_changes_nothing(model: LoadedModel) -> None:
    together, _ = _measure(model, [0, 1, 2, 3])
    turned, _ = _measure(model, [2, 0, 3, 1])
    assert_close(turned[[1, 3, 0, 2]], together, FORWARD)
    for row in range(len(PROMPTS)):
        alone, _ = _measure(model, [row])
        assert_close(together[row : row + 1, : alone.shape[1]], alone, FORWARD)


@torch.no_grad()
def test_lost_positions_would_be_noticed(model: LoadedModel) -> None:
    """The control: only absolute positions show the mistake, relative ones hide it."""
    model._takes_positions = False
    alone, _ = _measure(model, [0])
    padded, _ = _measure(model, [0], left=3)
    is_hidden = not model.info.architecture.startswith("GPT2")
    assert bool((alone - padded).abs().max() < 5e-5) == is_hidden


def test_padding_gives_no_nan_and_changes_no_gradient(model: LoadedModel) -> None:
    """Rows of the attention matrix that are all masked must not leak NaN (transformers #47651)."""
    embedding: Tensor = model.model.get_input_embeddings().weight.requires_grad_()

    def gradient(left: int, right: int) -> Tensor:
        embedding.grad = None
        logps, _ = _measure(model, [0, 1, 2, 3], left=left, right=right)
        logps.sum().backward()  # type: ignore[no-untyped-call]
        assert embedding.grad is not None
        return embedding.grad.clone()

    plain = gradient(0, 0)
    assert plain.abs().max() > 0
    assert_close(gradient(5, 3), plain, FORWARD)


@torch.no_grad()
def test_fused_and_plain_head_agree(model: LoadedModel) -> None:
    fused, states = _measure(model, [0, 1, 2, 3])
    assert model._head.is_plain
    model._head.is_plain = False
    plain, _ = _measure(model, [0, 1, 2, 3])
    assert_close(plain, fused, FLOAT32)
    assert states.shape[-1] == model.hidden_size


@torch.no_grad()
def test_bf16_is_near_and_scores_in_fp32(llama: LoadedModel) -> None:
    exact, _ = _measure(llama, [0, 1, 2, 3])
    llama.model.bfloat16()
    near, _ = _measure(llama, [0, 1, 2, 3])
    assert near.dtype == torch.float32
    assert_close(near, exact, BFLOAT16)


def _sample(
    model: LoadedModel,
    rows: list[int],
    *,
    temperature: float = T,
    head: ScalarHead | None = None,
    n_tokens: int = 12,
    n_copies: int = 1,
) -> Samples:
    return collect(
        sample(
            model,
            [PROMPTS[r] for r in rows] * n_copies,
            [100 * c + r for c in range(n_copies) for r in rows],
            max_new_tokens=n_tokens,
            temperature=temperature,
            value_head=head,
            check=lambda: None,
        )
    )


@torch.no_grad()
def test_decoding_and_training_paths_agree(model: LoadedModel) -> None:
    """With a cache, rows that leave the batch, and left padding: still the same numbers."""
    head = ScalarHead(model.hidden_size, bias=True)
    head.init_normal_(torch.Generator().manual_seed(1))
    samples = _sample(model, [0, 1, 2, 3], head=head, n_copies=10, temperature=1.5)
    assert len(set(samples.is_response.sum(1).tolist())) > 3, "the batch must be ragged"
    states = model.response_states(
        samples.prompt_ids, samples.prompt_mask, samples.response_ids, samples.is_response
    )
    logps, _ = model.logps(states, samples.response_ids, samples.is_response, 1.5)
    assert_close(samples.logps, logps, FORWARD)
    assert_close(samples.values, head(states) * samples.is_response, FORWARD)


def test_an_answer_depends_on_its_own_seed_only(model: LoadedModel) -> None:
    together = _sample(model, [0, 1, 2, 3])
    for row in range(len(PROMPTS)):
        alone = _sample(model, [row])
        n = int(alone.is_response.sum())
        assert together.is_response[row].sum() == n
        assert together.response_ids[row, :n].tolist() == alone.response_ids[0, :n].tolist()
        assert together.ended[row] == alone.ended[0]


def test_stop_tokens_end_answers_and_nothing_else_does(model: LoadedModel) -> None:
    """Sampled padding goes on, a stop token first is an answer of one token, cut rows are full."""
    samples = _sample(model, [0, 1, 2, 3], n_copies=40, temperature=1.5)
    pads_inside = 0
    for ids, is_response, ended in zip(
        samples.response_ids, samples.is_response, samples.ended, strict=True
    ):
        answer = ids[is_response].tolist()
        assert (answer[-1] in model.stop_ids) == bool(ended)
        assert not set(answer[:-1]) & model.stop_ids
        assert bool(ended) or len(answer) == 12
        assert not is_response[len(answer) :].any()
        pads_inside += model.pad_id in answer
    lengths = samples.is_response.sum(1)
    assert pads_inside
    assert (lengths == 1).any()
    assert not samples.ended.all()


def test_several_stop_tokens_end_answers(model: LoadedModel) -> None:
    model.stop_ids = frozenset({EOS, 5, 6})
    samples = _sample(model, [0, 1, 2, 3], n_copies=10, temperature=1.5)
    last = samples.response_ids.gather(1, samples.is_response.sum(1, keepdim=True) - 1)[:, 0]
    assert set(last[samples.ended].tolist()) == {EOS, 5, 6}


def test_the_models_own_generation_defaults_do_not_leak_in(model: LoadedModel) -> None:
    """A repository's generation_config (top_k=50 is a classic) must not warp what PPO scores."""
    plain = _sample(model, [0, 1, 2, 3])
    config = model.model.generation_config
    config.top_k, config.top_p, config.temperature, config.repetition_penalty = 1, 0.1, 0.01, 9.0
    again = _sample(model, [0, 1, 2, 3])
    assert again.response_ids.tolist() == plain.response_ids.tolist()


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_tokens_come_as_often_as_their_probability(llama: LoadedModel, temperature: float) -> None:
    samples = collect(
        sample(
            llama,
            [PROMPTS[0]] * 4000,
            list(range(4000)),
            max_new_tokens=1,
            temperature=temperature,
            check=lambda: None,
        )
    )
    logits = llama.model(input_ids=torch.tensor([PROMPTS[0]])).logits[0, -1]
    p = (logits / temperature).softmax(-1)
    counts = torch.bincount(samples.response_ids[:, 0], minlength=len(p))
    # Five standard deviations of a binomial count.
    assert ((counts - 4000 * p).abs() < 5 * (4000 * p * (1 - p)).sqrt() + 1).all()
