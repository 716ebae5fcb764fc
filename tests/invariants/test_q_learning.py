"""ILQL and SARSA: whole updates against plain loops, the heads, the target copies, the guidance.

What they have in common with other algorithms on fixed data stands in test_offline_policies.py.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests import tinymodels
from tests.close import EXACT, FLOAT32, FORWARD, Level, assert_close
from tests.offline_runs import (
    TOKEN,
    Run,
    Twin,
    answers,
    assert_same_adapter,
    one_batch,
    settings,
    trained,
)
from tests.tinymodels import TokenShare
from workbench.data.folders import GUIDANCE
from workbench.data.records import Answered, Message
from workbench.errors import UserError
from workbench.events import METRICS
from workbench.models import adapters, policy
from workbench.models.decoding import Samples, collect, sample, seeds
from workbench.models.loading import LoadedModel
from workbench.training import q_learning

NAMES = ("ilql", "sarsa")
LOSSES = ("loss/q", "loss/value", "loss/conservative", "loss/imitation", "values/q", "values/v")
Heads = dict[str, Tensor]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _share(text: str) -> float:
    """The reward by itself: the share of a word among the words of an answer and its end."""
    words = text.split()
    return words.count(tinymodels.VOCABULARY[TOKEN]) / (len(words) + 1)


class Prefixes(TokenShare):
    """A reward that can score beginnings: the share so far, above a start that is not 0."""

    def score(self, prompts: Any, answers: Any) -> list[float]:
        return [5.0 + 3.0 * s for s in super().score(prompts, answers)]

    def score_prefixes(
        self, prompts: Sequence[Sequence[Message]], answers: Sequence[Sequence[int]]
    ) -> list[list[float]]:
        return [
            self.score(prompts[:1] * (len(a) + 1), [a[:k] for k in range(len(a) + 1)])
            for a in answers
        ]


class ValueTwin(Twin):
    """Values and their losses token by token, written out; gradients by autograd."""

    def __init__(self, model_folder: Path, start: Path, how: Any) -> None:
        super().__init__(model_folder, start)
        self.how = how
        self.heads: Heads = {
            key: value.requires_grad_("target" not in key)
            for key, value in load_file(start / "heads.safetensors").items()
        }
        self.embedding = self.model.get_output_embeddings().weight.detach()
        learning = [p for p in self.model.parameters() if p.requires_grad]
        self.learning = [*learning, *(h for h in self.heads.values() if h.requires_grad)]
        self.optimiser = torch.optim.AdamW(
            self.learning, lr=how.learning_rate, eps=how.adam_eps, weight_decay=0.0
        )

    def episode(self, item: Answered) -> tuple[list[int], list[Tensor], list[Tensor]]:
        """Actions, the states before them, and their log-probabilities."""
        texts = [*(m.content for m in item.prompt.messages), "w16"]
        before = self.tokenizer.encode(" ".join(texts))
        actions = [*self.tokenizer.encode(item.answer), tinymodels.EOS]
        output = self.model(input_ids=torch.tensor([before + actions]), output_hidden_states=True)
        places = range(len(before) - 1, len(before) + len(actions) - 1)
        states = [output.hidden_states[-1][0, k] for k in places]
        logps = [output.logits[0, k].log_softmax(-1) for k in places]
        return actions, states, [row[a] for row, a in zip(logps, actions, strict=True)]

    def v(self, state: Tensor) -> Tensor:
        h = self.heads
        return h["value_head.linear.weight"][0] @ state + h["value_head.linear.bias"][0]

    def q(self, head: str, state: Tensor) -> Tensor:
        """Of all tokens."""
        h = {k.removeprefix(f"{head}."): x for k, x in self.heads.items() if k.startswith(head)}
        constant = h["state_value.weight"][0] @ state + h["state_value.bias"][0]
        return constant + self.embedding @ (h["up.weight"] @ (h["down.weight"] @ state))

    def weight(self, advantage: float) -> float:
        return min(math.exp(self.how.imitation_beta * advantage), self.how.max_weight)

    def update(self, items: Sequence[Answered]) -> dict[str, float]:
        """One step on everything; its losses before the step."""
        sums = {key: torch.tensor(0.0) for key in LOSSES}
        n = 0
        for item in items:
            score = 5.0 + 3.0 * _share(item.answer)
            for part in self.losses(*self.episode(item), score):
                n += 1
                for key, value in part.items():
                    sums[key] = sums[key] + value
        means = {key: value / n for key, value in sums.items()}
        how = self.how
        loss = (
            means["loss/q"]
            + means["loss/value"]
            + how.conservative_coef * means["loss/conservative"]
            + how.imitation_coef * means["loss/imitation"]
        )
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.learning, how.max_grad_norm)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.move_copies()
        return {key: float(value.detach()) for key, value in means.items()}

    def losses(
        self, actions: list[int], states: list[Tensor], logps: list[Tensor], score: float
    ) -> list[dict[str, Tensor]]:
        raise NotImplementedError

    def move_copies(self) -> None:
        """SARSA has none."""


class ILQLTwin(ValueTwin):
    def losses(
        self, actions: list[int], states: list[Tensor], logps: list[Tensor], score: float
    ) -> list[dict[str, Tensor]]:
        found = []
        for t, (action, state, logp) in enumerate(zip(actions, states, logps, strict=True)):
            is_last = t == len(actions) - 1
            after = 0.0 if is_last else float(self.v(states[t + 1]).detach())
            target = (score if is_last else 0.0) + self.how.gamma * after
            q_hat = min(float(self.q(f"q_target_{i}", state)[action].detach()) for i in (0, 1))
            v = self.v(state)
            advantage = q_hat - float(v.detach())
            expectile = self.how.expectile if advantage > 0 else 1 - self.how.expectile
            qs = [self.q(f"q_{i}", state) for i in (0, 1)]
            found.append(
                {
                    "loss/q": (qs[0][action] - target) ** 2 + (qs[1][action] - target) ** 2,
                    "loss/value": expectile * (q_hat - v) ** 2,
                    "loss/conservative": -qs[0].log_softmax(0)[action]
                    - qs[1].log_softmax(0)[action],
                    "loss/imitation": -self.weight(advantage) * logp,
                    "values/q": torch.tensor(q_hat),
                    "values/v": v.detach(),
                }
            )
        return found

    def move_copies(self) -> None:
        rate = self.how.target_rate
        for key in [k for k in self.heads if "target" in k]:
            head = self.heads[key.replace("target_", "")].detach()
            self.heads[key] = (1 - rate) * self.heads[key] + rate * head


class SARSATwin(ValueTwin):
    def losses(
        self, actions: list[int], states: list[Tensor], logps: list[Tensor], score: float
    ) -> list[dict[str, Tensor]]:
        qs = [self.q("q_0", state) for state in states]
        found = []
        for t, (action, state, logp) in enumerate(zip(actions, states, logps, strict=True)):
            is_last = t == len(actions) - 1
            target = (
                score if is_last else self.how.gamma * float(qs[t + 1][actions[t + 1]].detach())
            )
            taken, v = float(qs[t][action].detach()), self.v(state)
            found.append(
                {
                    "loss/q": (qs[t][action] - target) ** 2,
                    "loss/value": 0.5 * (taken - v) ** 2,
                    "loss/conservative": -qs[t].log_softmax(0)[action],
                    "loss/imitation": -self.weight(taken - float(v.detach())) * logp,
                    "values/q": torch.tensor(taken),
                    "values/v": v.detach(),
                }
            )
        return found


TWINS: dict[str, Callable[..., ValueTwin]] = {"ilql": ILQLTwin, "sarsa": SARSATwin}
OWN = {"ilql": {"expectile": 0.8, "target_rate": 0.3}, "sarsa": {}}


def test_whole_updates_are_those_of_plain_loops(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Losses of every update, then adapter, heads and target copies."""
    how = one_batch(
        name,
        gamma=0.9,
        conservative_coef=0.2,
        imitation_coef=0.7,
        imitation_beta=2.0,
        max_weight=1.5,
        q_rank=3,
        normalise_scores=False,
        **OWN[name],
    )
    rewarded = Prefixes(TOKEN)
    fresh = how.model_copy(update={"learning_rate": 0.0, "epochs": 1})
    start = Run(name, tinymodels.load(folders["llama"]), fresh, tmp_path / "start")
    run = Run(name, tinymodels.load(folders["llama"]), how, tmp_path / "run", reward=rewarded)

    twin = TWINS[name](folders["llama"], start.last_checkpoint, how)
    items = trained(answers(), how)
    for metrics in run.metrics:
        wanted = twin.update(items)
        for key in LOSSES:
            assert_close(metrics[key], wanted[key], FORWARD)
    # The last losses are not those of heads that say 0.
    assert abs(run.metrics[-1]["values/v"]) > 0.01
    assert abs(run.metrics[-1]["values/q"]) > 0.01
    adapter = {
        key.replace(".default", ""): p.detach()
        for key, p in twin.model.named_parameters()
        if ".lora_" in key
    }
    assert_same_adapter(run.adapter(), adapter)
    assert_same_adapter(
        load_file(run.last_checkpoint / "heads.safetensors"),
        {key: value.detach() for key, value in twin.heads.items()},
    )


