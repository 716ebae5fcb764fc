"""Designed rewards on tiny models: sums, tokens, the shared trunk, and what happens on failure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tinymodels
from tests.close import EXACT, FLOAT32, FORWARD, assert_close
from tests.training import TOKEN, Fixed, Trained, on_policy_settings
from workbench.cancel import CancelToken
from workbench.config.lora import LoraSettings
from workbench.config.reward_parts.design import RewardDesign, read
from workbench.config.reward_parts.kinds import JudgePart, RewardModelPart
from workbench.data import design_folder
from workbench.data.records import Message
from workbench.errors import UserError
from workbench.events import Saved
from workbench.models import adapters
from workbench.models.loading import LoadedModel
from workbench.rewards import loading
from workbench.rewards.design import DesignedReward
from workbench.rewards.judge_question import Answer, Question
from workbench.rewards.neural import RewardModel
from workbench.rewards.parts.answers import Answers
from workbench.rewards.parts.networks import NetworkPart
from workbench.rewards.parts.references import Judged
from workbench.training import policy_gradient

LORA = LoraSettings(r=4, alpha=8, last_layers=1)
PROMPTS: list[Sequence[Message]] = [p.messages for p in tinymodels.prompts()[:3]]
ANSWERS = [[5, 7, 7, 9, tinymodels.EOS], [7, 8], [tinymodels.EOS]]


class Given:
    """A part whose values of answers and beginnings are told."""

    def __init__(self, beginnings: Sequence[Sequence[Any]] | None, whole: Any = None) -> None:
        self.beginnings = beginnings
        self.whole = whole
        self.is_closed = False

    def values(self, answers: Answers) -> Any:
        if isinstance(self.whole, Exception):
            raise self.whole
        if self.whole is not None:
            return self.whole
        assert self.beginnings is not None
        return [row[-1] for row in self.beginnings[: len(answers)]]

    def prefixes(self, answers: Answers) -> Any:
        return None if self.beginnings is None else self.beginnings[: len(answers)]

    def close(self) -> None:
        self.is_closed = True


def design_of(*parts: dict[str, Any]) -> RewardDesign:
    return read({"name": "Kind", "parts": [{"kind": "brevity", **part} for part in parts]})


def save_reward(model: LoadedModel, folder: Path, seed: int) -> Path:
    reward = RewardModel.fresh(model, LORA, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for parameter in reward.trainable:
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    folder.mkdir()
    reward.save(folder)
    reward.close()
    return folder


def loaded(model: LoadedModel, design: RewardDesign, folder: Path, **parts: Path) -> DesignedReward:
    """The design through its folder; parts by name, such as p0."""
    folder.mkdir()
    sources = {int(name[1:]): path for name, path in parts.items()}
    design_folder.write(folder, design, sources, [])

    def no_other(*_: str) -> LoadedModel:
        raise AssertionError

    found = loading.load(loading.Place(model, no_other), folder)
    assert isinstance(found, DesignedReward)
    return found


def test_the_reward_is_the_weighted_sum_of_shifted_scaled_and_clipped_values(
    llama: LoadedModel,
) -> None:
    design = design_of(
        {"weight": 2.0, "shift": 1.0, "scale": 4.0},
        {"weight": -0.5, "clip": 1.5},
        {"weight": 0.0, "shift": 3.0},
    )
    raw = [[3.0, -1.0, 0.5], [9.0, 0.1, -7.0], [1e6, 5.0, 2.0]]
    reward = DesignedReward(design, [Given(None, values) for values in raw], llama)
    expected = []
    for a, b, _ in zip(*raw, strict=True):
        expected.append(2.0 * (a - 1.0) / 4.0 - 0.5 * min(1.5, max(-1.5, b)))
    assert_close(reward.score(PROMPTS, ANSWERS), expected, FLOAT32)
    assert [design.total(row) for row in zip(*raw, strict=True)] == reward.score(PROMPTS, ANSWERS)
    table = list(reward.table(PROMPTS, ["", "w1", "w2"]))
    assert [list(column.raw or ()) for column in table] == raw


BEGINNINGS = [[0.5, 1.0, -2.0, 4.0, 4.0, 9.0], [0.25, 2.0, 1.0], [-1.0, 3.0]]


def test_potentials_are_those_of_the_parts_that_are_paid_by_token(llama: LoadedModel) -> None:
    design = design_of(
        {"weight": 2.0, "shift": 1.0, "paid": "token"}, {"weight": 3.0}, {"paid": "token"}
    )
    whole = [7.0, 8.0, 9.0]
    parts = [Given(BEGINNINGS), Given(None, [1.0, 2.0, 3.0]), Given(None, whole)]
    reward = DesignedReward(design, parts, llama)
    paid = reward.pay(PROMPTS, ANSWERS, lambda _: None, with_potentials=True)
    assert paid.scores == reward.score(PROMPTS, ANSWERS)
    for potential, row, last in zip(paid.potentials, BEGINNINGS, whole, strict=True):
        # What has no value before the end has the potential 0 until then.
        expected = [2.0 * (value - 1.0) for value in row]
        expected[-1] += last
        assert_close(potential, expected, FLOAT32)
    all_of_it = reward.score_prefixes(PROMPTS, ANSWERS)
    assert_close([row[-1] for row in all_of_it], paid.scores, EXACT)


def test_rules_and_likelihood_score_beginnings_as_a_loop_would(
    llama: LoadedModel, tmp_path: Path
) -> None:
    parts = [
        {"kind": "keywords", "words": "w4", "enough": 2},
        {"kind": "brevity", "longest": 9, "unit": "tokens"},
        {"kind": "stop-token", "weight": 0.5},
        {"kind": "perplexity"},
    ]
    reward = loaded(llama, read({"name": "x", "parts": parts}), tmp_path / "design")
    found = reward.score_prefixes(PROMPTS, ANSWERS)
    for prompt, ids, row in zip(PROMPTS, ANSWERS, found, strict=True):
        prompt_ids = llama.encode_prompt(prompt)
        logits = llama.model(torch.tensor([[*prompt_ids, *ids]])).logits[0].log_softmax(-1)
        logps = [float(logits[len(prompt_ids) - 1 + t, token]) for t, token in enumerate(ids)]
        for n, value in enumerate(row):
            begun = [t for t in ids[:n] if t != tinymodels.EOS]
            is_ended = tinymodels.EOS in ids[:n]
            expected = min(1.0, begun.count(TOKEN) / 2) - len(begun) / 9 + 0.5 * is_ended
            expected += math.fsum(logps[:n]) / n if n else 0.0
            assert_close(value, expected, FORWARD)
    assert_close([row[-1] for row in found], reward.score(PROMPTS, ANSWERS), EXACT)


def test_networks_of_a_design_are_copied_and_scored_each_by_itself(
    llama: LoadedModel, tmp_path: Path
) -> None:
    first, second = (save_reward(llama, tmp_path / str(seed), seed) for seed in (1, 2))
    alone = []
    for folder in (first, second):
        one = RewardModel.load(llama, folder)
        alone.append((one.score(PROMPTS, ANSWERS), one.score_prefixes(PROMPTS, ANSWERS)))
        one.close()
    kinds = [{"kind": "reward-model", "run": 1}, {"kind": "reward-model", "run": 2, "weight": -2}]
    design = read({"name": "two", "parts": kinds})
    reward = loaded(llama, design, tmp_path / "design", p0=first, p1=second)
    expected = [a - 2 * b for a, b in zip(alone[0][0], alone[1][0], strict=True)]
    assert_close(reward.score(PROMPTS, ANSWERS), expected, FORWARD)
    for row, a, b in zip(
        reward.score_prefixes(PROMPTS, ANSWERS), alone[0][1], alone[1][1], strict=True
    ):
        assert_close(row, [x - 2 * y for x, y in zip(a, b, strict=True)], FORWARD)
    reward.tokens_at_once = 17
    assert reward.tokens_at_once == 17
    assert_close(reward.score(PROMPTS, ANSWERS), expected, FORWARD)
    reward.close()
    assert (tmp_path / "design/parts/02/adapter_config.json").is_file()
    spread = read({"name": "x", "parts": [{"kind": "reward-model", "run": 1, "minus_std": 1}]})
    unsure = loaded(llama, spread, tmp_path / "spread", p0=first)
    with pytest.raises(UserError, match="how sure it is cannot be told"):
        unsure.score(PROMPTS, ANSWERS)


def test_an_ensemble_is_paid_less_where_its_members_disagree() -> None:
    class Ensemble:
        n_members = 2

        def score_with_spread(self, *_: Any) -> tuple[list[float], list[float]]:
            return [1.0, 2.0], [0.5, 0.0]

        def score_texts_with_spread(self, *_: Any) -> tuple[list[float], list[float]]:
            raise AssertionError

    scorer: Any = Ensemble()
    part = NetworkPart(RewardModelPart(run=1, minus_std=3.0), scorer)
    answers = Answers(PROMPTS[:2], ["", ""], ANSWERS[:2])
    assert_close(part.values(answers), [-0.5, 2.0], EXACT)
    assert part.prefixes(answers) is None
    assert part.read(lambda _: [9.0, 9.0]) is None, "a rollout knows no spread"


def test_a_judge_compares_with_the_reference_in_both_orders() -> None:
    class Fake:
        """Says how likely the answer shown first is better: by its length, and by its place."""

        said: float | None = 0.0

        def ask(self, questions: Sequence[Question]) -> Any:
            for i, question in enumerate(questions):
                p = 0.6 + 0.1 * (len(question.first) - len(question.second))
                yield i, Answer(None if self.said is None else p, "", 0.0, 0)

        def close(self) -> None:
            raise AssertionError

    judge = Fake()
    references = {design_folder.prompt_digest(p): "ab" for p in PROMPTS[:2]}
    part = Judged(JudgePart(shift=0.4), references, judge, CancelToken())
    answers = Answers(PROMPTS, ["abc", " ab ", "abcd"], ANSWERS)
    # 0.7 straight, and 1 − 0.5 exchanged; the same text; no reference: the average
    assert_close(part.values(answers), [0.6, 0.5, 0.4], FLOAT32)
    assert part.prefixes(answers) is None
    judge.said = None
    with pytest.raises(UserError, match="the judge named neither answer"):
        part.values(answers)


@pytest.mark.parametrize(
    ("whole", "sentence"),
    [
        ([1.0, 2.0], "it gave 2 values for 3 answers"),
        ([1.0, math.nan, 2.0], "it gave nan, which is not a number that can be added"),
        ([1.0, "2", 2.0], "it gave '2', which is not a number"),
        ([1.0, True, 2.0], "it gave 'True', which is not a number"),
        (KeyError("x"), "failed: KeyError"),
        (UserError("its judge is asleep.", "Wake it."), "its judge is asleep"),
    ],
)
def test_a_part_that_fails_is_named(whole: Any, sentence: str, llama: LoadedModel) -> None:
    design = design_of({}, {"label": "Mine"})
    reward = DesignedReward(design, [Given(BEGINNINGS), Given(None, whole)], llama)
    with pytest.raises(UserError, match=rf"Part 2 of Kind \(Mine\).*{sentence}"):
        reward.score(PROMPTS, ANSWERS)
    first, second = reward.table(PROMPTS, ["", "", ""])
    assert (first.problem, second.raw) == ("", None)
    assert sentence[3:] in second.problem
    assert "Part 2" not in second.problem or isinstance(whole, KeyError)


def test_the_shared_trunk_is_used_through_a_design(
    llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network on the policy's base goes on from the rollout's states, and the run is the same."""
    parts = [
        {"kind": "reward-model", "run": 1, "weight": 3.0},
        {"kind": "keywords", "words": "w4", "enough": 8},
    ]
    design = read({"name": "x", "parts": parts})
    source = save_reward(llama, tmp_path / "source", 1)
    used: list[int] = []
    scoring = RewardModel.score_rollout

    def counting(*args: Any) -> Any:
        used.append(len(args[1]))
        return scoring(*args)

    monkeypatch.setattr(RewardModel, "score_rollout", counting)
    settings = on_policy_settings("grpo", updates=2, lora=LORA.model_dump())
    runs = []
    for can_share in (True, False):
        model = tinymodels.load(llama.info.path)
        folder = tmp_path / f"run-{can_share}"
        reward = loaded(model, design, tmp_path / f"design-{can_share}", p0=source)
        if not can_share:
            monkeypatch.setattr(RewardModel, "can_read", lambda *_: False)
        runs.append(Trained("grpo", model, settings, folder, reward=reward))
    assert used == [16, 16], "in the first run only"
    for ours, theirs in zip(runs[0].metrics, runs[1].metrics, strict=True):
        assert_close(ours["objective/scores"], theirs["objective/scores"], FORWARD)
    for key, weight in runs[0].adapter().items():
        assert_close(weight, runs[1].adapter()[key], FORWARD)


