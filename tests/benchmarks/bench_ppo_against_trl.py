"""PPO against TRL 1.12.0, the last release that had it: speed and peak memory of the same work.

    python -m tests.benchmarks.bench_ppo_against_trl [--mode MODE ...] [--updates 1]
        [--same-layers] [--trl-dtype DTYPE] [--folder DIR]

Work: 16 answers of exactly 32 tokens to prompts of 16 to 37 random tokens, 4 epochs of one
minibatch, LoRA r=16 on all seven linear layers, k1 KL in the reward, a reward of the reward-model
kind. Both sides get one core, one thread, the same prompts and the same micro-batch, each in a
process of its own, one after the other. One update warms up.

TRL is unmodified and set up as its documentation has it: policy with LoRA whose disabled adapter is
the reference, a full reward model, a full value model. Ours is `workbench.training.ppo.train` as
the program calls it. TRL puts LoRA on all layers unless `--same-layers` is given; it has no frozen
trunk to share, so that saves it only the backward pass below. Its `bf16` flag does nothing (it
builds its Accelerator without it); `--trl-dtype bfloat16` loads its weights in bfloat16 instead,
which is what it does on a card.

With a CUDA card the modes that begin with gpu run there, and are left out otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.benchmarks import meter, peers

TRL = "trl==1.12.0"
N_ANSWERS, SHORTEST, LONGEST, N_TOKENS = 16, 16, 37, 32
MICRO_BATCH, EPOCHS = 4, 4
LORA = {"r": 16, "alpha": 32}
TEMPERATURE, LEARNING_RATE, KL_COEF = 0.7, 3e-6, 0.05
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True, slots=True)
class Mode:
    """What is compared, and how many times faster and leaner ours has to be."""

    model: str
    dtype: str
    last_layers: int  # with LoRA on our side; 0 means all
    faster: float
    leaner: float | None
    device: str = "cpu"
    trl_dtype: str = "float32"


MODES = {
    "fp32-all-layers": Mode("starter", "float32", 0, 2.0, 3.0),
    "default": Mode("starter", "float32", 10, 4.0, 4.0),
    "bf16": Mode("starter", "bfloat16", 10, 8.0, 5.0),
    "tiny": Mode("tiny", "float32", 0, 3.0, None),
    "gpu-starter": Mode("starter", "bfloat16", 10, 5.0, None, "cuda", "bfloat16"),
    "gpu-starter-all-layers": Mode("starter", "bfloat16", 0, 5.0, None, "cuda", "bfloat16"),
    "gpu-1b": Mode("1b", "bfloat16", 5, 5.0, None, "cuda", "bfloat16"),
    "gpu-1b-all-layers": Mode("1b", "bfloat16", 0, 5.0, None, "cuda", "bfloat16"),
}


def main(argv: list[str] | None = None) -> int:
    """Measure the modes asked for and print their ratios."""
    arguments = _arguments(argv)
    if arguments.job:
        job = json.loads(Path(arguments.job).read_text(encoding="utf-8"))
        meter.pin(job["core"])
        side = {"ours": ours, "trl": trl}[job["side"]]
        meter.write_result(job["result"], side(job))
        return 0
    possible = [n for n, mode in MODES.items() if mode.device == "cpu" or peers.has_cuda()]
    arguments.folder = arguments.folder or peers.default_folder()
    for name in [n for n in arguments.mode or possible if n in possible]:
        compare(name, arguments)
    return 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--mode", nargs="+", choices=tuple(MODES), help="default: all possible")
    parser.add_argument("--updates", type=int, default=1, help="timed ones, after one warm-up")
    parser.add_argument("--same-layers", action="store_true", help="TRL's LoRA where ours is")
    parser.add_argument("--trl-dtype", default="", help="of TRL's weights; default: the mode's")
    parser.add_argument("--only", choices=("ours", "trl"), help="measure one side, no ratio")
    parser.add_argument("--core", type=int, default=0, help="the core that both sides run on")
    parser.add_argument("--folder", type=Path, help="of environments and models")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def compare(name: str, arguments: argparse.Namespace) -> None:
    """Run both sides of a mode and print figures, settings and ratios."""
    from tests.benchmarks import subjects

    mode = MODES[name]
    job = {
        "model": str(subjects.model_folder(mode.model, arguments.folder)),
        "prompts": subjects.random_prompts(
            N_ANSWERS, SHORTEST, LONGEST, subjects.vocabulary(mode.model), seed=0
        ),
        "device": mode.device,
        "core": arguments.core,
        "n_updates": arguments.updates,
    }
    sides = {}
    if arguments.only != "trl":
        mine = {"side": "ours", "dtype": mode.dtype, "last_layers": mode.last_layers, **job}
        sides["ours"] = _run(sys.executable, json.dumps(mine))
        _tell(name, "ours", sides["ours"])
    if arguments.only != "ours":
        last_layers = mode.last_layers if arguments.same_layers else 0
        dtype = arguments.trl_dtype or mode.trl_dtype
        theirs = {"side": "trl", "dtype": dtype, "last_layers": last_layers, **job}
        python = peers.python_of(TRL, arguments.folder)
        sides[TRL] = _run(str(python), json.dumps(theirs))
        _tell(name, TRL, sides[TRL])
    columns = [{**side["settings"], **peers.figures_of(side)} for side in sides.values()]
    print(f"\n{name}\n{peers.beside(list(sides), columns)}")  # noqa: T201
    if len(sides) == 2:
        print(ratios(mode, sides["ours"], sides[TRL]))  # noqa: T201


@cache
def _run(python: str, job: str) -> dict[str, Any]:
    """One side; modes that need the same run of TRL share it."""
    return peers.run_side(Path(python), "tests.benchmarks.bench_ppo_against_trl", json.loads(job))


def _tell(mode: str, side: str, figures: dict[str, Any]) -> None:
    print(json.dumps({"mode": mode, "side": side, **figures}), flush=True)  # noqa: T201


def ratios(mode: Mode, our: dict[str, Any], their: dict[str, Any]) -> str:
    """How many times faster and leaner ours is."""
    faster = our["samples_per_second"] / their["samples_per_second"]
    lines = [peers.verdict("samples per second", faster, mode.faster)]
    leaner = their["peak_gib"] / our["peak_gib"]
    if mode.leaner:
        lines.append(peers.verdict("times less peak memory", leaner, mode.leaner))
    else:
        lines.append(f"times less peak memory: {leaner:.2f}x (no bar)")
    return "\n".join(lines)


def ours(job: dict[str, Any]) -> dict[str, Any]:
    """Our side, by the generator that the program runs."""
    from workbench.app.workspace import prepare_torch

    prepare_torch(keeps_core_free=False)
    import torch

    from tests.benchmarks.ours import load_for_ids, prompts_of_ids, reward_model, with_clock
    from workbench.cancel import CancelToken
    from workbench.config.lora import LoraSettings
    from workbench.config.ppo import PPOSettings
    from workbench.events import Step
    from workbench.training import ppo
    from workbench.training.inputs import Inputs

    watch = meter.Meter(job["device"], n_warmup=1)
    with_clock(watch)
    model = load_for_ids(job["model"], job["device"], job["dtype"])
    lora = LoraSettings(**LORA, last_layers=job["last_layers"])
    settings = PPOSettings(
        updates=1 + job["n_updates"],
        batch_size=N_ANSWERS,
        minibatches=1,
        micro_batch_tokens=MICRO_BATCH * (LONGEST + N_TOKENS),
        epochs=EPOCHS,
        learning_rate=LEARNING_RATE,
        adam_eps=1e-8,
        kl_coef=KL_COEF,
        temperature=TEMPERATURE,
        max_new_tokens=N_TOKENS,
        checkpoint_every=0,
        n_samples=0,
        lora=lora,
    )
    with tempfile.TemporaryDirectory() as folder:
        inputs = Inputs(
            model,
            Path(folder),
            prompts=prompts_of_ids(job["prompts"]),
            reward=reward_model(model, lora),
        )
        watch.mark()
        for event in ppo.train(settings, inputs, CancelToken()):
            if isinstance(event, Step):
                for metric, seconds in event.metrics.items():
                    if metric.startswith("time/"):
                        watch.add(metric.removeprefix("time/"), seconds)
                watch.mark()
    return {
        **watch.report(N_ANSWERS),
        "settings": {
            **_shared_settings(job),
            "micro-batch": f"{settings.micro_batch_tokens} tokens",
            "reference": "base without adapter",
            "reward model": "LoRA and head on the same base",
            "value": "head on the policy's states",
            "millions of weights held": _millions(model.model),
            "torch": torch.__version__,
        },
    }


def trl(job: dict[str, Any]) -> dict[str, Any]:
    """TRL's side, unmodified but for clocks around its functions; runs in its own environment."""
    import datasets
    import torch
    from peft import LoraConfig
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
        TrainerCallback,
    )
    from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

    watch = meter.Meter(job["device"], n_warmup=1)
    ppo_trainer.batch_generation = watch.timed("generate", ppo_trainer.batch_generation)
    ppo_trainer.get_reward = watch.timed("score", ppo_trainer.get_reward)
    plain_forward = ppo_trainer.forward
    scoring_forward = watch.timed("score", plain_forward)
    ppo_trainer.forward = lambda *args: (
        plain_forward(*args) if torch.is_grad_enabled() else scoring_forward(*args)
    )

    class Marks(TrainerCallback):
        def on_train_begin(self, *_args: Any, **_kwargs: Any) -> None:
            watch.mark()

        def on_step_end(self, *_args: Any, **_kwargs: Any) -> None:
            watch.mark()

    dtype = getattr(torch, job["dtype"])
    tokenizer = AutoTokenizer.from_pretrained(job["model"], padding_side="left")
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0)
    policy = AutoModelForCausalLM.from_pretrained(job["model"], dtype=dtype)
    value, reward = (
        AutoModelForSequenceClassification.from_pretrained(job["model"], num_labels=1, dtype=dtype)
        for _ in range(2)
    )
    n_layers = policy.config.num_hidden_layers
    layers = list(range(n_layers - job["last_layers"], n_layers)) if job["last_layers"] else None
    with tempfile.TemporaryDirectory() as folder:
        trainer = PPOTrainer(
            args=PPOConfig(
                output_dir=folder,
                per_device_train_batch_size=MICRO_BATCH,
                gradient_accumulation_steps=N_ANSWERS // MICRO_BATCH,
                num_mini_batches=1,
                num_ppo_epochs=EPOCHS,
                total_episodes=N_ANSWERS * (1 + job["n_updates"]),
                response_length=N_TOKENS,
                temperature=TEMPERATURE,
                kl_coef=KL_COEF,
                learning_rate=LEARNING_RATE,
                num_sample_generations=0,
                report_to="none",
                save_strategy="no",
                use_cpu=job["device"] == "cpu",
                bf16=job["dtype"] == "bfloat16",
            ),
            processing_class=tokenizer,
            model=policy,
            ref_model=None,
            reward_model=reward,
            value_model=value,
            train_dataset=datasets.Dataset.from_dict({"input_ids": job["prompts"]}),
            peft_config=LoraConfig(
                r=LORA["r"],
                lora_alpha=LORA["alpha"],
                lora_dropout=0.0,
                target_modules=MODULES,
                layers_to_transform=layers,
                task_type="CAUSAL_LM",
            ),
            callbacks=[Marks],
        )
        trainer.train()
    figures = watch.report(N_ANSWERS)
    phases = figures["phases"]
    phases["optimise"] = round(figures["seconds_per_step"] - sum(phases.values()), 4)
    held = sum(float(_millions(m)) for m in (trainer.policy_model, value, reward))
    return {
        **figures,
        "settings": {
            **_shared_settings(job),
            "micro-batch": f"{MICRO_BATCH} answers",
            "reference": "policy with its adapter disabled",
            "reward model": "full model",
            "value": "full model, trained",
            "millions of weights held": f"{held:.0f}",
            "torch": torch.__version__,
        },
    }


def _millions(model: Any) -> str:
    return f"{sum(p.numel() for p in model.parameters()) / 1e6:.0f}"


def _shared_settings(job: dict[str, Any]) -> dict[str, object]:
    return {
        "model": Path(job["model"]).name,
        "device": job["device"],
        "weights": job["dtype"],
        "LoRA": f"r={LORA['r']} alpha={LORA['alpha']} all-linear",
        "LoRA layers": f"last {job['last_layers']}" if job["last_layers"] else "all",
        "answers x tokens": f"{N_ANSWERS} x ({LONGEST} + {N_TOKENS})",
        "epochs x minibatches": f"{EPOCHS} x 1",
        "temperature": TEMPERATURE,
        "learning rate": LEARNING_RATE,
        "KL": f"{KL_COEF} k1 in the reward",
    }


if __name__ == "__main__":
    sys.exit(main())
