"""Makes ill_runs.json: what runs tell that really have the illnesses the policy doctor looks for.

    python -m tests.golden.make_ill_runs [NAME ...]

A tiny random model is trained with settings and rewards that make it ill, so that the detectors
meet real curves; a healthy run of each kind is beside them. Two illnesses are faults of a program
and are put into this one for their runs: answers drawn at another temperature than they are
measured at, and a forward pass that is off.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests import tinymodels
from tests.tinymodels import TokenShare
from tests.training import TOKEN, Trained, on_policy_settings
from workbench.data.records import Message
from workbench.models import adapters
from workbench.models.decoding import seeds
from workbench.training import policy_gradient, ppo, rollouts

FILE = Path(__file__).with_name("ill_runs.json")
BASIS: dict[str, Any] = {
    "updates": 30,
    "batch_size": 32,
    "micro_batch_tokens": 4096,
    "learning_rate": 3e-3,
    "max_new_tokens": 16,
    "lr_schedule": "constant",
    "n_samples": 0,
}
HELD: dict[str, Any] = {"learning_rate": 2e-3, "kl_coef": 0.5}
WILD: dict[str, Any] = {"learning_rate": 1e-2, "kl_coef": 0.0}
MANY: dict[str, Any] = {**WILD, "epochs": 16, "updates": 15}
ENDLESS: dict[str, Any] = {"learning_rate": 5e-3, "kl_coef": 0.0, "missing_eos_penalty": 0.0}
RAW: dict[str, Any] = {"normalise_scores": False, "whiten_advantages": False}
JUDGED_EVERY = 5


class Length:
    """A reward for saying much, or little."""

    name = "length"

    def __init__(self, sign: float) -> None:
        self.sign = sign

    def score(
        self,
        prompts: Sequence[Sequence[Message]],  # noqa: ARG002
        answers: Sequence[Sequence[int]],
    ) -> list[float]:
        return [self.sign * len(a) / 16 for a in answers]


class Luck:
    """A reward that says nothing of the answer."""

    name = "luck"

    def __init__(self) -> None:
        self.n = 0

    def score(
        self,
        prompts: Sequence[Sequence[Message]],
        answers: Sequence[Sequence[int]],  # noqa: ARG002
    ) -> list[float]:
        self.n += 1
        return [s % 1000 / 1000 for s in seeds(self.n, 99, n=len(prompts))]


class Outlier(TokenShare):
    """A reward that once gives a score from another world."""

    n = 0

    def score(self, *args: Any) -> list[float]:
        scores = super().score(*args)
        self.n += 1
        return [1e4, *scores[1:]] if self.n == 25 else scores


class Judged(TokenShare):
    """A reward with a judge beside it, whom nothing learns from."""

    def __init__(self, token: int, judge: Callable[[Sequence[int]], float]) -> None:
        super().__init__(token)
        self.judge = judge
        self.judged: list[float] = []

    def score(
        self, prompts: Sequence[Sequence[Message]], answers: Sequence[Sequence[int]]
    ) -> list[float]:
        self.judged.append(sum(map(self.judge, answers)) / len(answers))
        return super().score(prompts, answers)


def of_one_mind() -> Judged:
    """The judge counts the same token."""
    return Judged(TOKEN, lambda answer: float(list(answer).count(TOKEN)))


def hacked() -> Judged:
    """The judge likes answers that know many words, which the reward drives out."""
    return Judged(TOKEN, lambda answer: float(len(set(answer))))


@contextmanager
def drawn_at_another_temperature() -> Iterator[None]:
    measured, sampling = rollouts._measured, rollouts._sampling

    def hotter(learner: Any, *args: Any) -> Any:
        with patch.object(type(learner.settings), "temperature", 5.0, create=True):
            hot = learner.settings.model_copy(update={"temperature": 5.0})
        before, learner.settings = learner.settings, hot
        made = sampling(learner, *args)
        learner.settings = before
        return made

    def remeasured(learner: Any, rollout: Any, critic: Any) -> Any:
        with adapters.active(learner.model, learner.adapter):
            old = rollouts.policy_logps(learner, rollout)
        return measured(learner, rollout._replace(old_logps=old, ref_logps=old), critic)

    with (
        patch.object(rollouts, "_sampling", hotter),
        patch.object(rollouts, "_measured", remeasured),
    ):
        yield


@contextmanager
def a_forward_pass_that_is_off() -> Iterator[None]:
    right = policy_gradient.forward

    def off(*args: Any, **kwargs: Any) -> Any:
        now = right(*args, **kwargs)
        return now._replace(logps=now.logps * 1.1)

    with patch.object(ppo, "forward", off):
        yield


@contextmanager
def as_it_is() -> Iterator[None]:
    yield


@dataclass(frozen=True)
class Recipe:
    """How a run gets its illnesses."""

    ill: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    reward: Callable[[], Any] = lambda: TokenShare(TOKEN)
    algorithm: str = "ppo"
    fault: Callable[[], Any] = as_it_is


RECIPES: dict[str, Recipe] = {
    "healthy": Recipe((), HELD, of_one_mind),
    "healthy grpo": Recipe((), {**HELD, "kl_coef": 0.1, "group_size": 4}, algorithm="grpo"),
    "wild": Recipe(("kl_blow_up", "eos_loss", "repetition", "reward_hacking"), WILD, hacked),
    "drawn at another temperature": Recipe(
        ("kl_negative",), WILD, fault=drawn_at_another_temperature
    ),
    "cold": Recipe(("entropy_collapse",), {**WILD, "temperature": 0.4, "epochs": 4}),
    "paid for brevity": Recipe(("length_drift",), WILD, lambda: Length(-1.0)),
    "paid for length": Recipe(
        ("length_drift", "eos_loss"), {**ENDLESS, "max_new_tokens": 32}, lambda: Length(1.0)
    ),
    "cut": Recipe(("eos_loss",), {"max_new_tokens": 2}),
    "many passes": Recipe(("clip_fraction", "step_kl"), MANY),
    "a forward pass that is off": Recipe(("first_ratio",), fault=a_forward_pass_that_is_off),
    "no value loss": Recipe(("dead_value_head",), {"value_coef": 0.0}),
    "raw scores": Recipe(("explained_variance",), RAW),
    "an outlier": Recipe(("gradient_spikes",), RAW, lambda: Outlier(TOKEN)),
    "no steps": Recipe(("no_learning",), {"learning_rate": 0.0}),
    "paid by luck": Recipe(("no_learning",), {}, Luck),
}


def record(recipe: Recipe, folder: Path, run_dir: Path) -> dict[str, list[tuple[int, float]]]:
    """Train, and give each figure as the store would."""
    settings = on_policy_settings(recipe.algorithm, **{**BASIS, **recipe.settings})
    reward = recipe.reward()
    with recipe.fault():
        run = Trained(recipe.algorithm, tinymodels.load(folder), settings, run_dir, reward=reward)
    series: dict[str, list[tuple[int, float]]] = {}
    for event in run.steps:
        metrics = dict(event.metrics)
        if isinstance(reward, Judged) and event.step % JUDGED_EVERY == 0:
            metrics["judge/score"] = reward.judged[event.step - 1]
        for name, value in metrics.items():
            if not name.startswith("time/"):
                series.setdefault(name, []).append((event.step, float(f"{value:.4g}")))
    return series


def main(names: Sequence[str]) -> None:
    """Record the runs of these names; all without any. Those that are not named stay."""
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8")) if names else {}
    with tempfile.TemporaryDirectory() as work:
        folder = tinymodels.write(Path(work) / "model", "llama")
        for i, name in enumerate(names or RECIPES):
            recipe = RECIPES[name]
            series = record(recipe, folder, Path(work) / f"run-{i}")
            found[name] = {
                "ill": recipe.ill,
                "algorithm": recipe.algorithm,
                "settings": {**BASIS, **recipe.settings},
                "metrics": series,
            }
    FILE.write_text(json.dumps(found, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
