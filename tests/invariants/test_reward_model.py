"""What must hold of every reward model: numerics.md items 8, 38 (head), 39, 40, 41, 45."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from tests import tinymodels
from tests.close import EXACT, FORWARD, Level, assert_close
from tests.tinymodels import EOS
from workbench.cancel import CancelToken
from workbench.config.lora import LoraSettings
from workbench.config.reward_model import RewardModelSettings
from workbench.data.records import Preference
from workbench.errors import Cancelled, UserError
from workbench.events import Evaluated, Event, Saved, Step, Warned
from workbench.models import adapters
from workbench.models.loading import LoadedModel
from workbench.rewards.neural import RewardModel
from workbench.training import reward_model

MESSAGES = [p.messages for p in tinymodels.prompts(6)]
ANSWERS = [[4, 5, EOS], [6], [EOS], [7, 8, 9, 10, 11], [2, 4, 2, EOS], [12, 13]]


def _fresh(model: LoadedModel) -> RewardModel:
    """A reward model whose adapter does something: B would start at 0."""
    reward = RewardModel.fresh(model, LoraSettings(r=4, alpha=8), seed=3)
    generator = torch.Generator().manual_seed(5)
    for parameter in reward.trainable:
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return reward


def _preferences(n: int = 24) -> list[Preference]:
    """Longer answers are liked, over six prompts."""
    prompts = tinymodels.prompts(6)
    return [
        Preference(
            comparison_id=i,
            prompt=prompts[i % 6],
            chosen=" ".join(f"w{(i + k) % 16}" for k in range(4 + i % 3)),
            rejected=f"w{i % 16}",
            annotator="rule",
            annotator_kind="simulated",
        )
        for i in range(n)
    ]


def _settings(**changes: Any) -> RewardModelSettings:
    return RewardModelSettings.model_validate(
        {"epochs": 1, "batch_size": 8, "lora": {"r": 4, "alpha": 8}, **changes}
    )


def _train(
    model: LoadedModel,
    settings: RewardModelSettings,
    folder: Path,
    *,
    preferences: list[Preference] | None = None,
    cancel: CancelToken | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
) -> list[Event]:
    events = []
    cancel = cancel or CancelToken()
    for event in reward_model.train(model, preferences or _preferences(), settings, cancel, folder):
        events.append(event)
        on_event(event)
    return events


def test_scores_are_bit_equal_after_saving_and_loading(model: LoadedModel, tmp_path: Path) -> None:
    reward = _fresh(model)
    scores = reward.score(MESSAGES, ANSWERS)
    assert len(set(scores)) == len(scores)
    reward.save(tmp_path)
    again = RewardModel.load(tinymodels.load(model.info.path), tmp_path)
    assert again.score(MESSAGES, ANSWERS) == scores
    same_memory = RewardModel.load(model, tmp_path)
    assert same_memory.score(MESSAGES, ANSWERS) == scores


@torch.no_grad()
def test_plain_transformers_and_peft_give_the_same_scores(
    model: LoadedModel, tmp_path: Path
) -> None:
    """The folder is an ordinary SEQ_CLS adapter: no code of ours is needed to use it."""
    reward = _fresh(model)
    reward.save(tmp_path)
    base = AutoModelForSequenceClassification.from_pretrained(
        model.info.path, num_labels=1, dtype=torch.float32, pad_token_id=model.pad_id
    )
    theirs = PeftModel.from_pretrained(base, str(tmp_path)).eval()
    for messages, answer in zip(MESSAGES, ANSWERS, strict=True):
        ids = torch.tensor([reward.encode(messages, answer)])
        score = theirs(input_ids=ids).logits[0, 0]
        assert_close(score, reward.score([messages], [answer])[0], FORWARD)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["task_type"] == "SEQ_CLS"
    assert str(model.info.path) not in json.dumps(config)
    card = (tmp_path / "README.md").read_text()
    assert f"base.config.pad_token_id = {model.pad_id}\n" in card
    assert str(model.info.path) not in card


@torch.no_grad()
def test_the_score_is_read_at_the_last_real_token(model: LoadedModel) -> None:
    """Also with end tokens inside the prompt and padding ids inside the answer."""
    reward = _fresh(model)
    sequences = [[5, EOS, 4, model.pad_id, 9, EOS], [4, EOS]]
    together = reward.forward(sequences)
    with adapters.active(model, "reward"):
        for row, ids in enumerate(sequences):
            states = model.model.base_model(input_ids=torch.tensor([ids])).last_hidden_state
            assert_close(together[row], reward.head(states)[0, -1], FORWARD)


def test_what_else_is_scored_changes_no_score(model: LoadedModel) -> None:
    reward = _fresh(model)
    together = reward.score(MESSAGES, ANSWERS)
    for row, (messages, answer) in enumerate(zip(MESSAGES, ANSWERS, strict=True)):
        assert_close(reward.score([messages], [answer])[0], together[row], FORWARD)
    turned = reward.score(MESSAGES[::-1], ANSWERS[::-1])
    assert_close(turned[::-1], together, FORWARD)


def test_an_answer_ends_with_exactly_one_stop_token(model: LoadedModel) -> None:
    reward = _fresh(model)
    for answer in ([4, 5], [4, 5, EOS]):
        assert reward.encode(MESSAGES[0], answer)[-3:] == [4, 5, EOS]
    assert reward.encode(MESSAGES[0], [])[-1] == EOS
    assert reward.encode(MESSAGES[0], [4, 5]) == reward.encode_text(MESSAGES[0], "w1 w2")


def test_training_moves_the_reward_adapter_only(llama: LoadedModel, tmp_path: Path) -> None:
    adapters.add(llama, "policy", LoraSettings(r=2), seed=0)
    adapters.freeze(llama, "policy")
    base, policy = tinymodels.base_weights(llama), adapters.state(llama, "policy")
    _train(llama, _settings(), tmp_path / "reward")
    assert all(torch.equal(v, base[k]) for k, v in tinymodels.base_weights(llama).items())
    assert all(torch.equal(v, policy[k]) for k, v in adapters.state(llama, "policy").items())
    moved = load_file(tmp_path / "reward" / "adapter_model.safetensors")
    assert any(v.any() for k, v in moved.items() if "lora_B" in k)


def test_the_trained_model_is_the_saved_model(llama: LoadedModel, tmp_path: Path) -> None:
    events = _train(llama, _settings(), tmp_path / "reward")
    saved = events[-1]
    assert isinstance(saved, Saved)
    assert saved.kind == "reward_model"
    reloaded = RewardModel.load(tinymodels.load(llama.info.path), Path(saved.path))
    in_memory = RewardModel.load(llama, Path(saved.path))
    assert reloaded.score(MESSAGES, ANSWERS) == in_memory.score(MESSAGES, ANSWERS)


def test_micro_batches_change_memory_only(folders: dict[str, Path], tmp_path: Path) -> None:
    weights, losses = {}, {}
    for size in (8, 3, 1):
        events = _train(
            tinymodels.load(folders["llama"]),
            _settings(micro_batch_size=size, learning_rate=1e-3),
            tmp_path / str(size),
        )
        weights[size] = load_file(tmp_path / str(size) / "adapter_model.safetensors")
        losses[size] = [e.metrics["reward/loss"] for e in events if isinstance(e, Step)]
    for size in (3, 1):
        assert_close(losses[size], losses[8], Level(1e-4, 1e-4))
        for key, weight in weights[8].items():
            # Adam divides by its second moment: rounding of near-zero gradients shows as steps.
            assert_close(weights[size][key], weight, Level(3e-4, 1e-3))


def test_gradients_of_one_step_do_not_reach_the_next(llama: LoadedModel, tmp_path: Path) -> None:
    """The same batch four times at a step size of almost nothing has one gradient norm."""
    settings = _settings(epochs=4, batch_size=64, learning_rate=1e-7)
    events = _train(llama, settings, tmp_path / "r")
    norms = [e.metrics["policy/grad_norm"] for e in events if isinstance(e, Step)]
    assert len(norms) == 4
    assert norms[0] > 0
    assert_close(norms, [norms[0]] * 4, Level(0.0, 1e-2))


def test_the_same_seed_gives_the_same_bits(folders: dict[str, Path], tmp_path: Path) -> None:
    found = []
    for i, seed in enumerate([1, 1, 2]):
        folder = tmp_path / str(i)
        _train(tinymodels.load(folders["gpt2"]), _settings(seed=seed), folder)
        found.append(load_file(folder / "adapter_model.safetensors"))
    assert all(torch.equal(found[0][k], found[1][k]) for k in found[0])
    assert any(not torch.equal(found[0][k], found[2][k]) for k in found[0])


def test_a_model_that_cannot_tell_starts_at_log_2(llama: LoadedModel, tmp_path: Path) -> None:
    """With equal scores for all (a zero head) the loss is log 2 and the accuracy is chance."""
    reward = RewardModel.fresh(llama, LoraSettings(r=4), seed=0)
    reward.head.linear.weight.data.zero_()
    scores = torch.tensor(reward.score(MESSAGES, ANSWERS))
    assert_close(scores, torch.zeros(len(MESSAGES)), EXACT)
    first = _train(llama, _settings(centering=0.0), tmp_path / "r")[0]
    assert isinstance(first, Evaluated)
    assert first.metrics["reward/heldout_low"] <= first.metrics["reward/heldout_accuracy"]
    assert first.metrics["reward/heldout_accuracy"] <= first.metrics["reward/heldout_high"]


def test_the_reward_head_has_no_bias_and_the_stated_spread(llama: LoadedModel) -> None:
    heads = [RewardModel.fresh(llama, LoraSettings(r=1), seed=s).head.linear for s in range(40)]
    assert all(head.bias is None for head in heads)
    spread = float(torch.cat([head.weight.detach() for head in heads]).std())
    assert abs(spread * (llama.hidden_size + 1) ** 0.5 - 1) < 0.1


def test_a_stop_saves_and_a_cancel_does_not(llama: LoadedModel, tmp_path: Path) -> None:
    for name in ("request_stop", "cancel"):
        token = CancelToken()

        def end(event: Event, token: CancelToken = token, name: str = name) -> None:
            if isinstance(event, Step):
                getattr(token, name)()

        folder = tmp_path / name
        if name == "cancel":
            with pytest.raises(Cancelled):
                _train(llama, _settings(), folder, cancel=token, on_event=end)
            assert not folder.exists()
        else:
            events = _train(llama, _settings(epochs=5), folder, cancel=token, on_event=end)
            assert sum(isinstance(e, Step) for e in events) == 1
            assert (folder / "MANIFEST.json").exists()


def test_too_few_pairs_are_told_before_anything_is_trained(
    llama: LoadedModel, tmp_path: Path
) -> None:
    identical = [
        Preference(i, p.prompt, p.chosen, p.chosen, p.annotator, p.annotator_kind)
        for i, p in enumerate(_preferences())
    ]
    for bad in (_preferences(3), identical, [_preferences(7)[0]] * 20):
        with pytest.raises(UserError, match="usable pairs"):
            _train(llama, _settings(), tmp_path / "r", preferences=bad)
    assert not (tmp_path / "r").exists()


def test_no_prompt_is_both_trained_on_and_held_out(
    llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pairs about one prompt on both sides would flatter the held-out accuracy."""
    forward = RewardModel.forward
    seen: dict[bool, set[tuple[int, ...]]] = {True: set(), False: set()}
    prefixes = [tuple(llama.encode_prompt(m)) for m in MESSAGES]

    def note(self: RewardModel, sequences: Any) -> torch.Tensor:
        is_training = torch.is_grad_enabled()
        for ids in map(tuple, sequences):
            seen[is_training] |= {p for p in prefixes if ids[: len(p)] == p}
        return forward(self, sequences)

    monkeypatch.setattr(RewardModel, "forward", note)
    for seed in range(4):
        seen[True].clear()
        seen[False].clear()
        _train(llama, _settings(seed=seed), tmp_path / str(seed))
        assert seen[True]
        assert seen[False]
        assert seen[True] | seen[False] == set(prefixes)
        assert not seen[True] & seen[False]


def test_pairs_that_are_too_long_are_left_out_and_counted(
    llama: LoadedModel, tmp_path: Path
) -> None:
    long = _preferences(2)[0]
    wordy = Preference(99, long.prompt, "w1 " * 40, long.rejected, "rule", "simulated")
    events = _train(
        llama, _settings(max_length=20), tmp_path / "r", preferences=[*_preferences(), wordy]
    )
    assert any(isinstance(e, Warned) and e.message.startswith("1 pair") for e in events)


def test_a_loss_that_is_no_number_ends_with_a_sentence(llama: LoadedModel, tmp_path: Path) -> None:
    llama.model.get_input_embeddings().weight.data[5] = float("nan")
    with pytest.raises(UserError, match="not a number any more"):
        _train(llama, _settings(), tmp_path / "r")
    assert not (tmp_path / "r").exists()
