"""Reading the samples of a run, and what follows from their tokens' log-probabilities."""

import math

import pytest
import torch

from tests.close import FLOAT32, assert_close
from workbench.app import samples
from workbench.data.records import Message, NewPrompt
from workbench.events import Sample
from workbench.objectives.kl import kl_estimate
from workbench.store.experiment import Experiment


class Ws:
    """The part of a workspace that reading samples needs."""

    is_read_only = True

    def __init__(self, experiment):
        self.experiment = experiment


@pytest.fixture
def ws(tmp_path):
    with Experiment.create(tmp_path / "e") as experiment:
        yield Ws(experiment)


def sample(step, prompt, text, reward=0.0, **more):
    return Sample(step, prompt, text, reward, 0.1 * step, len(text), True, **more)


def test_answers_are_listed_with_what_the_base_said(ws):
    [prompt] = ws.experiment.prompts.add_many([NewPrompt((Message("user", "hello"),))])
    run = ws.experiment.runs.create("policy", "ppo", "PPO 1", {}, {})
    ws.experiment.runs.append_events(
        run,
        [
            sample(0, prompt, "the sea is blue", is_watched=True),
            sample(1, prompt, "rollout"),
            sample(2, prompt, "the sea is green", is_watched=True),
            sample(2, 99, "of a deleted prompt", is_watched=True),
        ],
    )
    book = samples.read(ws, run)
    assert book.prompts.keys() == {prompt}
    assert book.n_left_out == 0
    base, rollout, later, lost = book.kept
    assert (base.base, base.change) == ("the sea is blue", 0.0)
    assert (rollout.base, rollout.change) == (None, None)
    assert later.base == "the sea is blue"
    first = {"the sea is blue"[i : i + 3] for i in range(13)}
    second = {"the sea is green"[i : i + 3] for i in range(14)}
    assert later.change == 1 - len(first & second) / len(first | second)
    assert (lost.base, lost.change) == (None, None)


def test_only_the_newest_of_many_rollouts_are_listed(ws, monkeypatch):
    monkeypatch.setattr(samples, "MOST_ROLLOUTS", 3)
    run = ws.experiment.runs.create("policy", "ppo", "PPO 1", {}, {})
    rollouts = [sample(step, 1, f"answer {step}") for step in range(1, 6)]
    ws.experiment.runs.append_events(run, [sample(0, 1, "base", is_watched=True), *rollouts])
    book = samples.read(ws, run)
    assert [k.sample.step for k in book.kept] == [0, 3, 4, 5]
    assert book.n_left_out == 2


def test_tokens_have_a_ratio_and_a_kl_that_is_never_negative(ws):
    run = ws.experiment.runs.create("policy", "ppo", "PPO 1", {}, {})
    figures = {"logp": (-0.5, -3.0, -0.001, -40.0), "ref_logp": (-1.5, -1.0, -0.001, -1.0)}
    tokens = ("a", " b", " c", "<eos>")
    ws.experiment.runs.append_events(
        run, [sample(0, 1, "a b c", tokens=tokens, figures=figures), sample(1, 1, "old")]
    )
    first, second = (k.id for k in samples.read(ws, run).kept)
    found = samples.tokens(ws, first)
    assert found.texts == tokens
    assert found.figures["log_ratio"] == (1.0, -2.0, 0.0, -39.0)
    logps, refs = (torch.tensor([figures[name]]) for name in ("logp", "ref_logp"))
    assert_close(found.figures["kl"], kl_estimate(logps, refs, "k3")[0], FLOAT32)
    assert min(found.figures["kl"]) >= 0.0
    assert samples.tokens(ws, second) == samples.Tokens((), {})


def test_orders_put_what_is_not_known_last():
    def kept(step, reward, kl, n, change):
        one = Sample(step, 1, "x", reward, kl, n, True)
        return samples.Kept(step, one, None, change)

    rows = [
        kept(3, 0.5, 1.0, 9, None),
        kept(1, math.nan, 3.0, 5, 0.2),
        kept(2, 0.9, 2.0, 7, 0.8),
    ]
    steps = {o: [k.sample.step for k in samples.ordered(rows, o)] for o in samples.ORDERS}
    assert steps == {
        "step": [1, 2, 3],
        "best": [2, 3, 1],
        "worst": [3, 2, 1],
        "kl": [1, 2, 3],
        "length": [3, 2, 1],
        "change": [2, 1, 3],
    }