def test_every_figure_is_explained(name: str, llama: LoadedModel, tmp_path: Path) -> None:
    run = Run(name, llama, settings(name), tmp_path)
    for figures in (*run.metrics, *run.heldout):
        assert figures.keys() <= METRICS.keys()


def test_target_copies_move_by_their_rate_and_have_no_optimiser(
    llama: LoadedModel, tmp_path: Path
) -> None:
    how = settings("ilql", checkpoint_every=1, target_rate=0.3)
    Run("ilql", llama, how, tmp_path)
    before, after = (
        load_file(tmp_path / "checkpoints" / f"step-{k:06d}" / "heads.safetensors") for k in (1, 2)
    )
    copies = [key for key in after if "target" in key]
    assert len(copies) == 2 * 4
    for key in copies:
        head = after[key.replace("target_", "")]
        assert_close(after[key], torch.lerp(before[key], head, 0.3), EXACT)
        if "down" not in key:
            assert not torch.equal(after[key], before[key])
            assert not torch.equal(after[key], head)
    state = torch.load(tmp_path / "checkpoints" / "step-000002" / "optimizer.pt")["state"]
    n_lora = len(adapters.state(llama, "policy"))
    # Two Q heads of four tensors, V of two.
    assert len(state) == n_lora + 2 * 4 + 2


