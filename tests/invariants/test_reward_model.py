"""What must hold of every reward model: numerics.md items 8, 38 (head), 39, 40, 41, 45."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

from tests import tinymodels
from tests.close import EXACT, FORWARD, Level, assert_close
from tests.offline_runs import Run, checkpoints, preferences, settings
from tests.tinymodels import EOS
from workbench.cancel import CancelToken
from workbench.config.lora import LoraSettings
from workbench.data.records import Preference
from workbench.errors import Cancelled, UserError
from workbench.events import Event, Saved, Step, Warned
from workbench.models import adapters
from workbench.models.loading import LoadedModel
from workbench.rewards.neural import Encoded, RewardModel

MESSAGES = [p.messages for p in tinymodels.prompts(6)]
ANSWERS = [[4, 5, EOS], [6], [EOS], [7, 8, 9, 10, 11], [2, 4, 2, EOS], [12, 13]]


def _fresh(model: LoadedModel) -> RewardModel:
    """A reward model whose adapter does something: B would start at 0."""
    reward = RewardModel.fresh(model, LoraSettings(r=4, alpha=8), seed=3)
    generator = torch.Generator().manual_seed(5)
    for parameter in reward.trainable:
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return reward


def _settings(**changes: Any) -> Any:
    return settings("reward", **{"learning_rate": 2e-4, **changes})


def _train(model: LoadedModel, folder: Path, changes: Any = None, **kwargs: Any) -> Run:
    return Run("reward", model, _settings(**(changes or {})), folder, **kwargs)


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
    causal_model: LoadedModel, tmp_path: Path
) -> None:
    """The folder is an ordinary SEQ_CLS adapter: no code of ours is needed to use it."""
    model = causal_model
    reward = _fresh(model)
    reward.save(tmp_path)
    base = AutoModelForSequenceClassification.from_pretrained(
        model.info.path, num_labels=1, dtype=torch.float32, pad_token_id=model.pad_id
    )
    theirs = PeftModel.from_pretrained(base, str(tmp_path)).eval()
    for messages, answer in zip(MESSAGES, ANSWERS, strict=True):
        encoded = reward.encode(messages, answer)
        ids = torch.tensor([encoded.prompt + encoded.answer])
        score = theirs(input_ids=ids).logits[0, 0]
        assert_close(score, reward.score([messages], [answer])[0], FORWARD)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["task_type"] == "SEQ_CLS"
    assert str(model.info.path) not in json.dumps(config)
    card = (tmp_path / "README.md").read_text()
    assert f"base.config.pad_token_id = {model.pad_id}\n" in card
    assert str(model.info.path) not in card


@torch.no_grad()
def test_the_score_is_read_at_the_last_real_token(causal_model: LoadedModel) -> None:
    """Also with end tokens inside the prompt and padding ids inside the answer."""
    model = causal_model
    reward = _fresh(model)
    sequences = [Encoded((5, EOS), (4, model.pad_id, 9, EOS)), Encoded((4,), (EOS,))]
    together = reward.forward(sequences)
    with adapters.active(model, "reward"):
        for row, (prompt, answer) in enumerate(sequences):
            ids = torch.tensor([prompt + answer])
            states = model.model.base_model(input_ids=ids).last_hidden_state
            assert_close(together[row], reward.head(states)[0, -1], FORWARD)


@torch.no_grad()
def test_an_encoder_decoder_scores_at_the_decoders_last_token(folders: dict[str, Path]) -> None:
    """The decoder begins with its start token: the answer's last token is its last input."""
    model = tinymodels.load(folders["t5"])
    reward = _fresh(model)
    sequences = [Encoded((5, EOS), (4, model.pad_id, 9, EOS)), Encoded((4, EOS), (EOS,))]
    together = reward.forward(sequences)
    start = model.model.config.decoder_start_token_id
    with adapters.active(model, "reward"):
        for row, (prompt, answer) in enumerate(sequences):
            output = model.model(
                input_ids=torch.tensor([prompt]),
                decoder_input_ids=torch.tensor([(start, *answer)]),
                output_hidden_states=True,
            )
            # As its tied output head reads them: scaled.
            states = output.decoder_hidden_states[-1] * model.model.config.d_model**-0.5
            score = reward.head(states)[0, -1]
            assert_close(together[row], score, FORWARD)


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
        assert reward.encode(MESSAGES[0], answer).answer == (4, 5, EOS)
    assert reward.encode(MESSAGES[0], []).answer == (EOS,)
    assert reward.encode(MESSAGES[0], [4, 5]) == reward.encode_text(MESSAGES[0], "w1 w2")


