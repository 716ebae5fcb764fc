"""What a run takes beside what the plan says: one update of each case in a process of its own.

    python -m tests.benchmarks.bench_memory_plan [--cases ppo-upper,ppo-all] [--golden]

Prints predicted and measured peak of the whole process and the error of each case, and the worst.
With --golden the measured ones replace those that the plan's test compares with.
Cases of gpt2 and t5 are models of 70 to 80 million random weights, built in a temporary folder.
Linux only: the peak is VmHWM of /proc/self/status. A case takes about half a minute.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from workbench.app.workspace import prepare_torch
from workbench.cancel import CancelToken
from workbench.config import algorithms, toml
from workbench.config.training import OnPolicySettings, TrainingSettings
from workbench.data.chat_template import encode_answer
from workbench.data.records import Answered, Message, Preference, Prompt
from workbench.models import catalog, memory_plan
from workbench.models.starter import starter_path

if TYPE_CHECKING:
    from workbench.models.loading import LoadedModel
    from workbench.rewards.neural import RewardModel

WORDS = "The sky is blue because air scatters the short waves of the light of the sun. "
GOLDEN = Path(__file__).parents[1] / "golden" / "memory_plan.json"
N_WORDS = 32_000  # in the vocabulary of the random models


class Case(NamedTuple):
    """One run to plan and to measure."""

    algorithm: str
    settings: Mapping[str, Any]
    n_words: int = 20  # of a prompt
    model: Literal["starter", "gpt2", "t5"] = "starter"
    dtype: str = "float32"


_SHORT = {"batch_size": 8, "max_new_tokens": 16}
_UPPER = {"last_layers": 10}
CASES: Mapping[str, Case] = {
    "ppo-upper": Case("ppo", {"max_new_tokens": 32, "lora": _UPPER}, 40),
    "ppo-all": Case("ppo", {**_SHORT, "micro_batch_tokens": 512}),
    "ppo-recompute": Case("ppo", {**_SHORT, "checkpoint_activations": True}),
    "ppo-own": Case("ppo", {**_SHORT, "micro_batch_tokens": 256, "value_network": "own"}),
    # The moments of a large adapter tell only once there are some: in the second update.
    "ppo-wide": Case(
        "ppo", {**_SHORT, "updates": 2, "micro_batch_tokens": 256, "lora": {"r": 128}}
    ),
    "rloo-long": Case("rloo", {**_SHORT, "micro_batch_tokens": 2048, "lora": _UPPER}, 150),
    "grpo": Case("grpo", {**_SHORT, "micro_batch_tokens": 256}),
    "dpo": Case("dpo", {"batch_size": 4, "micro_batch_tokens": 512}, 40),
    "sft": Case("sft", {"batch_size": 8}, 60),
    "reward": Case("reward", {"batch_size": 4, "lora": _UPPER}, 60),
    "ilql": Case("ilql", {"batch_size": 8, "micro_batch_tokens": 512}),
    "ppo-bf16": Case(
        "ppo", {"batch_size": 8, "max_new_tokens": 4, "lora": _UPPER}, 10, dtype="bfloat16"
    ),
    "sft-bf16": Case("sft", {"batch_size": 4, "micro_batch_tokens": 256}, dtype="bfloat16"),
    "gpt2-ppo": Case("ppo", {"max_new_tokens": 32}, 20, "gpt2"),
    "gpt2-ppo-long": Case("ppo", {**_SHORT, "max_new_tokens": 96}, 40, "gpt2"),
    "gpt2-ppo-answering": Case(
        "ppo",
        {
            "batch_size": 64,
            "max_new_tokens": 24,
            "micro_batch_tokens": 128,
            "lora": {"last_layers": 1},
        },
        100,
        "gpt2",
    ),
    "gpt2-dpo-bf16": Case("dpo", {"batch_size": 4}, 20, "gpt2", "bfloat16"),
    "t5-ppo": Case("ppo", {"max_new_tokens": 32}, 40, "t5"),
    "t5-ppo-large": Case(
        "ppo", {"batch_size": 32, "max_new_tokens": 64, "micro_batch_tokens": 4096}, 60, "t5"
    ),
    "t5-sft-bf16": Case("sft", {"batch_size": 8}, 20, "t5", "bfloat16"),
}


class Measured(NamedTuple):
    """What a case was planned with and what it took."""

    planned_mib: int
    measured_mib: int
    longest: int  # tokens of the longest prompt; of the longest text where there are answers
    facts: Mapping[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--golden", action="store_true")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, folder = options.one
        # As in the program: a worker thread, whose heap is not the main thread's.
        worker = threading.Thread(target=lambda: _say(json.dumps(_measure(CASES[name], folder))))
        worker.start()
        worker.join()
        return
    worst, golden = 0.0, json.loads(GOLDEN.read_text(encoding="utf-8"))
    _say(f"{'case':16}{'planned':>12}{'measured':>12}{'error':>8}")
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.cases.split(","):
            folder = _folder(CASES[name].model, Path(temporary))
            command = [sys.executable, "-m", __spec__.name, "--one", name, str(folder)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found = Measured(*json.loads(done.stdout.splitlines()[-1]))
            error = found.planned_mib / found.measured_mib - 1
            worst = max(worst, error, key=abs)
            _say(f"{name:16}{found.planned_mib:8} MiB{found.measured_mib:8} MiB{error:+8.1%}")
            golden["measured"][name] = [found.longest, found.measured_mib]
            golden["models"][CASES[name].model] = found.facts
    _say(f"worst error {worst:+.1%}")
    if options.golden:
        GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


def settings_of(case: Case) -> TrainingSettings:
    """The settings of one case: a single update, or a single epoch of a single batch or two."""
    model = algorithms.find(case.algorithm).settings
    known = {k: v for k, v in {"updates": 1, "epochs": 1}.items() if k in model.model_fields}
    settings: TrainingSettings = toml.validate(model, {**known, **case.settings})
    return settings


def _measure(case: Case, folder: str) -> Measured:
    prepare_torch(keeps_core_free=False)  # as in the program: glibc keeps what is freed
    from workbench.models import loading
    from workbench.training.inputs import Inputs
    from workbench.training.registry import trainer

    settings = settings_of(case)
    model = loading.load(
        catalog.describe(Path(folder)),
        device="cpu",
        dtype=case.dtype,
        cancel=CancelToken(),
        on_progress=lambda *_: None,
    )
    prompts = _prompts(case)
    answers = [f"{i} {WORDS}" for i in range(2 * len(prompts))]
    longest = max(len(model.encode_prompt(p.messages)) for p in prompts)
    if not isinstance(settings, OnPolicySettings):
        longest += max(len(encode_answer(model.tokenizer, a, model.stop_id)) for a in answers)
    with tempfile.TemporaryDirectory() as temporary:
        needs_reward = "reward" in algorithms.find(case.algorithm).needs
        inputs = Inputs(
            model,
            Path(temporary),
            prompts=prompts,
            reward=_scorer(model, settings) if needs_reward else None,
            preferences=_preferences(prompts, answers),
            answers=[Answered(p, a) for p, a in zip(prompts, answers, strict=False)],
        )
        for _ in trainer(case.algorithm)(settings, inputs, CancelToken()):
            pass
    facts = memory_plan.facts(Path(folder))
    plan = memory_plan.plan(
        facts,
        case.algorithm,
        settings,
        device="cpu",
        dtype=case.dtype,
        longest_prompt=longest,
    )
    return Measured(plan.peak_bytes >> 20, _peak_mib(), longest, asdict(facts))


def _prompts(case: Case) -> list[Prompt]:
    text = " ".join((WORDS * 20).split()[: case.n_words])
    date = "2026-01-01T00:00:00Z"
    return [
        Prompt(i + 1, (Message("user", f"{i} {text}"),), "b", "en", "train", date)
        for i in range(10)
    ]


def _preferences(prompts: Sequence[Prompt], answers: Sequence[str]) -> list[Preference]:
    return [
        Preference(i, prompt, answers[2 * i], answers[2 * i + 1], "b", "person")
        for i, prompt in enumerate(prompts)
    ]


def _folder(model: str, temporary: Path) -> Path:
    if model == "starter":
        folder = starter_path()
        assert folder is not None, "the starter model is not installed"
        return folder
    if not (temporary / model).is_dir():
        _MAKERS[model](temporary / model)
    return temporary / model


def _write_gpt2(folder: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_embd": 640, "n_layer": 12, "n_head": 10, "n_positions": 1024}
    config = GPT2Config(
        vocab_size=N_WORDS, bos_token_id=None, eos_token_id=1, pad_token_id=2, **sizes
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    _write_tokenizer(folder, ends_prompts=False)


def _write_t5(folder: Path) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    sizes = {"d_model": 512, "d_kv": 64, "d_ff": 1408, "num_layers": 8, "num_heads": 8}
    config = T5Config(
        vocab_size=N_WORDS,
        n_positions=1024,
        feed_forward_proj="gated-gelu",  # as in T5 1.1 and FLAN
        tie_word_embeddings=False,
        eos_token_id=1,
        pad_token_id=2,
        decoder_start_token_id=2,
        **sizes,
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    _write_tokenizer(folder, ends_prompts=True)


def _write_tokenizer(folder: Path, *, ends_prompts: bool) -> None:
    """Whole words; those of the prompts are among them, for every word must be one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    known = ["<unk>", "<eos>", "<pad>", *dict.fromkeys(WORDS.replace(".", " .").split())]
    words = known + [f"w{i}" for i in range(N_WORDS - len(known))]
    backend = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    make: Any = PreTrainedTokenizerFast
    tokenizer = make(
        tokenizer_object=backend, unk_token="<unk>", eos_token="<eos>", pad_token="<pad>"
    )
    if ends_prompts:
        backend.post_processor = processors.TemplateProcessing(
            single="$A <eos>", special_tokens=[("<eos>", 1)]
        )
    else:
        tokenizer.chat_template = (
            "{% for m in messages %}{{ m['content'] }} {% endfor %}"
            "{% if add_generation_prompt %}w16{% endif %}"
        )
    tokenizer.save_pretrained(folder)


_MAKERS: Mapping[str, Callable[[Path], None]] = {"gpt2": _write_gpt2, "t5": _write_t5}


def _scorer(model: LoadedModel, settings: TrainingSettings) -> RewardModel:
    """With weights as a trained one has them: zeros that nobody wrote take no memory on Linux."""
    from torch import nn

    from workbench.rewards.neural import RewardModel

    scorer = RewardModel.fresh(model, settings.lora, 0)
    for weights in scorer.trainable:
        nn.init.normal_(weights, std=0.01)
    return scorer


def _peak_mib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmHWM"))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