def test_parts_paid_by_token_are_paid_so_though_the_run_pays_at_the_end(
    llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, Any, Any]] = []
    real = policy_gradient.rewards_of_tokens

    def noting(learner: Any, rollout: Any, cost: Any) -> Any:
        rewards = real(learner, rollout, cost)
        seen.append((rollout, cost, rewards))
        return rewards

    monkeypatch.setattr("workbench.training.ppo.rewards_of_tokens", noting)
    parts = [
        {"kind": "keywords", "words": "w4", "enough": 8, "paid": "token"},
        {"kind": "brevity", "longest": 20, "unit": "tokens"},
    ]
    reward = loaded(llama, read({"name": "x", "parts": parts}), tmp_path / "design")
    settings = on_policy_settings("ppo", kl_coef=0.0, normalise_scores="off", updates=1)
    Trained("ppo", llama, settings, tmp_path / "run", reward=reward)
    ((rollout, cost, rewards),) = seen
    assert_close(rewards.sum(1), cost.scores, FORWARD)
    is_before_last = rollout.is_response.clone()
    is_before_last[torch.arange(16), rollout.is_response.sum(1) - 1] = False
    expected = (rollout.response_ids == TOKEN) / 8 * is_before_last
    assert_close(rewards * is_before_last, expected, FORWARD)
    assert expected.any()


