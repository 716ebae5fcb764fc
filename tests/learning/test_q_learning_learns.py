"""ILQL and SARSA learn the values that a table would hold, and sample more than the data earned.

Texts are a tree, whose states are whole beginnings. Here it has two branches:

    w4 ──┬── w9   1      one answer in eight
         └── w2   0      three
    w0 ───── w6   0.5    four                       on average 0.375

Each good part is in another answer: most answers that begin well end badly, and those that end
well enough begin worse. The mean over the data of what follows w4 is 1/4, less than w0's half:
SARSA, which values the policy that wrote the data, is right to choose w0, and its one step of
improvement is worth 0.5. ILQL's expectile of 0.9 makes the first state after w4 worth 3/4: it takes
the rare good end into account where it chooses the beginning, and so finds the optimum, 1.

The table below is computed in plain loops over the data, without a network.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests import tinymodels
from tests.offline_runs import Run, settings, sure, trained
from workbench.data.records import Answered, Message
from workbench.models import adapters, policy
from workbench.models.decoding import collect, pad_answers, pad_prompts, sample, seeds
from workbench.models.loading import LoadedModel
from workbench.objectives.q_learning import expectile_loss
from workbench.training import ilql

EARNED = {(7, 12): 1.0, (7, 5): 0.0, (3, 9): 0.5}
COUNTS = {(7, 12): 1, (7, 5): 3, (3, 9): 4}
ANSWERS = [answer for answer, n in COUNTS.items() for _ in range(n)]
DATA_MEAN = statistics.fmean(EARNED[answer] for answer in ANSWERS)
ONE_STEP, OPTIMUM = 0.5, 1.0
EXPECTILE = 0.9
OWN: dict[str, dict[str, float]] = {
    "ilql": {"expectile": EXPECTILE, "target_rate": 0.2},
    "sarsa": {},
}
N_SAMPLES = 16  # per prompt

Table = dict[tuple[int, ...], float]  # by what has been said


def _data() -> list[Answered]:
    words = tinymodels.VOCABULARY
    return [
        Answered(prompt, " ".join(words[token] for token in answer))
        for prompt in tinymodels.prompts(6)
        for answer in ANSWERS
    ]


class Earned:
    """What an answer earns, or its opposite; 0 for what the data do not have."""

    name = "table"

    def __init__(self, sign: float = 1.0) -> None:
        self.sign = sign

    def score(
        self,
        prompts: Sequence[Sequence[Message]],  # noqa: ARG002
        answers: Sequence[Sequence[int]],
    ) -> list[float]:
        texts = [tuple(t for t in answer if t != tinymodels.EOS) for answer in answers]
        return [self.sign * EARNED.get(text, 0.0) for text in texts]


def _mean(values: list[float]) -> float:
    return statistics.fmean(values)


def _expectile(values: list[float]) -> float:
    """The v at which what lies above weighs 0.9 and what lies below 0.1, by bisection."""
    low, high = min(values), max(values)
    for _ in range(60):
        v = (low + high) / 2
        pull = sum((EXPECTILE if q > v else 1 - EXPECTILE) * (q - v) for q in values)
        low, high = (v, high) if pull > 0 else (low, v)
    return low


def _table(centre: Callable[[list[float]], float]) -> Table:
    """Q of the last token of each beginning: what it earns, or V of the state that it leads to.

    V of a state is the centre of Q over the tokens that the data take there.
    """
    texts = [(*answer, tinymodels.EOS) for answer in ANSWERS]
    table: Table = {text: EARNED[text[:-1]] for text in texts}
    for length in (2, 1):
        for said in {text[:length] for text in texts}:
            onward = [text[: length + 1] for text in texts if text[:length] == said]
            table[said] = centre([table[longer] for longer in onward])
    return table


class Learned:
    """A run on the tree: its values of the prompts that it learned from, and what it samples."""

    def __init__(
        self, name: str, folder: Path, run_dir: Path, *, sign: float = 1.0, **changes: Any
    ) -> None:
        values = {
            "epochs": 60,  # of one update each
            "batch_size": 32,
            "micro_batch_tokens": 8192,
            "learning_rate": 8e-3,
            "conservative_coef": 0.02,
            "guidance": 16.0,
            "normalise_scores": False,
            "q_rank": 16,
            "lora": {"r": 8, "alpha": 16},
            **OWN[name],
        }
        how, data, model = settings(name, **{**values, **changes}), _data(), sure(folder)
        run = Run(name, model, how, run_dir, answers=data, reward=Earned(sign))
        self.n_updates = len(run.steps)
        self.who = policy.load(model, "learned", run.folder)
        self.table = self._values(model, {item.prompt for item in trained(data, how)})
        self.reward = self._sampled(model)

    def _values(self, model: LoadedModel, prompts: Any) -> Table:
        """Q of the last token of each beginning, the mean over prompts."""
        assert self.who.guidance is not None
        encoded = [model.encode_prompt(prompt.messages) for prompt in prompts]
        found: Table = {}
        for said in _table(_mean):
            prompt_ids, prompt_mask = pad_prompts(model, encoded)
            ids, is_answer = pad_answers(model, [said] * len(encoded))
            with torch.no_grad(), adapters.active(model, self.who.adapter):
                states = model.response_states(prompt_ids, prompt_mask, ids, is_answer)[:, -1]
                qs = [head.forward_taken(states, ids[:, -1]) for head in self.who.guidance._q_heads]
            found[said] = float(torch.stack(qs).amin(0).mean())
        return found

    def _sampled(self, model: LoadedModel) -> float:
        """Mean reward of answers sampled by policy plus advantage, to held-out prompts too."""
        prompts = [model.encode_prompt(p.messages) for p in tinymodels.prompts(6)] * N_SAMPLES
        with adapters.active(model, self.who.adapter):
            drawn = collect(
                sample(
                    model,
                    prompts,
                    seeds(5, n=len(prompts)),
                    max_new_tokens=4,
                    temperature=1.0,
                    steer=self.who.guidance,
                    check=lambda: None,
                )
            )
        answers = [
            ids[own].tolist()
            for ids, own in zip(drawn.response_ids, drawn.is_response, strict=True)
        ]
        return statistics.fmean(Earned().score([], answers))


def _furthest(learned: Table, wanted: Table) -> float:
    return max(abs(learned[said] - value) for said, value in wanted.items())


def test_the_table_is_what_the_header_says() -> None:
    mean, expectile = _table(_mean), _table(_expectile)
    assert DATA_MEAN == 0.375
    assert (mean[(7,)], mean[(3,)]) == (0.25, 0.5)
    assert (expectile[(7,)], expectile[(3,)]) == (pytest.approx(0.75), pytest.approx(0.5))


@pytest.mark.parametrize("seed", range(5))
def test_ilql_joins_a_beginning_to_its_rare_good_end(
    seed: int, llama_folder: Path, tmp_path: Path
) -> None:
    """60 updates: 90 % of the optimum, out of data that earned 37.5 % of it."""
    learned = Learned("ilql", llama_folder, tmp_path, seed=seed)
    assert learned.n_updates == 60
    assert learned.reward > 0.9 * OPTIMUM
    assert _furthest(learned.table, _table(_expectile)) < 0.2


@pytest.mark.parametrize("seed", range(5))
def test_sarsa_takes_one_step_beyond_the_data(
    seed: int, llama_folder: Path, tmp_path: Path
) -> None:
    """60 updates: what one step is worth, and no more."""
    learned = Learned("sarsa", llama_folder, tmp_path, seed=seed)
    assert learned.n_updates == 60
    assert 0.9 * ONE_STEP < learned.reward < 1.25 * ONE_STEP
    assert _furthest(learned.table, _table(_mean)) < 0.2


def test_sarsas_values_alone_are_the_means_of_what_followed(
    llama_folder: Path, tmp_path: Path
) -> None:
    """100 updates without imitation and conservatism, which pull at the same states."""
    learned = Learned(
        "sarsa",
        llama_folder,
        tmp_path,
        epochs=100,
        learning_rate=5e-3,
        conservative_coef=0.0,
        imitation_coef=0.0,
    )
    assert _furthest(learned.table, _table(_mean)) < 0.12
    assert _furthest(_table(_expectile), _table(_mean)) > 0.4


def test_with_an_expectile_of_a_half_ilql_joins_nothing(llama_folder: Path, tmp_path: Path) -> None:
    learned = Learned("ilql", llama_folder, tmp_path, expectile=0.5)
    assert learned.reward < 1.25 * ONE_STEP


def test_with_its_asymmetry_turned_round_ilql_joins_nothing(
    llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def turned(q: Tensor, v: Tensor, tau: float) -> Tensor:
        return expectile_loss(q, v, 1.0 - tau)

    monkeypatch.setattr(ilql, "expectile_loss", turned)
    learned = Learned("ilql", llama_folder, tmp_path)
    assert learned.reward < 1.25 * ONE_STEP


@pytest.mark.parametrize("name", sorted(OWN))
def test_with_the_reward_turned_round_the_worst_is_sampled(
    name: str, llama_folder: Path, tmp_path: Path
) -> None:
    learned = Learned(name, llama_folder, tmp_path, sign=-1.0)
    assert learned.reward < 0.4 * DATA_MEAN


def test_with_the_advantage_turned_round_the_worst_is_sampled(
    llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steered = policy.Guidance.forward

    def turned(self: policy.Guidance, states: Tensor, logits: Tensor) -> Tensor:
        return 2 * logits - steered(self, states, logits)

    monkeypatch.setattr(policy.Guidance, "forward", turned)
    learned = Learned("sarsa", llama_folder, tmp_path)
    assert learned.reward < 0.4 * DATA_MEAN