def test_training_moves_the_reward_adapter_only(llama: LoadedModel, tmp_path: Path) -> None:
    adapters.add(llama, "policy", LoraSettings(r=2), seed=0)
    adapters.freeze(llama, "policy")
    base, policy = tinymodels.base_weights(llama), adapters.state(llama, "policy")
    run = _train(llama, tmp_path)
    assert all(torch.equal(v, base[k]) for k, v in tinymodels.base_weights(llama).items())
    assert all(torch.equal(v, policy[k]) for k, v in adapters.state(llama, "policy").items())
    assert any(v.any() for k, v in run.adapter().items() if "lora_B" in k)


def test_the_trained_model_is_the_saved_model(llama: LoadedModel, tmp_path: Path) -> None:
    saved = _train(llama, tmp_path).events[-1]
    assert isinstance(saved, Saved)
    assert saved.kind == "reward_model"
    reloaded = RewardModel.load(tinymodels.load(llama.info.path), Path(saved.path))
    in_memory = RewardModel.load(llama, Path(saved.path))
    assert reloaded.score(MESSAGES, ANSWERS) == in_memory.score(MESSAGES, ANSWERS)


def test_micro_batches_change_memory_only(folders: dict[str, Path], tmp_path: Path) -> None:
    runs = {}
    for tokens in (1024, 48, 16):
        changes = {"micro_batch_tokens": tokens, "learning_rate": 1e-2, "adam_eps": 1.0}
        model = tinymodels.load(folders["llama"])
        runs[tokens] = _train(model, tmp_path / str(tokens), changes)
    whole = runs[1024]
    size = max(float(v.abs().max()) for k, v in whole.adapter().items() if "lora_B" in k)
    assert size > 1e-5
    for tokens in (48, 16):
        for key, weight in whole.adapter().items():
            assert_close(runs[tokens].adapter()[key], weight, Level(1e-3 * size, 0.0))
        for mine, wanted in zip(runs[tokens].metrics, whole.metrics, strict=True):
            for name, value in wanted.items():
                assert_close(mine[name], value, Level(1e-5, 1e-4))


def test_gradients_of_one_step_do_not_reach_the_next(llama: LoadedModel, tmp_path: Path) -> None:
    """The same batch four times at a step size of almost nothing has one gradient norm."""
    run = _train(llama, tmp_path, {"epochs": 4, "batch_size": 64, "learning_rate": 1e-7})
    norms = [m["policy/grad_norm"] for m in run.metrics]
    assert len(norms) == 4
    assert norms[0] > 0
    assert_close(norms, [norms[0]] * 4, Level(0.0, 1e-2))


def test_the_same_seed_gives_the_same_bits(folders: dict[str, Path], tmp_path: Path) -> None:
    runs = [
        _train(tinymodels.load(folders["gpt2"]), tmp_path / str(i), {"seed": seed})
        for i, seed in enumerate([1, 1, 2])
    ]
    assert runs[0].everything() == runs[1].everything()
    assert runs[0].everything() != runs[2].everything()