def test_sarsa_has_one_q_and_no_copies(llama: LoadedModel, tmp_path: Path) -> None:
    run = Run("sarsa", llama, settings("sarsa"), tmp_path)
    heads = load_file(run.last_checkpoint / "heads.safetensors")
    assert {key.split(".")[0] for key in heads} == {"value_head", "q_0"}


def test_nothing_of_the_size_of_the_vocabulary_is_made(
    name: str, llama: LoadedModel, tmp_path: Path
) -> None:
    """Neither to learn, nor in a checkpoint, nor beside the adapter."""
    run = Run(name, llama, settings(name, q_rank=3), tmp_path)
    optimiser = torch.load(run.last_checkpoint / "optimizer.pt")["state"].values()
    tensors = [
        *load_file(run.last_checkpoint / "heads.safetensors").values(),
        *load_file(run.folder / GUIDANCE).values(),
        *(x for state in optimiser for x in state.values()),
    ]
    sizes = {size for tensor in tensors for size in tensor.shape}
    assert {3, llama.hidden_size} <= sizes
    assert len(tinymodels.VOCABULARY) not in sizes


def _draw(
    model: LoadedModel, who: policy.Policy, temperature: float = 0.7, n_tokens: int = 8
) -> Samples:
    prompts = [model.encode_prompt(p.messages) for p in tinymodels.prompts()]
    with adapters.active(model, who.adapter):
        return collect(
            sample(
                model,
                prompts,
                seeds(3, n=len(prompts)),
                max_new_tokens=n_tokens,
                temperature=temperature,
                steer=who.guidance,
                check=lambda: None,
            )
        )


