"""What a run takes beside what the plan says: one update of each case in a process of its own.

    python -m tests.benchmarks.bench_memory_plan [--cases ppo-upper,ppo-all]

Prints predicted and measured peak of the whole process, the error of each case and the worst.
Linux only: the peak is VmHWM of /proc/self/status.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.app.workspace import prepare_torch
from workbench.cancel import CancelToken
from workbench.config import algorithms, toml
from workbench.config.training import TrainingSettings
from workbench.data.records import Message, Prompt
from workbench.models import catalog, memory_plan
from workbench.models.starter import starter_path

WORDS = "The sky is blue because air scatters the short waves of the light of the sun. "
# Algorithm, words of a prompt, dtype, settings.
CASES: Mapping[str, tuple[str, int, str, Mapping[str, Any]]] = {
    "ppo-upper": ("ppo", 40, "float32", {"lora": {"last_layers": 10}}),
    "ppo-all": ("ppo", 40, "float32", {"micro_batch_tokens": 512}),
    "ppo-recompute": ("ppo", 40, "float32", {"checkpoint_activations": True}),
    "rloo-long": (
        "rloo",
        150,
        "float32",
        {"micro_batch_tokens": 2048, "lora": {"last_layers": 10}},
    ),
    "ppo-bf16": ("ppo", 40, "bfloat16", {"lora": {"last_layers": 10}}),
}
COMMON: Mapping[str, Any] = {"updates": 1, "batch_size": 16, "max_new_tokens": 32, "epochs": 1}


class _Constant:
    name = "constant"

    def score(
        self,
        prompts: Sequence[Sequence[Message]],  # noqa: ARG002
        answers: Sequence[Sequence[int]],
    ) -> list[float]:
        return [float(len(answer) % 3) for answer in answers]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        _say(json.dumps(_measure(options.one)))
        return
    worst = 0.0
    for case in options.cases.split(","):
        command = [sys.executable, "-m", __spec__.name, "--one", case]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        figures = json.loads(done.stdout.splitlines()[-1])
        error = figures["planned_mib"] / figures["measured_mib"] - 1
        worst = max(worst, error, key=abs)
        _say(f"{case}: {figures}, error {error:+.1%}")
    _say(f"worst error {worst:+.1%}")


def settings_of(case: str) -> TrainingSettings:
    """The settings of one case."""
    name, _, _, own = CASES[case]
    how = algorithms.find(name)
    known = {key: value for key, value in COMMON.items() if key in how.settings.model_fields}
    settings: TrainingSettings = toml.validate(how.settings, {**known, **own})
    return settings


def _measure(case: str) -> dict[str, Any]:

    from workbench.models import loading
    from workbench.training.inputs import Inputs
    from workbench.training.registry import trainer

    prepare_torch(keeps_core_free=False)  # as in the program: glibc keeps what is freed
    folder = starter_path()
    assert folder is not None, "the starter model is not installed"
    name, n_words, dtype, _ = CASES[case]
    settings, marks = settings_of(case), {"import": _peak_mib()}
    model = loading.load(
        catalog.describe(folder),
        device="cpu",
        dtype=dtype,
        cancel=CancelToken(),
        on_progress=lambda *_: None,
    )
    marks["load"] = _peak_mib()
    text = " ".join((WORDS * 20).split()[:n_words])
    prompts = [
        Prompt(i + 1, (Message("user", f"{i} {text}"),), "b", "en", "train", "2026-01-01T00:00:00Z")
        for i in range(16)
    ]
    longest = max(len(model.encode_prompt(p.messages)) for p in prompts)
    with tempfile.TemporaryDirectory() as temporary:
        inputs = Inputs(model, Path(temporary), prompts=prompts, reward=_Constant())
        for event in trainer(name)(settings, inputs, CancelToken()):
            marks[type(event).__name__] = _peak_mib()
    plan = memory_plan.plan(
        memory_plan.facts(folder), name, settings, device="cpu", dtype=dtype, longest_prompt=longest
    )
    return {
        "planned_mib": plan.peak_bytes >> 20,
        "measured_mib": _peak_mib(),
        "longest_prompt": longest,
        "marks": marks,
        "phases_mib": {key: value >> 20 for key, value in plan.phases.items()},
    }


def _peak_mib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmHWM"))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
