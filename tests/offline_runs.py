"""Runs of algorithms that learn from fixed data, on tiny models: data, and what is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests import tinymodels
from tests.close import Level, assert_close
from tests.tinymodels import TokenShare
from workbench.cancel import CancelToken
from workbench.config import algorithms
from workbench.config.training import OfflineSettings
from workbench.data.records import Answered, Feedback, Preference, Prompt
from workbench.events import Evaluated, Event, Saved, Step
from workbench.models.loading import LoadedModel
from workbench.training.inputs import Inputs
from workbench.training.offline import split_by_prompt
from workbench.training.registry import trainer

TOKEN = 7  # rewarded where an algorithm wants a reward


def preferences(n: int = 24) -> list[Preference]:
    """Longer answers are liked, over six prompts; lengths are ragged."""
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


def feedback(n: int = 24) -> list[Feedback]:
    """The same answers, each by itself."""
    return [
        Feedback(p.prompt, p.chosen if is_good else p.rejected, is_good)
        for p in preferences(n // 2)
        for is_good in (True, False)
    ]


def answers(n: int = 24) -> list[Answered]:
    """The liked answers alone."""
    return [Answered(p.prompt, p.chosen) for p in preferences(n)]


def settings(name: str, **changes: Any) -> Any:
    """Small settings of an algorithm, with a held-out third of the prompts."""
    values = {
        "epochs": 1,
        "batch_size": 8,
        "heldout_share": 0.34,
        "learning_rate": 1e-2,
        "checkpoint_every": 0,
        "lora": {"r": 4, "alpha": 8},
        **changes,
    }
    return algorithms.find(name).settings.model_validate(values)


def sure(folder: Path) -> LoadedModel:
    """A tiny model whose frozen output head can say something with near certainty.

    As it is, no token can be likelier than about 0.9, and the optimum of a loss is out of reach.
    """
    model = tinymodels.load(folder)
    model.model.get_input_embeddings().weight.data *= 3.0
    return model


class Run:
    """A run to its end: its events, and what it left behind."""

    def __init__(
        self,
        name: str,
        model: LoadedModel,
        settings: OfflineSettings,
        run_dir: Path,
        *,
        cancel: CancelToken | None = None,
        on_event: Callable[[Event], None] = lambda _: None,
        **inputs: Any,
    ) -> None:
        self.run_dir = run_dir
        self.folder = run_dir / ("reward_model" if name == "reward" else "adapter")
        self.events: list[Event] = []
        data = {
            "preferences": preferences(),
            "feedback": feedback(),
            "answers": answers(),
            "reward": TokenShare(TOKEN),
        }
        given = Inputs(model, run_dir, **{**data, **inputs})
        for event in trainer(name)(settings, given, cancel or CancelToken()):
            self.events.append(event)
            on_event(event)

    @property
    def steps(self) -> list[Step]:
        return [e for e in self.events if isinstance(e, Step)]

    @property
    def metrics(self) -> list[dict[str, float]]:
        """Of each update, without the times."""
        return [
            {k: v for k, v in e.metrics.items() if not k.startswith("time/")} for e in self.steps
        ]

    @property
    def heldout(self) -> list[dict[str, float]]:
        """What was measured on held-out data, the first time before the first update."""
        return [dict(e.metrics) for e in self.events if isinstance(e, Evaluated)]

    @property
    def last_checkpoint(self) -> Path:
        return checkpoints(self.events)[-1]

    def adapter(self) -> dict[str, Tensor]:
        return load_file(self.folder / "adapter_model.safetensors")

    def everything(self) -> tuple[object, ...]:
        """What two equal runs must share besides their figures, as plain numbers."""
        optimiser = torch.load(self.last_checkpoint / "optimizer.pt", weights_only=True)
        return (
            _plain(self.adapter()),
            _plain(load_file(self.last_checkpoint / "heads.safetensors")),
            _plain(optimiser["state"]),
            (self.last_checkpoint / "state.json").read_text(),
        )


def checkpoints(events: list[Event]) -> list[Path]:
    """The checkpoints that were told."""
    return [Path(e.path) for e in events if isinstance(e, Saved) and e.kind == "checkpoint"]


def _plain(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.tolist()
    return {k: _plain(v) for k, v in x.items()} if isinstance(x, dict) else x


class Twin:
    """The same learning with plain transformers, peft and autograd, text by text, no batches.

    An oracle for whole updates: masks, sums, references and counts are written out in loops.
    """

    def __init__(self, model_folder: Path, adapter: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(model_folder)
        base = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
        self.model = PeftModel.from_pretrained(base, str(adapter), is_trainable=True).eval()

    def logp(self, prompt: Prompt, text: str) -> list[Tensor]:
        """Log-probabilities of an answer's tokens one by one, its end included."""
        # The template of the tiny models: contents, then the turn marker.
        before = self.tokenizer.encode(" ".join([*(m.content for m in prompt.messages), "w16"]))
        answer = [*self.tokenizer.encode(text), tinymodels.EOS]
        logits = self.model(input_ids=torch.tensor([before + answer])).logits[0]
        rows = logits[len(before) - 1 : -1].log_softmax(-1)
        return [row[token] for row, token in zip(rows, answer, strict=True)]

    def reference(self, prompt: Prompt, text: str) -> list[float]:
        """The same without the adapter."""
        with torch.no_grad(), self.model.disable_adapter():
            return [float(x) for x in self.logp(prompt, text)]

    def learn(self, loss: Callable[[], Tensor], how: OfflineSettings) -> dict[str, Tensor]:
        """One optimiser step per epoch on everything; the adapter afterwards."""
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(
            parameters, lr=how.learning_rate, eps=how.adam_eps, weight_decay=0.0
        )
        for _ in range(how.epochs):
            loss().backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, how.max_grad_norm)
            optimiser.step()
            optimiser.zero_grad()
        return {
            name.replace(".default", ""): p.detach()
            for name, p in self.model.named_parameters()
            if ".lora_" in name
        }


def one_batch(name: str, **changes: Any) -> Any:
    """Settings with which a run is three updates on everything, steps proportional to gradients."""
    return settings(
        name,
        epochs=3,
        batch_size=64,
        adam_eps=1e-3,
        max_grad_norm=0.5,
        lr_schedule="constant",
        **changes,
    )


def trained(items: Sequence[Any], how: OfflineSettings) -> list[Any]:
    """Of preferences, feedback or answers those that a run with these settings learns from."""
    split = split_by_prompt([x.prompt.id for x in items], how.heldout_share, how.seed)
    return [items[i] for group in split.train for i in group]


def assert_same_adapter(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Equal up to rounding, in relation to how far each matrix has moved."""
    assert actual.keys() == expected.keys()
    for key, weight in expected.items():
        assert_close(actual[key], weight, Level(2e-4 * float(weight.abs().max()), 0.0))