def test_a_run_whose_reward_fails_is_kept_and_goes_on_when_it_is_mended(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    class Breaking(Fixed):
        def __init__(self, good: int) -> None:
            super().__init__([1.0, -1.0, 0.5])
            self.good = good

        def score(self, *args: Any) -> list[float]:
            self.good -= 1
            if self.good < 0:
                raise UserError("Part 1 of it is broken.")
            return super().score(*args)

    settings = on_policy_settings("ppo", normalise_scores="running", updates=3)
    whole = Trained(
        "ppo", tinymodels.load(folders["llama"]), settings, tmp_path / "a", reward=Breaking(9)
    )
    told: list[Any] = []
    with pytest.raises(UserError, match="is broken"):
        Trained(
            "ppo",
            tinymodels.load(folders["llama"]),
            settings,
            tmp_path / "b",
            reward=Breaking(1),
            on_event=told.append,
        )
    (saved,) = [e for e in told if isinstance(e, Saved)]
    assert saved.step == 1
    rest = Trained(
        "ppo",
        tinymodels.load(folders["llama"]),
        settings,
        tmp_path / "b",
        reward=Breaking(9),
        resume_from=Path(saved.path),
    )
    assert rest.metrics == whole.metrics[1:]
    assert rest.checkpoint() == whole.checkpoint()


def test_running_normalisation_goes_by_all_answers_so_far(
    llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Growing(Fixed):
        n = 0

        def score(self, prompts: Any, answers: Any) -> list[float]:
            self.n += 1
            return [self.n * s for s in super().score(prompts, answers)]

    seen: list[torch.Tensor] = []
    real = policy_gradient.shaped_scores

    def noting(*args: Any) -> torch.Tensor:
        seen.append(real(*args))
        return seen[-1]

    monkeypatch.setattr(policy_gradient, "shaped_scores", noting)
    base = [3.0, -1.0, 0.5, 9.0]
    settings = on_policy_settings("ppo", normalise_scores="running", missing_eos_penalty=0.0)
    Trained("ppo", llama, settings, tmp_path, reward=Growing(base))
    scores = torch.tensor(base * 4, dtype=torch.float64)
    for i, shaped in enumerate(seen):
        so_far = torch.cat([(k + 1) * scores for k in range(i + 1)])
        expected = ((i + 1) * scores - so_far.mean()) / so_far.std(unbiased=False)
        assert_close(shaped, expected, FLOAT32)
    assert len(seen) == 3


def test_a_cut_answer_loses_the_penalty_or_gets_it_for_a_score(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    real = policy_gradient.shaped_scores

    def noting(learner: Any, rollout: Any) -> torch.Tensor:
        seen.append((rollout.ended, real(learner, rollout)))
        return seen[-1][1]

    monkeypatch.setattr(policy_gradient, "shaped_scores", noting)
    for rule in ("subtract", "replace"):
        settings = on_policy_settings(
            "rloo",
            normalise_scores="off",
            missing_eos_penalty=2.0,
            missing_eos_rule=rule,
            updates=1,
        )
        model = tinymodels.load(folders["llama"])
        Trained("rloo", model, settings, tmp_path / rule, reward=Fixed([5.0]))
    (ended, subtracted), (_, replaced) = seen
    assert 0 < int(ended.sum()) < len(ended)
    assert_close(subtracted, torch.where(ended, 5.0, 3.0), EXACT)
    assert_close(replaced, torch.where(ended, 5.0, -2.0), EXACT)


def test_closing_takes_every_part_away(llama: LoadedModel) -> None:
    parts = [Given(None, [0.0]), Given(None, [0.0])]
    DesignedReward(design_of({}, {}), parts, llama).close()
    assert all(part.is_closed for part in parts)
    assert adapters.first_layer(llama, LORA) == 1
