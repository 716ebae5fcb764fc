"""Perplexity against a loop over logits, and figures of both sides against other programs."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from sacrebleu.metrics import BLEU, CHRF

from tests import tinymodels
from tests.close import EXACT, FLOAT32, FLOAT64, assert_close
from workbench.cancel import CancelToken
from workbench.config.lora import LoraSettings
from workbench.data.figures import Figure
from workbench.data.records import Message, Prompt
from workbench.errors import Cancelled
from workbench.evaluation import likelihood, text_metrics
from workbench.evaluation.arena import Answered, Pair
from workbench.evaluation.text_metrics import TextInputs
from workbench.models import adapters
from workbench.models.loading import LoadedModel
from workbench.objectives.text_metrics import repetition, rouge_l, units

POLICY = "policy"
_TEXTS = ["w3 w4 w5 w6", "w1", "w9 w9 w2 w16 w8 w8 w8", "w0 w1 w2"]


def _drain(events: Generator[Any, None, Any]) -> Any:
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value


def _with_policy(model: LoadedModel) -> LoadedModel:
    """An adapter that changes what is likely."""
    parameters = adapters.add(model, POLICY, LoraSettings(), seed=3)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def _by_hand(model: LoadedModel, context: Sequence[int], ids: Sequence[int]) -> float:
    """Σ log p, one forward pass of transformers' own model for each token, in float64."""
    total = 0.0
    for t, token in enumerate(ids):
        if model.is_encoder_decoder:
            start = model.model.config.decoder_start_token_id
            inputs = {
                "input_ids": torch.tensor([list(context)]),
                "decoder_input_ids": torch.tensor([[start, *ids[:t]]]),
            }
        else:
            inputs = {"input_ids": torch.tensor([[*context, *ids[:t]]])}
        with torch.no_grad():
            logits = model.model(**inputs).logits[0, -1].double()
        total += float(logits[token] - logits.exp().sum().log())
    return total


def test_likelihood_is_a_loop_over_logits_whatever_the_batch(model: LoadedModel) -> None:
    _with_policy(model)
    prompts = tinymodels.prompts(4)
    items = [
        likelihood.answer(model, prompt.messages, text)
        for prompt, text in zip(prompts, _TEXTS, strict=True)
    ]
    assert [item.ids[-1] for item in items] == [model.stop_id] * 4
    sides = {}
    for name in (None, POLICY):
        found = _drain(likelihood.logps(model, name, items, 3, lambda: None, "x"))
        with adapters.active(model, name):
            expected = [_by_hand(model, *item) for item in items]
        assert_close(found, expected, FLOAT32)
        sides[name] = found
    assert max(abs(np.subtract(sides[None], sides[POLICY]))) > 0.1


def test_windows_score_every_token_once(llama: LoadedModel) -> None:
    text = " ".join(f"w{i % 16}" for i in range(150))
    windows = likelihood.windows(llama, text)
    assert [len(w.ids) for w in windows] == [63, 63, 24]
    assert [i for w in windows for i in w.ids] == llama.tokenizer.encode(text)
    # There is no start token of its own, so the end token stands in.
    assert {tuple(w.context) for w in windows} == {(llama.stop_id,)}
    assert all(likelihood.fits(llama, window) for window in windows)