def test_before_learning_the_guidance_changes_nothing(
    name: str, model: LoadedModel, tmp_path: Path
) -> None:
    """Q = V = 0, hence the sampled distribution is the reference's, to the bit."""
    run = Run(name, model, settings(name, learning_rate=0.0, guidance=50.0), tmp_path)
    who = policy.load(model, "p", run.folder)
    assert who.guidance is not None
    guided, plain = _draw(model, who), _draw(model, policy.Policy("p", None))
    assert_close(guided.response_ids, plain.response_ids, EXACT)
    assert_close(guided.logps, plain.logps, EXACT)


def test_answers_are_sampled_from_policy_plus_advantage(
    name: str, model: LoadedModel, tmp_path: Path
) -> None:
    """Log-probabilities of a loaded policy's answers, by loops over the saved heads' numbers."""
    how = settings(name, epochs=4, guidance=3.0, **OWN[name])
    run = Run(name, model, how, tmp_path)
    adapters.remove_all(model)
    who = policy.load(model, "p", run.folder)
    drawn = _draw(model, who)
    plain = _draw(model, policy.Policy("p", None))
    assert not torch.equal(drawn.response_ids, plain.response_ids)

    saved = load_file(run.folder / GUIDANCE)
    names = sorted({key.split(".")[1] for key in saved if key.startswith("q.")})
    assert len(names) == {"ilql": 2, "sarsa": 1}[name]
    embedding = model.model.get_output_embeddings().weight.detach()
    with torch.no_grad(), adapters.active(model, "p"):
        states = model.response_states(*drawn[:4])
        logits = model.logits(states)
    for row, col in drawn.is_response.nonzero().tolist():
        h = states[row, col]
        value = saved["value.linear.weight"][0] @ h + saved["value.linear.bias"][0]
        qs = []
        for i in names:
            q = {k.removeprefix(f"q.{i}."): x for k, x in saved.items() if k.startswith(f"q.{i}.")}
            query = q["up.weight"] @ (q["down.weight"] @ h)
            qs.append(q["state_value.weight"][0] @ h + q["state_value.bias"][0] + embedding @ query)
        steered = torch.tensor(
            [
                float(logits[row, col, a]) + 3.0 * (min(float(q[a]) for q in qs) - float(value))
                for a in range(len(embedding))
            ]
        )
        wanted = (steered / 0.7).log_softmax(0)[drawn.response_ids[row, col]]
        assert_close(drawn.logps[row, col], wanted, Level(2e-4, 1e-4))


def test_the_saved_heads_are_the_copies_where_there_are_copies(
    name: str, llama: LoadedModel, tmp_path: Path
) -> None:
    run = Run(name, llama, settings(name), tmp_path)
    kept, saved = (
        load_file(run.last_checkpoint / "heads.safetensors"),
        load_file(run.folder / GUIDANCE),
    )
    source = {"ilql": "q_target_0", "sarsa": "q_0"}[name]
    assert_close(saved["q.0.up.weight"], kept[f"{source}.up.weight"], EXACT)
    assert_close(saved["value.linear.weight"], kept["value_head.linear.weight"], EXACT)
    assert saved["q.0.up.weight"].any()


def test_equal_heads_are_equal_files(name: str, llama: LoadedModel, tmp_path: Path) -> None:
    """safetensors writes metadata in an order of each process's own: one entry has only one."""
    run = Run(name, llama, settings(name, guidance=3.0), tmp_path)
    with safe_open(str(run.folder / GUIDANCE), "pt") as file:
        assert file.metadata() == {"beta": "3.0"}


def test_heads_of_another_model_are_refused(llama: LoadedModel, tmp_path: Path) -> None:
    run = Run("ilql", llama, settings("ilql"), tmp_path)
    weights = load_file(run.folder / GUIDANCE)
    wider = {k: torch.cat([v, v], -1) if "down" in k else v for k, v in weights.items()}
    without = {k: v for k, v in weights.items() if "value" not in k}
    for wrong, beta in ((wider, "1.0"), (without, "1.0"), (weights, "much")):
        save_file(wrong, run.folder / GUIDANCE, metadata={"beta": beta})
        with pytest.raises(UserError, match="were not made for"):
            policy.load(llama, "p", run.folder)


