"""Safety measures against counting by hand, on tiny models that were bent one way."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from tests import tinymodels
from tests.close import EXACT, FLOAT32, FLOAT64, assert_close
from tests.invariants.test_text_evaluation import _by_hand, _drain, _with_policy
from workbench.cancel import CancelToken
from workbench.config.lora import LoraSettings
from workbench.config.safety import SafetySettings
from workbench.data.figures import Figure
from workbench.data.formats.crows import SentencePair
from workbench.data.safety_prompts import PairedPrompt, Request
from workbench.errors import Cancelled
from workbench.evaluation import safety
from workbench.evaluation.answer_rules import Sentiment, WordList
from workbench.evaluation.safety import SafetyInputs, SafetyReport
from workbench.models import adapters
from workbench.models.loading import LoadedModel
from workbench.models.policy import Policy

POLICY = "policy"
SETTINGS = SafetySettings(max_new_tokens=6, batch_size=32)
_PAIRS = [
    PairedPrompt("gender", "en", "w1 w2 w3", "w1 w4 w3"),
    PairedPrompt("gender", "zh", "w5 w6", "w5 w7"),
    PairedPrompt("age", "en", "w8 w9 w10", "w8 w9 w11"),
    PairedPrompt("age", "en", "w3", "w4"),
]
_SENTENCES = [
    SentencePair("w1 w2 w3", "w1 w4 w3", "stereo", "gender"),
    SentencePair("w5 w6", "w5 w7 w8", "antistereo", "age"),
    SentencePair("w9", "w10", "stereo", "age"),
]


class Judge:
    """Finds every second text toxic, by its length."""

    def scores(self, texts: Sequence[str], check: Any) -> torch.Tensor:
        check()
        return torch.tensor([[0.0, float(len(text) % 2)] for text in texts])


def _inputs(**changes: Any) -> SafetyInputs:
    return SafetyInputs(
        **{
            "pairs": _PAIRS,
            "harmful": [Request("en", "w12"), Request("zh", "w13"), Request("en", "w14")],
            "harmless": [Request("en", "w15"), Request("zh", "w2")],
            "sentences": _SENTENCES,
            "sentiment": Sentiment({"w3": 1, "w4": -1}),
            "words": WordList(["w5"]),
            **changes,
        }
    )


def _measure(model: LoadedModel, inputs: SafetyInputs) -> tuple[SafetyReport, dict[str, Figure]]:
    run: Generator[Any, None, Any] = safety.measure(
        model, Policy(POLICY, None), inputs, SETTINGS, CancelToken()
    )
    report = _drain(run)
    return report, {figure.name: figure for figure in report.figures}


def test_figures_are_counted_from_the_answers(
    llama: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safety, "is_refusal", lambda text: "w6" in text.split())
    _with_policy(llama)
    report, found = _measure(llama, _inputs(classifier=(Judge(), 1)))
    asked = report.asked
    assert [a.prompt for a in asked[:4]] == ["w1 w2 w3", "w1 w4 w3", "w5 w6", "w5 w7"]
    assert [a.part for a in asked[8:]] == ["harmful"] * 3 + ["harmless"] * 2
    assert any(a.before != a.after for a in asked)
    for name, part in (("refusal_harmful", asked[8:11]), ("refusal_harmless", asked[11:])):
        for side in ("before", "after"):
            share = np.mean(["w6" in getattr(a, side).split() for a in part])
            assert_close(getattr(found[name], side).value, share, FLOAT64)
    assert {"refusal_harmful.en", "refusal_harmless.zh"} <= found.keys()
    cases = [[*asked[2 * i : 2 * i + 2]] for i in range(4)] + [[a] for a in asked[8:]]
    toxic = [any("w5" in a.after.split() for a in case) for case in cases]
    assert_close(found["toxicity_words"].after.value, np.mean(toxic), FLOAT64)
    odd = [len(a.after) % 2 for a in asked]
    assert_close(found["toxicity_classifier"].after.value, np.mean(odd), FLOAT64)
    for suffix, rows in (("", range(4)), (".gender", (0, 1)), (".age", (2, 3))):
        lengths = [asked[2 * i].n_tokens_after - asked[2 * i + 1].n_tokens_after for i in rows]
        assert_close(found[f"lean_length{suffix}"].after.value, np.mean(lengths), FLOAT64)
        gap = found[f"gap_length{suffix}"].after.value
        assert_close(gap, np.mean(np.abs(lengths)), FLOAT64)
        refused = [(asked[2 * i].refuses_before, asked[2 * i + 1].refuses_before) for i in rows]
        for name, value in (
            ("lean", [a - b for a, b in refused]),
            ("gap", [a != b for a, b in refused]),
        ):
            before = found[f"{name}_refusal{suffix}"].before
            assert before is not None
            assert_close(before.value, np.mean(value), FLOAT64)
            assert before.low < before.value < before.high or before.value in (0.0, 1.0)
    # VADER knows none of these words.
    of_chinese = []
    for a in asked[2:4]:
        total = sum({"w3": 1, "w4": -1}.get(word, 0) for word in a.before.split())
        of_chinese.append(total / math.sqrt(total * total + 15))
    before = found["lean_sentiment.gender"].before
    assert before is not None
    assert_close(before.value, (of_chinese[0] - of_chinese[1]) / 2, FLOAT64)


def test_likelihoods_are_loops_over_logits(
    llama: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safety, "NEUTRAL", {"en": "w9 w10 w3", "zh": "w2 w8"})
    _with_policy(llama)
    _, found = _measure(llama, _inputs())
    neutral = llama.tokenizer.encode(safety.NEUTRAL["en"], add_special_tokens=False)
    chinese = llama.tokenizer.encode(safety.NEUTRAL["zh"], add_special_tokens=False)
    for side, key in ((None, "before"), (POLICY, "after")):
        differences = []
        with adapters.active(llama, side):
            for pair in _PAIRS:
                ids = neutral if pair.language == "en" else chinese
                one, other = (
                    _by_hand(llama, llama.encode_prompt(task.messages), ids)
                    for task in (
                        safety._prompt(pair.first, "", ""),
                        safety._prompt(pair.second, "", ""),
                    )
                )
                differences.append(one - other)
        assert_close(
            getattr(found["gap_likelihood"], key).value, np.mean(np.abs(differences)), FLOAT32
        )
    start = llama.stop_id
    with adapters.active(llama, POLICY):
        prefers = [
            _by_hand(llama, [start], llama.tokenizer.encode(pair.more))
            > _by_hand(llama, [start], llama.tokenizer.encode(pair.less))
            for pair in _SENTENCES
        ]
    for suffix, rows in (("", (0, 1, 2)), (".age", (1, 2)), (".gender", (0,)), (".stereo", (0, 2))):
        expected = np.mean([prefers[i] for i in rows])
        assert_close(found[f"stereotype{suffix}"].after.value, expected, FLOAT64)


def test_a_policy_that_changed_nothing_changes_no_figure(llama: LoadedModel) -> None:
    adapters.add(llama, POLICY, LoraSettings(), seed=0)  # B is 0
    report, found = _measure(llama, _inputs())
    assert all(a.before == a.after for a in report.asked)
    for figure in found.values():
        assert figure.change is not None
        assert_close(figure.change.value, 0.0, EXACT)
        assert not figure.is_clear


def test_both_prompts_of_a_pair_have_the_same_luck(llama: LoadedModel) -> None:
    """Prompts that are equal get equal answers, so the gap is the prompts' and not luck's."""
    _with_policy(llama)
    same = [PairedPrompt("age", "en", f"w{i}", f"w{i}") for i in range(6)]
    report, found = _measure(llama, _inputs(pairs=same, sentences=()))
    assert len({a.before for a in report.asked}) > 3
    for name in ("sentiment", "length", "refusal"):
        assert_close(found[f"gap_{name}"].after.value, 0.0, EXACT)


def test_a_policy_trained_to_nan_prefers_nothing(llama: LoadedModel) -> None:
    parameters = adapters.add(llama, POLICY, LoraSettings(), seed=3)
    with torch.no_grad():
        for parameter in parameters:
            parameter.fill_(math.nan)
    _, found = _measure(llama, _inputs())
    assert math.isnan(found["stereotype"].after.value)
    assert math.isnan(found["gap_likelihood"].after.value)
    assert found["stereotype"].before is not None


def test_a_cancel_is_noticed(llama: LoadedModel) -> None:
    _with_policy(llama)
    token = CancelToken()
    run = safety.measure(llama, Policy(POLICY, None), _inputs(), SETTINGS, token)
    next(run)
    token.cancel()
    with pytest.raises(Cancelled):
        list(run)


def test_an_encoder_decoder_leaves_out_sentences_and_says_so(folders: dict[str, Any]) -> None:
    model = tinymodels.load(folders["t5"])
    _with_policy(model)
    report, found = _measure(model, _inputs())
    assert report.notes == [safety.NO_START]
    assert "stereotype" not in found
    assert "gap_likelihood" in found
