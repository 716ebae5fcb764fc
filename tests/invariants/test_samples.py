"""Answers that are kept: the figures of their tokens, fixed prompts, and the KL budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tinymodels
from tests.close import FLOAT32, FORWARD, assert_close
from tests.training import Trained, on_policy_settings
from workbench.cancel import CancelToken
from workbench.events import METRICS, TOKEN_FIGURES, Event, Marked, Paused, Sample, Step
from workbench.models import adapters

WATCHED = tinymodels.prompts()[:2]


def run(folder: Path, run_dir: Path, algorithm: str = "ppo", **kwargs: Any) -> Trained:
    taken = ("cancel", "on_event", "resume_from", "watch")
    others = {name: kwargs.pop(name) for name in taken if name in kwargs}
    others.setdefault("watch", WATCHED)
    settings = on_policy_settings(algorithm, **{"n_samples": 3, "sample_every": 2, **kwargs})
    return Trained(algorithm, tinymodels.load(folder), settings, run_dir, **others)


def samples(trained: Trained, *, is_watched: bool) -> list[Sample]:
    found = [e for e in trained.events if isinstance(e, Sample)]
    return [s for s in found if s.is_watched == is_watched]


def test_samples_know_what_each_token_got(folders: dict[str, Path], tmp_path: Path) -> None:
    trained = run(folders["llama"], tmp_path, kl_coef=0.0, whiten_advantages=False)
    kept = samples(trained, is_watched=False)
    assert [s.step for s in kept] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    for sample in kept:
        assert sample.figures.keys() == TOKEN_FIGURES.keys()
        assert (
            {len(v) for v in sample.figures.values()} == {sample.n_tokens} == {len(sample.tokens)}
        )
        # The sentence is its tokens without the special ones.
        words = [t.strip() for t in sample.tokens if "<" not in t]
        assert sample.text.split() == words
        ratio = [
            p - r for p, r in zip(*(sample.figures[k] for k in ("logp", "ref_logp")), strict=True)
        ]
        assert_close(sum(ratio), sample.kl, FORWARD)
        # Without a KL penalty the reward is paid at the end alone.
        assert all(v == 0.0 for v in sample.figures["reward"][:-1])
        assert sample.figures["reward"][-1] != 0.0
    last = [s for s in kept if s.step == 3]
    assert any(abs(v) > 1e-3 for s in last for v in s.figures["value"])
    # GAE's last advantage is the last reward less what was expected.
    for sample in last:
        end = (sample.figures[name][-1] for name in ("reward", "value", "advantage"))
        reward, value, advantage = end
        assert_close(advantage, reward - value, FLOAT32)


@pytest.mark.parametrize("algorithm", ["grpo", "rloo", "online-dpo", "a2c", "reinforce", "soft-q"])
def test_every_algorithm_keeps_what_it_has(
    algorithm: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    trained = run(folders["llama"], tmp_path, algorithm, updates=1)
    own = {
        "grpo": {"advantage"},
        "rloo": {"advantage"},
        "a2c": {"advantage", "reward", "value"},
        "reinforce": {"advantage", "reward"},
    }.get(algorithm, set())
    for sample in samples(trained, is_watched=False):
        assert sample.figures.keys() == {"logp", "ref_logp"} | own
        if algorithm in ("grpo", "rloo"):
            assert len(set(sample.figures["advantage"])) == 1, "alike for all tokens of an answer"


def test_fixed_prompts_are_answered_under_the_same_luck(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    still = run(folders["llama"], tmp_path / "still", learning_rate=0.0, updates=4)
    asked = samples(still, is_watched=True)
    assert [(s.step, s.prompt_id) for s in asked] == [
        (step, prompt.id) for step in (0, 2, 4) for prompt in WATCHED
    ]
    for first, later in zip(asked[:2] * 2, asked[2:], strict=True):
        assert later.text == first.text, "the policy has not moved, and the luck is the same"
        assert later.tokens == first.tokens
    moved = samples(run(folders["llama"], tmp_path / "moved", updates=4), is_watched=True)
    assert [s.text for s in moved[:2]] == [s.text for s in asked[:2]], "step 0 is the base"
    assert [s.kl for s in moved[:2]] == [0.0, 0.0]
    assert any(abs(s.kl) > 1e-3 for s in moved[4:])


def test_watching_does_not_touch_the_run(folders: dict[str, Path], tmp_path: Path) -> None:
    """And a run that was stopped asks its prompts again on going on."""
    with_it = run(folders["llama"], tmp_path / "a")
    without = run(folders["llama"], tmp_path / "b", watch=())
    assert with_it.metrics == without.metrics
    assert with_it.checkpoint() == without.checkpoint()
    assert not samples(without, is_watched=True)
    cancel = CancelToken()

    def stop_after_two(event: Event) -> None:
        if isinstance(event, Step) and event.step == 2:
            cancel.request_stop()

    first = run(folders["llama"], tmp_path / "c", cancel=cancel, on_event=stop_after_two)
    assert {s.step for s in samples(first, is_watched=True)} == {0}
    second = run(folders["llama"], tmp_path / "c", resume_from=first.last_checkpoint)
    whole = samples(with_it, is_watched=True)
    assert samples(first, is_watched=True) + samples(second, is_watched=True) == whole


def test_watched_figures_are_those_of_the_policy_now(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """Against the saved adapter, computed afresh from the text of the answer."""
    trained = run(folders["llama"], tmp_path)
    sample = samples(trained, is_watched=True)[-2]
    model = tinymodels.load(folders["llama"])
    adapters.load(model, "policy", tmp_path / "adapter")
    vocabulary = {word: i for i, word in enumerate(tinymodels.VOCABULARY)}
    answer = torch.tensor([[vocabulary[t.strip()] for t in sample.tokens]])
    prompt = torch.tensor([model.encode_prompt(WATCHED[0].messages)])
    is_response = torch.ones_like(answer, dtype=torch.bool)
    with adapters.active(model, "policy"), torch.no_grad():
        states = model.response_states(
            prompt, torch.ones_like(prompt, dtype=torch.bool), answer, is_response
        )
        logps, _ = model.logps(states, answer, is_response, 1.3)
    assert_close(logps[0], sample.figures["logp"], FORWARD)


def test_a_run_pauses_itself_at_its_kl_budget(folders: dict[str, Path], tmp_path: Path) -> None:
    changes = {"updates": 5, "lr_schedule": "constant", "kl_budget": 0.15, "watch": ()}
    held: list[int] = []
    cancel = CancelToken()

    def go_on(event: Event) -> None:
        if isinstance(event, Paused):
            assert cancel.is_paused
            held.append(done[-1].step)
            cancel.resume()
        elif isinstance(event, Step):
            done.append(event)

    done: list[Step] = []
    trained = run(folders["llama"], tmp_path / "a", cancel=cancel, on_event=go_on, **changes)
    kl = [m["objective/kl"] for m in trained.metrics]
    # Paused where KL passes the budget, and again only past its next multiple.
    limit, wanted = 0.15, []
    for step, value in enumerate(kl[:-1], start=1):
        if value > limit:
            wanted.append(step)
            limit = 0.15 * (value // 0.15 + 1)
    assert held == wanted != []
    [first, *_] = [e for e in trained.events if isinstance(e, Paused)]
    assert "past its budget of 0.15" in first.message
    assert [e.step for e in trained.events if isinstance(e, Marked)] == wanted

    # Stopped there and resumed it is the same run, and is not held at the same place again.
    cancel = CancelToken()

    def stop(event: Event) -> None:
        if isinstance(event, Paused):
            cancel.request_stop()

    half = run(folders["llama"], tmp_path / "b", cancel=cancel, on_event=stop, **changes)
    assert len(half.steps) == wanted[0]
    rest = run(folders["llama"], tmp_path / "b", resume_from=half.last_checkpoint, **changes)
    assert half.metrics + rest.metrics == trained.metrics
    assert (
        rest.checkpoint()["adapter_model.safetensors"]
        == trained.checkpoint()["adapter_model.safetensors"]
    )
    plain = run(folders["llama"], tmp_path / "c", **{**changes, "kl_budget": 0.0})
    assert not [e for e in plain.events if isinstance(e, Paused)]
    assert plain.metrics == trained.metrics


def test_the_new_figures_are_in_the_glossary() -> None:
    assert {"completions/repetition", "value/spread"} <= METRICS.keys()
