"""A local judge says what a plain computation of its verdicts' probabilities says."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from tests import tinymodels
from tests.close import FORWARD, assert_close
from workbench.cancel import CancelToken
from workbench.config.judge import JudgeSettings
from workbench.config.lora import LoraSettings
from workbench.data.records import Message
from workbench.errors import Cancelled, UserError
from workbench.models import adapters
from workbench.models.loading import LoadedModel
from workbench.rewards.judge import LocalJudge
from workbench.rewards.judge_question import Answer, Question, win_probabilities

TEMPLATE = "{rubric} {prompt} w9 {first} w10 {second} w11"
QUESTIONS = [
    Question([Message("user", f"w{i} w{i + 1}")], f"w{i} " * (1 + i % 4), f"w{i + 2} w{i}")
    for i in range(7)
]


def _settings(first: str = "w1", second: str = "w2") -> JudgeSettings:
    return JudgeSettings(template=TEMPLATE, rubric="w5 w6", first_label=first, second_label=second)


def _judge(model: LoadedModel, *labels: str, tokens_at_once: int = 1024) -> LocalJudge:
    judge = LocalJudge(model, _settings(*labels), CancelToken())
    judge.tokens_at_once = tokens_at_once
    return judge


class Plain:
    """The model as transformers has it, one question at a time, no padding, no batches."""

    def __init__(self, folder: Path) -> None:
        self.is_t5 = folder.name == "t5"
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        kind: Any = AutoModelForSeq2SeqLM if self.is_t5 else AutoModelForCausalLM
        self.model = kind.from_pretrained(folder, dtype=torch.float32).eval()

    @torch.no_grad()
    def logp(self, text: str, said: str) -> float:
        words = self.tokenizer.encode(said, add_special_tokens=False)
        if self.is_t5:
            source = torch.tensor([self.tokenizer.encode(text)])
            start = [self.model.config.decoder_start_token_id]
            ids = torch.tensor([start + words[:-1]])
            logits = self.model(input_ids=source, decoder_input_ids=ids).logits[0]
        else:
            before = self.tokenizer.encode(f"{text} w16")
            logits = self.model(torch.tensor([before + words])).logits[0, len(before) - 1 : -1]
        rows = logits.double().log_softmax(-1)
        return sum(float(row[word]) for row, word in zip(rows, words, strict=True))

    def p_first(self, question: Question, first: str, second: str) -> float:
        prompt = question.messages[0].content
        text = f"w5 w6 {prompt} w9 {question.first} w10 {question.second} w11"
        a, b = (math.exp(self.logp(text, said)) for said in (first, second))
        return a / (a + b)


@pytest.mark.parametrize(
    "labels",
    [("w1", "w2"), ("w1 w2", "w1 w3"), ("w4 w4", "w3 w7 w8")],
    ids=["one", "two", "uneven"],
)
@pytest.mark.parametrize("kind", [*tinymodels.KINDS, "gemma2"])
def test_probabilities_equal_plain_ones(
    kind: tinymodels.Kind, labels: tuple[str, str], tmp_path: Path
) -> None:
    folder = tinymodels.write(tmp_path / kind, kind)
    answers = dict(_judge(tinymodels.load(folder), *labels).ask(QUESTIONS))
    plain = Plain(folder)
    expected = [plain.p_first(question, *labels) for question in QUESTIONS]
    assert_close([answers[i].p_shown_first for i in range(7)], expected, FORWARD)
    assert max(expected) - min(expected) > 1e-4
    for i, p in enumerate(expected):
        assert answers[i].text == labels[0 if p > 0.5 else 1]


def test_batches_change_nothing_and_adapters_are_off(model: LoadedModel) -> None:
    adapters.add(model, "policy", LoraSettings(r=4, alpha=8), 0)
    for name, parameter in model.model.named_parameters():
        if ".lora_B" in name:
            parameter.data += 0.5
    together = dict(_judge(model).ask(QUESTIONS))
    alone = dict(_judge(model, tokens_at_once=1).ask(QUESTIONS))
    with adapters.active(model, "policy"):
        nested = dict(_judge(model).ask(QUESTIONS))
    for other in (alone, nested):
        assert_close(
            [other[i].p_shown_first for i in range(7)],
            [together[i].p_shown_first for i in range(7)],
            FORWARD,
        )


def test_win_probabilities_do_not_know_sides(llama: LoadedModel) -> None:
    """The mean of both orders: a taste for the first side cancels out."""
    judge = _judge(llama)
    prompts = [q.messages for q in QUESTIONS]
    answers, references = [q.first for q in QUESTIONS], [q.second for q in QUESTIONS]
    wins = win_probabilities(judge, prompts, answers, references)
    losses = win_probabilities(judge, prompts, references, answers)
    same = win_probabilities(judge, prompts, answers, answers)
    assert all(w is not None for w in (*wins, *losses, *same))
    assert_close([w + x for w, x in zip(wins, losses, strict=True)], [1.0] * 7, FORWARD)  # type: ignore[operator]
    assert_close(same, [0.5] * 7, FORWARD)
    first = dict(judge.ask([QUESTIONS[0], QUESTIONS[0].swapped()]))
    assert first[0].p_shown_first is not None
    assert first[1].p_shown_first is not None
    assert_close(wins[0], (first[0].p_shown_first + 1 - first[1].p_shown_first) / 2, FORWARD)


def test_a_question_that_is_too_long_gets_no_verdict(llama: LoadedModel) -> None:
    long = Question(QUESTIONS[0].messages, "w1 " * llama.context_length, "w2")
    answers = dict(_judge(llama).ask([QUESTIONS[0], long]))
    assert answers[0].p_shown_first is not None
    assert answers[1] == Answer(None, answers[1].text, 0.0, 0)
    assert str(llama.context_length - 1) in answers[1].text


def test_labels_that_the_tokenizer_does_not_know_are_refused(llama: LoadedModel) -> None:
    with pytest.raises(UserError, match="reads A and B as the same"):
        _judge(llama, "A", "B")


def test_stop_ends_between_batches_and_cancel_inside_one(llama: LoadedModel) -> None:
    token = CancelToken()
    judge = LocalJudge(llama, _settings(), token)
    judge.tokens_at_once = 1
    answering = judge.ask(QUESTIONS)
    next(answering)
    token.request_stop()
    assert list(answering) == []
    token = CancelToken()
    judge = LocalJudge(llama, _settings(), token)
    token.cancel()
    with pytest.raises(Cancelled):
        list(itertools.islice(judge.ask(QUESTIONS), 1))
