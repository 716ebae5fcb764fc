"""What must hold of every policy that learns from fixed data: SFT, DPO, KTO, ILQL and SARSA.

numerics.md items 14, 19, 33, 34, 36, 41, 44, 45, 47 and 48, and starting from another run.
"""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tinymodels
from tests.close import FORWARD, Level, assert_close
from tests.offline_runs import Run, answers, checkpoints, feedback, preferences, settings
from workbench.cancel import CancelToken
from workbench.config import algorithms
from workbench.config.lora import LoraSettings
from workbench.data.records import Answered, Feedback, Preference
from workbench.errors import Cancelled, UserError
from workbench.events import Event, Progress, Step, Warned
from workbench.models import adapters
from workbench.models.loading import LoadedModel
from workbench.rewards.neural import RewardModel
from workbench.training import answers as training_answers
from workbench.training import batches

NAMES = ("sft", "dpo", "kto", "ilql", "sarsa")
REWARDED = ("ilql", "sarsa")
LOSS_AT_START = {"dpo": math.log(2), "kto": 0.5}
IDS = torch.tensor([[3, 4, 5, 6, 7]])


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_learning_rate_0_changes_nothing(name: str, llama: LoadedModel, tmp_path: Path) -> None:
    run = Run(name, llama, settings(name, learning_rate=0.0, epochs=2), tmp_path)
    assert len(run.steps) == 4
    assert all(not v.any() for k, v in run.adapter().items() if "lora_B" in k)
    assert run.heldout[0] == run.heldout[-1]
    if name in LOSS_AT_START:
        for metrics in run.metrics:
            assert_close(metrics[f"loss/{name}"], LOSS_AT_START[name], FORWARD)
            assert_close(metrics["rewards/chosen"], 0.0, FORWARD)
            assert_close(metrics["rewards/rejected"], 0.0, FORWARD)


@pytest.mark.parametrize("name", sorted(LOSS_AT_START))
def test_before_the_first_step_the_policy_is_the_reference_to_the_bit(
    name: str, model: LoadedModel, tmp_path: Path
) -> None:
    """Log-probabilities of both are equal, hence so is every implicit reward: exactly 0."""
    first, *_, last = Run(name, model, settings(name), tmp_path).heldout
    assert first["heldout/margins"] == 0.0
    assert_close(first["heldout/loss"], LOSS_AT_START[name], Level(1e-7, 0.0))
    assert abs(last["heldout/margins"]) > 1e-3


def _steepest(name: str, **changes: Any) -> Any:
    """Adam whose ε dwarfs the second moment: steps are proportional to gradients."""
    return settings(
        name, adam_eps=1.0, max_grad_norm=1000.0, lr_schedule="constant", batch_size=12, **changes
    )