def _pairs() -> list[Pair]:
    rng = np.random.default_rng(1)

    def answered(n: int) -> Answered:
        text = " ".join(f"w{k}" for k in rng.integers(0, 12, n))
        return Answered(text, (), n + 1, bool(rng.integers(2)), None, float(rng.normal()))

    lengths = rng.integers(3, 15, (12, 2))
    return [
        Pair(i // 2 + 1, i, answered(a), answered(b), None, None)
        for i, (a, b) in enumerate(lengths.tolist())
    ]


def _measure(
    model: LoadedModel, pairs: Sequence[Pair], inputs: TextInputs
) -> text_metrics.TextReport:
    report = _drain(text_metrics.measure(model, POLICY, pairs, inputs, 4, CancelToken()))
    assert isinstance(report, text_metrics.TextReport)
    return report


def _by_name(report: text_metrics.TextReport) -> dict[str, Figure]:
    return {figure.name: figure for figure in report.figures}


def test_figures_are_those_of_other_programs(llama: LoadedModel) -> None:
    _with_policy(llama)
    pairs = _pairs()
    prompts = {prompt.id: prompt for prompt in tinymodels.prompts(6)}
    references = {1: _TEXTS[:2], 2: _TEXTS[2:3], 3: [], 4: _TEXTS[3:], 5: _TEXTS[1:]}
    report = _measure(llama, pairs, TextInputs(prompts, references, _TEXTS))
    found = _by_name(report)
    there = [pair for pair in pairs if references.get(pair.prompt_id)]
    streams = [
        [(references[p.prompt_id] + [None] * 3)[k] for p in there]  # type: ignore[operator]
        for k in range(3)
    ]
    for name, metric in (("bleu", BLEU(force=True)), ("chrf", CHRF())):
        figure = found[name]
        assert figure.before is not None
        for estimate, side in ((figure.before, "base"), (figure.after, "trained")):
            texts = [getattr(pair, side).text for pair in there]
            assert_close(estimate.value, metric.corpus_score(texts, streams).score, FLOAT64)
            assert estimate.low < estimate.value < estimate.high
        assert report.signatures[name] == str(metric.get_signature())
        assert figure.n == 4
    expected = [
        max(rouge_l(units(p.trained.text), units(r)) for r in references[p.prompt_id])
        for p in there
    ]
    assert_close(found["rouge_l"].after.value, np.mean(expected), FLOAT64)
    repeated = [repetition(units(p.base.text)) for p in pairs]
    assert found["repetition"].before is not None
    assert_close(found["repetition"].before.value, np.mean(repeated), FLOAT64)
    assert_close(found["kl"].after.value, np.mean([p.trained.kl for p in pairs]), FLOAT64)
    assert found["kl"].before is None
    assert not report.notes
    # exp of the mean over all tokens, not the mean of the texts' perplexities.
    for name, cases in (
        ("perplexity_text", [likelihood.windows(llama, text)[0] for text in _TEXTS]),
        (
            "perplexity_references",
            [
                likelihood.answer(llama, prompts[i].messages, text)
                for i, texts in references.items()
                for text in texts
            ],
        ),
    ):
        figure = found[name]
        for side, estimate in ((None, figure.before), (POLICY, figure.after)):
            with adapters.active(llama, side):
                total = sum(_by_hand(llama, *case) for case in cases)
            n_tokens = sum(len(case.ids) for case in cases)
            assert estimate is not None
            assert_close(estimate.value, math.exp(-total / n_tokens), FLOAT32)


def test_equal_answers_change_nothing_and_better_ones_are_seen(llama: LoadedModel) -> None:
    """Both sides alike: every change is 0 with an empty interval; only the KL has none."""
    _with_policy(llama)
    same = [Pair(p.prompt_id, p.seed, p.base, p.base, None, None) for p in _pairs()]
    prompts = {prompt.id: prompt for prompt in tinymodels.prompts(6)}
    references = {i: [p.base.text for p in same if p.prompt_id == i] for i in prompts}
    for figure in _measure(llama, same, TextInputs(prompts, references)).figures:
        if figure.change is not None and not figure.name.startswith("perplexity"):
            assert_close((figure.change.value, figure.change.low), (0.0, 0.0), EXACT)
            assert not figure.is_clear
    worse = _pairs()
    for figure in _measure(llama, worse, TextInputs(prompts, references)).figures:
        if figure.name in ("rouge_1", "rouge_l", "bleu", "chrf"):
            assert figure.change is not None
            assert figure.change.high < 0.0
            assert figure.is_clear


def test_what_is_missing_is_said_and_the_rest_is_given(llama: LoadedModel) -> None:
    _with_policy(llama)
    prompts = {prompt.id: prompt for prompt in tinymodels.prompts(6)}
    report = _measure(llama, _pairs(), TextInputs(prompts))
    assert report.notes == [text_metrics.NO_TEXT, text_metrics.NO_REFERENCES]
    assert set(_by_name(report)) == {
        *("kl", "distinct_1", "distinct_2", "distinct_3", "self_bleu", "self_bleu_across"),
        *("repetition", "length", "eos_rate"),
    }


def test_sacrebleu_is_not_needed_for_the_rest(
    llama: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sacrebleu", None)
    _with_policy(llama)
    prompts = {prompt.id: prompt for prompt in tinymodels.prompts(6)}
    report = _measure(llama, _pairs(), TextInputs(prompts, {1: ["w1 w2"]}, _TEXTS))
    assert [note.split(",")[0] for note in report.notes] == [
        "BLEU and chrF need the library sacrebleu"
    ]
    assert "rouge_l" in _by_name(report)


def test_chinese_answers_have_a_score_of_their_own(llama: LoadedModel) -> None:
    _with_policy(llama)
    texts = ["今天天气很好", "我喜欢读书", "他去了北京"]
    prompts = {
        i + 1: Prompt(i + 1, (Message("user", "w1"),), "", language, "heldout", "")
        for i, language in enumerate(("zh", "zh", "en"))
    }
    pairs = [
        Pair(i + 1, 0, *(Answered(text, (), 5, True, None, 0.0),) * 2, None, None)
        for i, text in enumerate(texts)
    ]
    references = {1: [texts[0]], 2: [texts[1]], 3: ["w1"]}
    report = _measure(llama, pairs, TextInputs(prompts, references))
    found = _by_name(report)
    assert_close(found["bleu_zh"].after.value, 100.0, FLOAT64)
    assert "tok:zh" in report.signatures["bleu_zh"]
    assert found["bleu"].after.value == 0.0
    assert found["bleu_zh"].n == 2


def test_a_policy_trained_to_nan_gives_no_numbers_and_no_crash(llama: LoadedModel) -> None:
    parameters = adapters.add(llama, POLICY, LoraSettings(), seed=3)
    with torch.no_grad():
        for parameter in parameters:  # one alone may be swallowed by the attention's kernel
            parameter.fill_(math.nan)
    pairs = [
        Pair(p.prompt_id, p.seed, p.base, Answered("", (), 1, False, None, math.nan), None, None)
        for p in _pairs()
    ]
    prompts = {prompt.id: prompt for prompt in tinymodels.prompts(6)}
    found = _by_name(_measure(llama, pairs, TextInputs(prompts, {1: ["w1"]}, _TEXTS)))
    for name in ("kl", "perplexity_text", "perplexity_references"):
        assert math.isnan(found[name].after.value)
        assert math.isnan(found[name].after.low)
    before = found["perplexity_text"].before
    assert before is not None
    assert before.low < before.value < before.high
    assert math.isnan(found["distinct_1"].after.value)


def test_a_cancel_is_noticed(llama: LoadedModel) -> None:
    _with_policy(llama)
    prompts = {prompt.id: prompt for prompt in tinymodels.prompts(6)}
    token = CancelToken()
    run = text_metrics.measure(llama, POLICY, _pairs(), TextInputs(prompts, {}, _TEXTS), 2, token)
    next(run)
    token.cancel()
    with pytest.raises(Cancelled):
        list(run)
