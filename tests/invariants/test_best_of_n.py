"""Best of n: what is drawn, who is chosen, and that its curve is what is said of it."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tinymodels
from tests.close import FLOAT64, Level, assert_close
from tests.tinymodels import TokenShare
from workbench.cancel import CancelToken
from workbench.config.best_of_n import BestOfNSettings
from workbench.config.lora import LoraSettings
from workbench.data.chat_template import decode_answer
from workbench.errors import Cancelled, UserError
from workbench.evaluation import best_of_n
from workbench.evaluation.best_of_n import Best
from workbench.events import METRICS, Evaluated, Event, Sample
from workbench.models import adapters
from workbench.models.loading import LoadedModel
from workbench.rewards.annotator import SimulatedAnnotator

TOKEN = 7


class Counting(SimulatedAnnotator):
    """Likes an answer for each w4 (the token) and dislikes its length: a rule to recompute."""

    def __init__(self) -> None:
        pass

    def utility(self, text: str) -> float:
        words = text.split()
        return words.count("w4") - 0.25 * len(words)


class Noting(TokenShare):
    """Keeps what it scored."""

    def __init__(self, sign: float = 1.0) -> None:
        super().__init__(TOKEN, sign=sign)
        self.answers: list[list[list[int]]] = []
        self.scores: list[list[float]] = []

    def score(self, prompts: Any, answers: Sequence[Sequence[int]]) -> list[float]:
        scores = super().score(prompts, answers)
        self.answers.append([list(answer) for answer in answers])
        self.scores.append(scores)
        return scores


def _settings(**changes: Any) -> BestOfNSettings:
    return BestOfNSettings(**{"n": 4, "max_new_tokens": 8, **changes})


def _run(
    model: LoadedModel,
    reward: TokenShare,
    settings: BestOfNSettings,
    annotator: SimulatedAnnotator | None = None,
    stop_after: int | None = None,
) -> tuple[list[Best], list[Event]]:
    token = CancelToken()
    events: list[Event] = []
    run = best_of_n.best_of_n(model, tinymodels.prompts(), reward, annotator, settings, token)
    while True:
        try:
            events.append(next(run))
        except StopIteration as end:
            return end.value, events
        if stop_after is not None and len(events) == stop_after:
            token.request_stop()


def _curve(events: Sequence[Event]) -> dict[int, dict[str, float]]:
    return {e.step: dict(e.metrics) for e in events if isinstance(e, Evaluated)}


def test_the_curve_is_the_mean_over_all_choices_of_n(llama: LoadedModel) -> None:
    """Recomputed from the answers by counting every choice, opponent and prompt."""
    reward, judge = Noting(), Counting()
    best, events = _run(llama, reward, _settings(), judge)
    curve = _curve(events)
    assert list(curve) == [1, 2, 4]
    assert len(reward.scores) == len(best) == 6
    tokenizer = llama.tokenizer
    texts = [[decode_answer(tokenizer, ids) for ids in answers] for answers in reward.answers]
    for n, figures in curve.items():
        assert figures.keys() - METRICS.keys() == {
            f"{name}_{side}"
            for name in figures
            if f"{name}_low" in figures
            for side in ("low", "high")
        }
        scores, wins = [], []
        for row, words in zip(reward.scores, texts, strict=True):
            assert len(row) == 5
            scores.append(statistics.fmean(max(c) for c in itertools.combinations(row, n)))
            wins.append(_wins(row, [judge.utility(w) for w in words], n))
        assert_close(figures["best_of_n/score"], statistics.fmean(scores), FLOAT64)
        assert_close(figures["best_of_n/win_rate"], statistics.fmean(wins), FLOAT64)
        assert figures["best_of_n/score_low"] <= figures["best_of_n/score"]
        assert figures["best_of_n/score"] <= figures["best_of_n/score_high"]
    assert curve[1]["best_of_n/win_rate"] == 0.5
    assert curve[1]["best_of_n/kl_bound"] == 0.0
    rises = [figures["best_of_n/score"] for figures in curve.values()]
    assert rises == sorted(rises)
    assert rises[-1] > 2 * rises[0]


def _wins(scores: Sequence[float], utilities: Sequence[float], n: int) -> float:
    """As the estimator breaks ties: the later of equally good answers."""
    results = []
    for opponent in range(len(scores)):
        others = [i for i in range(len(scores)) if i != opponent]
        for drawn in itertools.combinations(others, n):
            best = max(drawn, key=lambda i: (scores[i], i))
            gap = utilities[best] - utilities[opponent]
            results.append(0.5 if gap == 0 else float(gap > 0))
    return statistics.fmean(results)


def test_the_best_of_the_first_n_is_told_and_given(llama: LoadedModel) -> None:
    """The one that is the opponent is not among those to choose from."""
    reward = Noting()
    best, events = _run(llama, reward, _settings())
    samples = [e for e in events if isinstance(e, Sample)]
    assert [s.prompt_id for s in samples] == [b.prompt.id for b in best] == [1, 2, 3, 4, 5, 6]
    for one, sample, answers, scores in zip(
        best, samples, reward.answers, reward.scores, strict=True
    ):
        assert one.score == sample.reward == max(scores[:4])
        assert list(one.answer.ids) in answers[:4]
        assert one.answer.is_finished == (one.answer.ids[-1] == tinymodels.EOS)
        assert (one.text, len(one.answer.ids)) == (sample.text, sample.n_tokens)
    assert all(e.metrics.keys() >= {"best_of_n/score", "best_of_n/length"} for e in _told(events))
    assert all("best_of_n/win_rate" not in e.metrics for e in _told(events))


def _told(events: Sequence[Event]) -> list[Evaluated]:
    return [e for e in events if isinstance(e, Evaluated)]


def test_the_reward_turned_round_chooses_the_worst(llama: LoadedModel) -> None:
    """The control: what rises is what chooses."""
    _, events = _run(llama, Noting(sign=-1.0), _settings(n=8))
    shares = [-e.metrics["best_of_n/score"] for e in _told(events)]
    assert shares[-1] < 0.2 * shares[0]


def test_batches_change_nothing_and_the_seed_does(model: LoadedModel) -> None:
    answers = []
    for changes in ({"batch_size": 3}, {"batch_size": 64}, {"seed": 2}):
        reward = Noting()
        _run(model, reward, _settings(**changes))
        answers.append(reward.answers)
    assert answers[0] == answers[1] != answers[2]


def test_the_base_answers_whatever_sits_on_it(llama: LoadedModel) -> None:
    before, after = Noting(), Noting()
    _run(llama, before, _settings())
    for parameter in adapters.add(llama, "policy", LoraSettings(r=2), seed=0):
        parameter.data += 0.5
    with adapters.active(llama, "policy"):
        _run(llama, after, _settings())
    assert before.answers == after.answers


def test_a_stop_tells_of_the_prompts_that_are_done(llama: LoadedModel) -> None:
    settings = _settings(batch_size=7)
    # Fourteen answers, five to each prompt: the third prompt has four.
    best, events = _run(llama, Noting(), settings, stop_after=14)
    assert [one.prompt.id for one in best] == [1, 2]
    assert len(_told(events)) == 3
    assert sum(isinstance(e, Sample) for e in events) == 2


def test_a_stop_before_the_first_prompt_has_nothing_to_tell(llama: LoadedModel) -> None:
    with pytest.raises(Cancelled):
        _run(llama, Noting(), _settings(), stop_after=1)


def test_without_prompts_there_is_a_sentence(llama: LoadedModel) -> None:
    run = best_of_n.best_of_n(llama, [], TokenShare(TOKEN), None, _settings(), CancelToken())
    with pytest.raises(UserError, match="no prompts"):
        next(run)


def test_the_sizes_of_the_curve_double_up_to_n() -> None:
    assert _settings(n=16).sizes == [1, 2, 4, 8, 16]
    assert _settings(n=6).sizes == [1, 2, 4, 6]
    assert _settings(n=2).sizes == [1, 2]


def test_kl_of_the_best_is_below_its_bound(folders: dict[str, Path]) -> None:
    """Measured on answers of one token, where every answer can be counted.

    With p the base's distribution over tokens in the order of their scores, the best of n has
    P(best ≤ k) = P(k)^n.
    """
    model = tinymodels.load(folders["llama"])
    prompt = tinymodels.prompts()[0]
    ids = torch.tensor([model.encode_prompt(prompt.messages)])
    with torch.no_grad():
        p = model.model(input_ids=ids).logits[0, -1].double().softmax(-1)
    below = torch.cat([p.new_zeros(1), p.cumsum(0)])
    for n in (2, 4, 16):
        chosen = (below**n).diff()
        kl = float((chosen * (chosen / p).log()).sum())
        assert 0.0 < kl <= best_of_n.best_of_n_kl(n)


def test_scores_of_the_curve_come_true_when_n_are_drawn_anew(llama: LoadedModel) -> None:
    """The expectation told from five answers is what the mean over many draws comes to."""
    _, events = _run(llama, Noting(), _settings(n=4))
    told = _curve(events)[4]
    maxima = []
    for seed in range(20, 32):
        reward = Noting()
        _run(llama, reward, _settings(n=4, seed=seed))
        maxima += [max(scores[:4]) for scores in reward.scores]
    assert_close(told["best_of_n/score"], statistics.fmean(maxima), Level(0.12, 0.0))