def test_micro_batches_change_memory_only(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Answers of ragged lengths, weighted by what the batch holds, whatever part they sit in."""
    runs = {
        size: Run(
            name,
            tinymodels.load(folders["gpt2"]),
            _steepest(name, micro_batch_tokens=size),
            tmp_path / str(size),
        )
        for size in (1024, 48, 16)
    }
    whole = runs[1024].adapter()
    assert max(float(v.abs().max()) for k, v in whole.items() if "lora_B" in k) > 1e-5
    for size in (48, 16):
        for key, weight in runs[size].adapter().items():
            step = float(whole[key].abs().max())
            assert_close(weight, whole[key], Level(2e-4 * step, 0.0))
        for metric, value in runs[1024].metrics[0].items():
            assert_close(runs[size].metrics[0][metric], value, Level(1e-5, 1e-4))


def test_gradients_are_clipped_before_the_step(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    sizes = {}
    for norm in (1000.0, 1e-3):
        changed = _steepest(name).model_copy(update={"max_grad_norm": norm})
        run = Run(name, tinymodels.load(folders["llama"]), changed, tmp_path / str(norm))
        assert run.metrics[0]["policy/grad_norm"] > 1e-2
        sizes[norm] = max(float(v.abs().max()) for k, v in run.adapter().items() if "lora_B" in k)
    assert sizes[1e-3] < 0.2 * sizes[1000.0]


def test_the_same_seed_gives_the_same_bits(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    runs = [
        Run(name, tinymodels.load(folders["llama"]), settings(name, seed=seed), tmp_path / str(i))
        for i, seed in enumerate([3, 3, 4])
    ]
    assert runs[0].everything() == runs[1].everything()
    assert runs[0].metrics == runs[1].metrics
    assert runs[0].everything() != runs[2].everything()


@pytest.mark.parametrize("ending", ["request_stop", "cancel"])
def test_stopped_or_killed_and_resumed_equals_uninterrupted(
    name: str, ending: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Weights, optimiser and figures, bit for bit; the data come in the order they had."""
    how = settings(name, epochs=3, checkpoint_every=2)
    whole = Run(name, tinymodels.load(folders["llama"]), how, tmp_path / "whole")
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
        Run(name, model, how, part, cancel=cancel, on_event=end)
    # A cancel throws the third update away, as kill -9 does; a stop saves it.
    last = checkpoints(events)[-1]
    n_done = {"request_stop": 3, "cancel": 2}[ending]
    assert last.name == f"step-{n_done:06}"
    again = Run(name, tinymodels.load(folders["llama"]), how, part, resume_from=last)
    assert again.everything() == whole.everything()
    assert again.metrics == whole.metrics[n_done:]
    assert again.heldout[-1] == whole.heldout[-1]


def test_a_stop_while_the_answers_are_read_or_scored_ends_at_once(
    llama: LoadedModel, tmp_path: Path
) -> None:
    """Nothing was learned then; the run begins again."""
    for k in range(2):
        cancel = CancelToken()
        seen: list[Event] = []

        def stop_at(
            event: Event, k: int = k, cancel: CancelToken = cancel, seen: list[Event] = seen
        ) -> None:
            seen.append(event)
            if len(seen) > k:
                cancel.request_stop()

        with pytest.raises(Cancelled):
            Run("dpo", llama, settings("dpo"), tmp_path, cancel=cancel, on_event=stop_at)
        assert all(isinstance(event, Progress) for event in seen)
        assert not list(tmp_path.iterdir())


def test_base_and_other_adapters_keep_every_bit(
    name: str, model: LoadedModel, tmp_path: Path
) -> None:
    reward = RewardModel.fresh(model, LoraSettings(r=2), seed=1)
    for parameter in reward.trainable:  # B starts at 0: make the adapter do something
        parameter.data += 0.1
    adapters.freeze(model, "reward")
    base, other = tinymodels.base_weights(model), adapters.state(model, "reward")
    Run(name, model, settings(name), tmp_path)
    after = tinymodels.base_weights(model)
    assert all(torch.equal(after[k], v) for k, v in base.items())
    assert all(torch.equal(adapters.state(model, "reward")[k], v) for k, v in other.items())


@pytest.mark.parametrize("name", sorted({*NAMES} - {*REWARDED}))
def test_no_prompt_is_both_trained_on_and_held_out(
    name: str, llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = training_answers.forward
    seen: dict[bool, set[tuple[int, ...]]] = {True: set(), False: set()}

    def note(model: LoadedModel, encoded: Any) -> Any:
        seen[torch.is_grad_enabled()] |= {e.prompt for e in encoded}
        return forward(model, encoded)

    for module in ("answers", name):
        monkeypatch.setattr(f"workbench.training.{module}.forward", note)
    Run(name, llama, settings(name), tmp_path)
    everything = {tuple(llama.encode_prompt(p.messages)) for p in tinymodels.prompts(6)}
    assert seen[False] | seen[True] == everything
    assert len(everything - seen[True]) == 2


def test_texts_that_are_too_long_are_left_out_and_told(
    name: str, llama: LoadedModel, tmp_path: Path
) -> None:
    prompt, long = preferences(1)[0].prompt, "w1 " * 40
    data = {
        "preferences": [*preferences(), Preference(99, prompt, long, "w2", "rule", "simulated")],
        "feedback": [*feedback(), Feedback(prompt, long, True)],
        "answers": [*answers(), Answered(prompt, long)],
    }
    run = Run(name, llama, settings(name, max_length=20), tmp_path, **data)
    what = "pair" if name == "dpo" else "answer"
    told = [e.message for e in run.events if isinstance(e, Warned)]
    assert told == [f"1 {what} is longer than 20 tokens and left out."]


def test_too_little_data_is_told_in_a_sentence(
    name: str, llama: LoadedModel, tmp_path: Path
) -> None:
    for n in (0, 1):
        data = {"preferences": preferences(n), "feedback": feedback(n), "answers": answers(n)}
        with pytest.raises(UserError, match=f"There are {n if name != 'kto' else 0} "):
            Run(name, llama, settings(name), tmp_path, **data)


def test_when_memory_runs_out_the_step_is_done_again_in_halves(
    name: str, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Run(name, tinymodels.load(folders["llama"]), _steepest(name), tmp_path / "plain")
    once = batches._accumulate_once
    fails = [True]

    def accumulate_once(*args: Any) -> Any:
        found = once(*args)
        if fails:
            fails.pop()
            raise torch.OutOfMemoryError
        return found

    monkeypatch.setattr(batches, "_accumulate_once", accumulate_once)
    run = Run(name, tinymodels.load(folders["llama"]), _steepest(name), tmp_path / "halved")
    (warned,) = [e for e in run.events if isinstance(e, Warned)]
    assert "Memory ran out" in warned.message
    for key, weight in wanted.adapter().items():
        step = float(weight.abs().max())
        assert_close(run.adapter()[key], weight, Level(2e-4 * step, 0.0))


def test_a_loss_that_is_no_number_ends_with_a_sentence(
    name: str, llama: LoadedModel, tmp_path: Path
) -> None:
    llama.model.get_input_embeddings().weight.data[5] = float("nan")
    with pytest.raises(UserError, match="not a number any more"):
        Run(name, llama, settings(name), tmp_path)
    assert not (tmp_path / "adapter").exists()


def test_the_algorithm_says_when_to_use_it_and_what_it_needs(name: str) -> None:
    how = algorithms.find(name)
    assert len(how.when) > 60
    assert ("reward" in how.needs) == (name in REWARDED)