def test_an_adapter_without_heads_has_no_guidance(llama: LoadedModel, tmp_path: Path) -> None:
    run = Run("sft", llama, settings("sft"), tmp_path)
    assert policy.load(llama, "p", run.folder).guidance is None


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("reward_at", ["end", "token", "both"])
def test_rewards_of_tokens_add_up_to_the_score(
    reward_at: str,
    normalise: bool,
    llama: LoadedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[tuple[int, ...], list[float]] = {}
    batched = q_learning.batched

    def note(model: LoadedModel, episodes: Any) -> Any:
        batch = batched(model, episodes)
        for ids, own, rewards in zip(
            batch.response_ids, batch.is_response, batch.rewards, strict=True
        ):
            seen[tuple(ids[own].tolist())] = rewards[own].tolist()
            assert not rewards[~own].any()
        return batch

    monkeypatch.setattr(q_learning, "batched", note)
    how = settings("ilql", reward_at=reward_at, normalise_scores=normalise)
    Run("ilql", llama, how, tmp_path, reward=Prefixes(TOKEN))
    known = [5.0 + 3.0 * _share(item.answer) for item in trained(answers(), how)]
    mean, spread = (statistics.fmean(known), statistics.pstdev(known)) if normalise else (0.0, 1.0)
    assert len(seen) == len({item.answer for item in answers()})
    for ids, rewards in seen.items():
        score = 5.0 + 3.0 * ids.count(TOKEN) / len(ids)
        gain = 3.0 * ids.count(TOKEN) / len(ids)
        wanted = (score - mean) / spread + (gain / spread if reward_at == "both" else 0.0)
        assert_close(sum(rewards), wanted, Level(1e-4, 1e-5))
        if reward_at == "end":
            assert not any(rewards[:-1])
        else:
            first = 3.0 * (ids[0] == TOKEN) / spread
            assert_close(rewards[0], first, FLOAT32)


def test_rewards_of_tokens_need_a_reward_that_scores_beginnings(
    llama: LoadedModel, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="can only score whole answers"):
        Run("ilql", llama, settings("ilql", reward_at="token"), tmp_path)


def test_a_run_without_a_reward_is_refused(name: str, llama: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs a reward"):
        Run(name, llama, settings(name), tmp_path, reward=None)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_no_number_ends_the_run_with_a_sentence(
    bad: float, llama: LoadedModel, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="token share is not a number any more"):
        Run("ilql", llama, settings("ilql"), tmp_path, reward=TokenShare(TOKEN, sign=bad))


def test_normalised_scores_do_not_see_shift_and_scale_of_the_reward(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    runs = [
        Run(name, tinymodels.load(folders["llama"]), settings(name), tmp_path / str(i), reward=r)
        for i, r in enumerate([TokenShare(TOKEN), Prefixes(TOKEN)])
    ]
    for key, weight in runs[0].adapter().items():
        assert_close(runs[1].adapter()[key], weight, Level(1e-3, 1e-3))


def test_conservatism_pushes_down_what_the_answers_do_not_have(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """log Σ exp Q − Q(taken) is log V where all tokens are alike, less where others are below."""
    losses = {}
    for coef in (1e-6, 1.0):
        how = settings(name, epochs=5, conservative_coef=coef, imitation_coef=0.0)
        run = Run(name, tinymodels.load(folders["llama"]), how, tmp_path / str(coef))
        n_heads = {"ilql": 2, "sarsa": 1}[name]
        losses[coef] = run.metrics[-1]["loss/conservative"] / n_heads
        assert_close(
            run.metrics[0]["loss/conservative"] / n_heads,
            math.log(len(tinymodels.VOCABULARY)),
            FORWARD,
        )
    assert losses[1.0] < losses[1e-6] - 0.3


def test_imitation_follows_the_advantage_only_where_it_may(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """With β = 0 every token weighs 1; the bound cuts what exp makes of a large advantage."""
    figures = {}
    for beta, bound in ((0.0, 20.0), (50.0, 1e-3)):
        how = settings(
            name, epochs=4, imitation_beta=beta, max_weight=bound, lr_schedule="constant"
        )
        run = Run(name, tinymodels.load(folders["llama"]), how, tmp_path / str(beta))
        figures[beta] = run.metrics[-1]["loss/imitation"]
    assert 0.5 < figures[0.0] < 4.0
    assert 0.0 < figures[50.0] < 0.01