@pytest.mark.parametrize("ending", ["request_stop", "cancel"])
def test_stopped_or_killed_and_resumed_equals_uninterrupted(
    ending: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Adapter, head, optimiser and figures, bit for bit, on from the last checkpoint."""
    changes = {"epochs": 3, "checkpoint_every": 2}
    whole = _train(tinymodels.load(folders["llama"]), tmp_path / "whole", changes)
    assert len(whole.steps) == 6
    events: list[Event] = []
    cancel = CancelToken()

    def end(event: Event) -> None:
        events.append(event)
        if isinstance(event, Step) and event.step == 3:
            getattr(cancel, ending)()

    part = tmp_path / "part"
    with contextlib.suppress(Cancelled):
        model = tinymodels.load(folders["llama"])
        _train(model, part, changes, cancel=cancel, on_event=end)
    # A cancel throws the third update away, as kill -9 does; a stop saves it.
    last = checkpoints(events)[-1]
    n_done = {"request_stop": 3, "cancel": 2}[ending]
    assert last.name == f"step-{n_done:06}"
    again = _train(tinymodels.load(folders["llama"]), part, changes, resume_from=last)
    assert again.everything() == whole.everything()
    assert again.metrics == whole.metrics[n_done:]
    assert again.heldout[-1] == whole.heldout[-1]
    head = "base_model.model.score.weight"
    assert again.adapter()[head].any()


def test_a_model_that_cannot_tell_starts_at_log_2(llama: LoadedModel, tmp_path: Path) -> None:
    """With equal scores for all (a zero head) the loss is log 2 and the accuracy is chance."""
    reward = RewardModel.fresh(llama, LoraSettings(r=4), seed=0)
    reward.head.linear.weight.data.zero_()
    scores = torch.tensor(reward.score(MESSAGES, ANSWERS))
    assert_close(scores, torch.zeros(len(MESSAGES)), EXACT)
    first = _train(llama, tmp_path, {"centering": 0.0}).heldout[0]
    assert first["reward/heldout_low"] <= first["reward/heldout_accuracy"]
    assert first["reward/heldout_accuracy"] <= first["reward/heldout_high"]


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
                _train(llama, folder, cancel=token, on_event=end)
            assert not (folder / "reward_model").exists()
        else:
            run = _train(llama, folder, {"epochs": 5}, cancel=token, on_event=end)
            assert len(run.steps) == 1
            assert (run.folder / "MANIFEST.json").exists()


def test_too_few_pairs_are_told_before_anything_is_trained(
    llama: LoadedModel, tmp_path: Path
) -> None:
    identical = [
        Preference(i, p.prompt, p.chosen, p.chosen, p.annotator, p.annotator_kind)
        for i, p in enumerate(preferences())
    ]
    for bad in (preferences(3), identical, [preferences(7)[0]] * 20):
        with pytest.raises(UserError, match="usable pairs"):
            _train(llama, tmp_path / "r", preferences=bad)
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
        seen[is_training] |= {encoded.prompt for encoded in sequences}
        return forward(self, sequences)

    monkeypatch.setattr(RewardModel, "forward", note)
    for seed in range(4):
        seen[True].clear()
        seen[False].clear()
        _train(llama, tmp_path / str(seed), {"seed": seed})
        assert seen[True]
        assert seen[False]
        assert seen[True] | seen[False] == set(prefixes)
        assert not seen[True] & seen[False]


def test_pairs_that_are_too_long_are_left_out_and_counted(
    llama: LoadedModel, tmp_path: Path
) -> None:
    long = preferences(2)[0]
    wordy = Preference(99, long.prompt, "w1 " * 40, long.rejected, "rule", "simulated")
    run = _train(llama, tmp_path, {"max_length": 20}, preferences=[*preferences(), wordy])
    (warned,) = [e for e in run.events if isinstance(e, Warned)]
    assert warned.message == "1 pair is longer than 20 tokens and left out."


def test_a_loss_that_is_no_number_ends_with_a_sentence(llama: LoadedModel, tmp_path: Path) -> None:
    llama.model.get_input_embeddings().weight.data[5] = float("nan")
    with pytest.raises(UserError, match="not a number any more"):
        _train(llama, tmp_path)
    assert not (tmp_path / "reward_model").exists()
