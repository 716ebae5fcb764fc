"""Every loss of the reward model, ensembles, and stopping in time: one tiny run each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests import tinymodels
from tests.close import FLOAT32, FORWARD, assert_close
from tests.offline_runs import Run, preferences, settings, trained
from tests.tinymodels import EOS
from workbench.cancel import CancelToken
from workbench.config.lora import LoraSettings
from workbench.data.records import RankedAnswers, Rated, Tie
from workbench.errors import UserError
from workbench.events import Evaluated, Event, Step, Warned
from workbench.models.loading import LoadedModel
from workbench.rewards.neural import RewardModel

MESSAGES = [p.messages for p in tinymodels.prompts(6)]
ANSWERS = [[4, 5, EOS], [6], [EOS], [7, 8, 9, 10, 11], [2, 4, 2, EOS], [12, 13]]


def _said() -> dict[str, Any]:
    """The longer an answer, the better: ties, rankings of four and ratings say the same."""
    prompts = tinymodels.prompts(6)
    return {
        "ties": [Tie(p, f"w{i} w1", f"w{i} w2") for i, p in enumerate(prompts)],
        "rankings": [
            RankedAnswers(p, (("w1 w2 w3 w4 w5 w6",), (f"w{i} w2 w3", "w3 w2 w1"), ("w9",)))
            for i, p in enumerate(prompts)
            for _ in range(2)
        ],
        "ratings": [
            Rated(p.prompt, text, stars)
            for p in preferences(12)
            for text, stars in ((p.chosen, 5.0), (p.rejected, 2.0))
        ],
    }


def _run(folder: Path, to: Path, cancel: CancelToken | None = None, **changes: Any) -> Run:
    given = {"epochs": 3, "learning_rate": 5e-3, **changes}
    resume = {"resume_from": given.pop("resume_from")} if "resume_from" in given else {}
    on_event = given.pop("on_event", lambda _: None)
    chosen = settings("reward", **given)
    model = tinymodels.load(folder)
    return Run("reward", model, chosen, to, cancel=cancel, on_event=on_event, **_said(), **resume)


@pytest.mark.parametrize("loss", ["rao-kupper", "plackett-luce", "regression"])
def test_each_loss_orders_pairs_of_prompts_that_it_never_saw(
    loss: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    run = _run(folders["llama"], tmp_path, loss=loss, batch_size=4, epochs=4, learning_rate=3e-3)
    first, last = run.heldout[0], run.heldout[-1]
    assert last["reward/heldout_loss"] < 0.9 * first["reward/heldout_loss"]
    assert last["reward/heldout_accuracy"] > 0.7
    tie = [m["reward/tie_parameter"] for m in run.metrics if "reward/tie_parameter" in m]
    assert bool(tie) == (loss == "rao-kupper")
    assert len(set(tie)) == len(tie)


def test_a_tie_parameter_that_is_set_stays(folders: dict[str, Path], tmp_path: Path) -> None:
    changes = {"loss": "rao-kupper", "tie_parameter": 0.3, "learn_tie_parameter": False}
    run = _run(folders["llama"], tmp_path, epochs=1, **changes)
    assert_close([m["reward/tie_parameter"] for m in run.metrics], [0.3] * 3, FLOAT32)


def test_a_margin_and_smoothing_change_what_is_learned_where_they_apply(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    def adapter(name: str, strength: Any, **changes: Any) -> dict[str, list[float]]:
        pairs = [replace(p, strength=strength) for p in preferences()]
        chosen = settings("reward", epochs=1, **changes)
        model = tinymodels.load(folders["llama"])
        run = Run("reward", model, chosen, tmp_path / name, preferences=pairs)
        return {key: weight.tolist() for key, weight in run.adapter().items()}

    plain = adapter("plain", 2)
    assert adapter("slightly", 1, strength_margin=1.0) == plain
    assert adapter("clearly", 2, strength_margin=1.0) != plain
    assert adapter("smooth", 2, label_smoothing=0.2) != plain


def _ensemble(model: LoadedModel, n: int = 4) -> RewardModel:
    reward = RewardModel.fresh(model, LoraSettings(r=4, alpha=8), seed=3, n_members=n)
    generator = torch.Generator().manual_seed(5)
    for parameter in reward.trainable:
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return reward


def test_the_score_of_an_ensemble_is_the_mean_and_the_spread_is_the_deviation(
    model: LoadedModel,
) -> None:
    reward = _ensemble(model)
    rows = [reward.encode(m, a) for m, a in zip(MESSAGES, ANSWERS, strict=True)]
    members = reward.forward_members(rows).detach().double()
    means, spreads = reward.score_with_spread(MESSAGES, ANSWERS)
    assert_close(torch.tensor(means), members.mean(1), FORWARD)
    squares = (members - members.mean(1, keepdim=True)).square().sum(1) / 3
    assert_close(torch.tensor(spreads), squares.sqrt(), FORWARD)
    assert reward.score(MESSAGES, ANSWERS) == means
    for row in range(len(ANSWERS)):
        alone = reward.score_with_spread(MESSAGES[row : row + 1], ANSWERS[row : row + 1])
        assert_close([alone[0][0], alone[1][0]], [means[row], spreads[row]], FORWARD)


def test_an_ensemble_is_bit_equal_after_saving_and_one_network_knows_no_spread(
    model: LoadedModel, tmp_path: Path
) -> None:
    reward = _ensemble(model)
    wanted = reward.score_with_spread(MESSAGES, ANSWERS)
    reward.save(tmp_path)
    again = RewardModel.load(tinymodels.load(model.info.path), tmp_path)
    assert again.n_members == 4
    assert again.score_with_spread(MESSAGES, ANSWERS) == wanted
    (tmp_path / "heads.safetensors").unlink()
    # What other programs read of the folder: the mean head by itself.
    alone = RewardModel.load(tinymodels.load(model.info.path), tmp_path)
    assert alone.score(MESSAGES, ANSWERS) == wanted[0]
    with pytest.raises(UserError, match="is one network"):
        alone.score_with_spread(MESSAGES, ANSWERS)


def test_members_differ_by_their_start_and_by_what_they_drew(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    run = _run(folders["llama"], tmp_path, ensemble=3, epochs=1)
    heads = load_file(run.folder / "heads.safetensors")["weight"]
    mean = run.adapter()["base_model.model.score.weight"]
    assert_close(heads.mean(0, keepdim=True), mean, FLOAT32)
    fresh = RewardModel.fresh(tinymodels.load(folders["llama"]), LoraSettings(r=4), 0, 3)
    assert fresh.members is not None
    moved = heads - fresh.members.linear.weight.detach()
    assert all(row.abs().max() > 0 for row in moved)
    assert not torch.allclose(moved[0].sign(), moved[1].sign())
    assert run.heldout[-1]["reward/heldout_spread"] > 0


def test_all_of_it_stopped_and_resumed_equals_uninterrupted(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """An ensemble with ties that learns its tie parameter and keeps its best weights."""
    changes: dict[str, Any] = {
        "loss": "rao-kupper",
        "ensemble": 3,
        "patience": 2,
        "measure_every": 2,
        "checkpoint_every": 1,
        "epochs": 3,
    }
    whole = _run(folders["llama"], tmp_path / "whole", **changes)
    cancel = CancelToken()

    def stop(event: Event) -> None:
        if isinstance(event, Step) and event.step == 5:
            cancel.request_stop()

    begun = _run(folders["llama"], tmp_path / "begun", cancel=cancel, on_event=stop, **changes)
    rest = _run(folders["llama"], tmp_path / "rest", resume_from=begun.last_checkpoint, **changes)
    assert rest.everything() == whole.everything()
    assert rest.heldout[-1] == whole.heldout[-1]


def test_training_ends_in_time_and_keeps_the_weights_of_the_lowest_loss(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """Labels turned round on the held-out prompts make every step a worse one."""
    pairs = preferences()
    chosen = settings(
        "reward", epochs=20, patience=2, measure_every=1, learning_rate=5e-3, checkpoint_every=0
    )
    learned = {id(p) for p in trained(pairs, chosen)}
    turned = [
        p if id(p) in learned else replace(p, chosen=p.rejected, rejected=p.chosen) for p in pairs
    ]
    run = Run("reward", tinymodels.load(folders["llama"]), chosen, tmp_path, preferences=turned)
    evaluated = [e for e in run.events if isinstance(e, Evaluated)]
    *measured, kept = evaluated[1:]
    losses = [e.metrics["reward/heldout_loss"] for e in measured]
    assert kept.step == measured[losses.index(min(losses))].step < len(run.steps) < 60
    assert kept.metrics == measured[losses.index(min(losses))].metrics
    assert any("whose weights are kept" in e.message for e in run.events if isinstance(e, Warned))


def test_a_head_that_is_no_number_is_told(llama: LoadedModel, tmp_path: Path) -> None:
    _ensemble(llama, 1).save(tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    weights = load_file(path)
    weights["base_model.model.score.weight"][0, 0] = float("nan")
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match="is not a number any more"):
        RewardModel.load(llama, tmp_path).score(MESSAGES, ANSWERS)
    del weights["base_model.model.score.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match="has no reward head"):
        RewardModel.load(llama, tmp_path)
