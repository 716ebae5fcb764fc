"""Reward training, DPO, RLOO and GRPO against TRL 1.16.0: speed and peak memory of the same work.

    python -m tests.benchmarks.bench_preference_training_against_trl [--task TASK ...] [--steps 2]
        [--model starter] [--device cpu] [--folder DIR]

Work per step: 16 texts of 16 to 32 tokens of prompt and 32 of answer, LoRA r=16 on all seven linear
layers, fp32 (bf16 on a card). For reward training and DPO they are 8 pairs whose answers are 31
tokens and the end token; for RLOO and GRPO 4 answers to each of 4 prompts, exactly 32 tokens long,
scored by a reward model. Each side has one core and a process of its own, and one step warms up.
Our DPO computes the reference once before it begins; that time is shared out over the steps of a
single epoch, where it saves nothing.

TRL runs as it comes in both of its settings: gradient checkpointing on, its default, which is its
leaner one, and off, which is its faster one. Ours is the generator that the program runs, with
micro-batches of 256 tokens. Compared are our speed with TRL's faster setting and our memory with
its leaner one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks import meter, peers

TRL = "trl==1.16.0"
N_PAIRS, SHORTEST, LONGEST, N_TOKENS = 8, 16, 32, 32
N_PROMPTS, GROUP = 4, 4
LORA = {"r": 16, "alpha": 32}
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TASKS = ("reward", "dpo", "rloo", "grpo")
FASTER = 1.5
# A stop token that no answer draws, so that answers have their full length; the starter has it
# for the names of code repositories.
_RARE = 3


def main(argv: list[str] | None = None) -> int:
    """Measure the tasks asked for and print their ratios."""
    arguments = _arguments(argv)
    if arguments.job:
        job = json.loads(Path(arguments.job).read_text(encoding="utf-8"))
        meter.pin(job["core"])
        side = {"ours": ours, "trl": trl}[job["side"]]
        meter.write_result(job["result"], side(job))
        return 0
    arguments.folder = arguments.folder or peers.default_folder()
    for task in arguments.task:
        compare(task, arguments)
    return 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--task", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--steps", type=int, default=2, help="timed ones, after one warm-up")
    parser.add_argument("--model", choices=("starter", "tiny", "1b"), default="starter")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--micro-batch-tokens", type=int, default=256, help="of our side")
    parser.add_argument("--only", choices=("ours", "trl"), help="measure one side, no ratio")
    parser.add_argument("--core", type=int, default=0, help="the core that both sides run on")
    parser.add_argument("--folder", type=Path, help="of environments and models")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def compare(task: str, arguments: argparse.Namespace) -> None:
    """Run ours and both settings of TRL; print figures, settings and ratios."""
    from tests.benchmarks import subjects

    folder = str(subjects.model_folder(arguments.model, arguments.folder))
    n_prompts = N_PAIRS if task in ("reward", "dpo") else N_PROMPTS
    lengths = subjects.even_lengths(n_prompts, SHORTEST, LONGEST)
    n_answers = N_PAIRS * (1 + arguments.steps)
    job = {
        "task": task,
        "model": folder,
        "dtype": "bfloat16" if arguments.device == "cuda" else "float32",
        "device": arguments.device,
        "core": arguments.core,
        "micro_batch_tokens": arguments.micro_batch_tokens,
        "n_steps": arguments.steps,
        "prompts": subjects.word_texts(folder, lengths, seed=0),
        "chosen": subjects.word_texts(folder, [N_TOKENS - 1] * n_answers, seed=1),
        "rejected": subjects.word_texts(folder, [N_TOKENS - 1] * n_answers, seed=2),
    }
    jobs: dict[str, dict[str, Any]] = {}
    if arguments.only != "trl":
        jobs["ours"] = {**job, "side": "ours"}
    if arguments.only != "ours":
        jobs[f"{TRL} lean"] = {**job, "side": "trl", "is_checkpointing": True}
        jobs[f"{TRL} fast"] = {**job, "side": "trl", "is_checkpointing": False}
    sides = {}
    for name, its in jobs.items():
        is_ours = its["side"] == "ours"
        python = Path(sys.executable) if is_ours else peers.python_of(TRL, arguments.folder)
        module = "tests.benchmarks.bench_preference_training_against_trl"
        sides[name] = peers.run_side(python, module, its)
        print(json.dumps({"task": task, "side": name, **sides[name]}), flush=True)  # noqa: T201
    columns = [{**side["settings"], **peers.figures_of(side)} for side in sides.values()]
    print(f"\n{task}\n{peers.beside(list(sides), columns)}")  # noqa: T201
    if len(sides) == len(("ours", "lean", "fast")):
        print(ratios(*sides.values()))  # noqa: T201


def ratios(our: dict[str, Any], lean: dict[str, Any], fast: dict[str, Any]) -> str:
    """How much faster ours is than TRL's faster setting, and leaner than its leaner one."""
    speed = max(lean["samples_per_second"], fast["samples_per_second"])
    peak = min(lean["peak_gib"], fast["peak_gib"])
    return "\n".join(
        [
            peers.verdict("samples per second", our["samples_per_second"] / speed, FASTER),
            peers.verdict("times less peak memory", peak / our["peak_gib"], 1.0),
        ]
    )


def ours(job: dict[str, Any]) -> dict[str, Any]:
    """Our side, by the generators that the program runs."""
    from workbench.app.workspace import prepare_torch

    prepare_torch(keeps_core_free=False)
    import torch

    from tests.benchmarks.ours import load_for_ids, reward_model, with_clock
    from workbench.cancel import CancelToken
    from workbench.events import Evaluated, Step
    from workbench.training import registry
    from workbench.training.inputs import Inputs

    watch = meter.Meter(job["device"], n_warmup=1)
    with_clock(watch)
    model = load_for_ids(job["model"], job["device"], job["dtype"])
    settings = _our_settings(job)
    is_online = job["task"] in ("rloo", "grpo")
    with tempfile.TemporaryDirectory() as folder:
        inputs = Inputs(
            model,
            Path(folder),
            prompts=_prompts(job, model.tokenizer, N_PROMPTS) if is_online else (),
            reward=reward_model(model, settings.lora) if is_online else None,
            preferences=() if is_online else _preferences(job, model.tokenizer),
        )
        began = watch.seconds()
        if is_online:
            watch.mark()
        for event in registry.trainer(job["task"])(settings, inputs, CancelToken()):
            if isinstance(event, Evaluated) and not watch.marks:
                watch.mark()  # measured on the pair that is held out; the steps begin
            if isinstance(event, Step):
                for metric, seconds in event.metrics.items():
                    if metric.startswith("time/"):
                        watch.add(metric.removeprefix("time/"), seconds)
                watch.mark()
    if job["task"] == "dpo":
        watch.share_out("reference", watch.marks[0] - began)
    return {
        **watch.report(N_PROMPTS * GROUP if is_online else N_PAIRS),
        "settings": {
            **_shared_settings(job),
            "checkpointing": "no",
            "micro-batch": f"{job['micro_batch_tokens']} tokens",
            "torch": torch.__version__,
        },
    }


def _our_settings(job: dict[str, Any]) -> Any:
    from workbench.config.dpo import DPOSettings
    from workbench.config.grpo import GRPOSettings
    from workbench.config.lora import LoraSettings
    from workbench.config.reward_model import RewardModelSettings
    from workbench.config.rloo import RLOOSettings

    common = {
        "micro_batch_tokens": job["micro_batch_tokens"],
        "checkpoint_every": 0,
        "lora": LoraSettings(**LORA),
    }
    offline = {"batch_size": N_PAIRS, "epochs": 1, "heldout_share": 1e-3, **common}
    online = {
        "updates": 1 + job["n_steps"],
        "batch_size": N_PROMPTS * GROUP,
        "group_size": GROUP,
        "max_new_tokens": N_TOKENS,
        "kl_coef": 0.05,
        "n_samples": 0,
        **common,
    }
    return {
        "reward": lambda: RewardModelSettings(**offline),
        "dpo": lambda: DPOSettings(**offline),
        "rloo": lambda: RLOOSettings(**online),
        "grpo": lambda: GRPOSettings(**online),
    }[job["task"]]()


def _prompts(job: dict[str, Any], tokenizer: Any, n: int) -> list[Any]:
    from tests.benchmarks.ours import prompts_of_ids

    texts = [job["prompts"][i % len(job["prompts"])] for i in range(n)]
    return prompts_of_ids([tokenizer.encode(text) for text in texts])


def _preferences(job: dict[str, Any], tokenizer: Any) -> list[Any]:
    """The pairs of all steps on prompts of their own, and one pair more that is held out."""
    from workbench.data.records import Preference

    prompts = _prompts(job, tokenizer, len(job["chosen"]) + 1)
    chosen, rejected = [*job["chosen"], " good"], [*job["rejected"], " bad"]
    return [
        Preference(i, prompt, good, bad, "test", "person")
        for i, (prompt, good, bad) in enumerate(zip(prompts, chosen, rejected, strict=True))
    ]


def trl(job: dict[str, Any]) -> dict[str, Any]:
    """One setting of TRL, unmodified; runs in its own environment."""
    import torch
    from peft import LoraConfig
    from transformers import AutoTokenizer, TrainerCallback

    watch = meter.Meter(job["device"], n_warmup=1)

    class Marks(TrainerCallback):
        def on_train_begin(self, *_args: Any, **_kwargs: Any) -> None:
            watch.mark()

        def on_step_end(self, *_args: Any, **_kwargs: Any) -> None:
            watch.mark()

    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0)
    is_online = job["task"] in ("rloo", "grpo")
    n_rows = N_PROMPTS * GROUP if is_online else N_PAIRS
    with tempfile.TemporaryDirectory() as folder:
        common = {
            "output_dir": folder,
            "per_device_train_batch_size": n_rows,
            "max_steps": 1 + job["n_steps"],
            "gradient_checkpointing": job["is_checkpointing"],
            "bf16": job["dtype"] == "bfloat16",
            "use_cpu": job["device"] == "cpu",
            "report_to": "none",
            "save_strategy": "no",
        }
        make = {"reward": _reward_trainer, "dpo": _dpo_trainer}.get(job["task"], _online_trainer)
        lora = LoraConfig(
            r=LORA["r"],
            lora_alpha=LORA["alpha"],
            lora_dropout=0.0,
            target_modules=MODULES,
            task_type="SEQ_CLS" if job["task"] == "reward" else "CAUSAL_LM",
            modules_to_save=["score"] if job["task"] == "reward" else None,
        )
        trainer = make(job, common, tokenizer, {"peft_config": lora, "callbacks": [Marks]})
        trainer.train()
    return {
        **watch.report(n_rows),
        "settings": {
            **_shared_settings(job),
            "checkpointing": "yes" if job["is_checkpointing"] else "no",
            "micro-batch": f"{n_rows}" + ("" if is_online else " pairs"),
            "torch": torch.__version__,
        },
    }


def _reward_trainer(job: dict[str, Any], common: dict[str, Any], tokenizer: Any, more: Any) -> Any:
    import datasets
    import torch
    from transformers import AutoModelForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    columns: dict[str, list[Any]] = {"chosen_ids": [], "rejected_ids": []}
    for side in ("chosen", "rejected"):
        for i, answer in enumerate(job[side]):
            ids = tokenizer.encode(job["prompts"][i % N_PAIRS] + answer)
            columns[f"{side}_ids"].append([*ids, tokenizer.eos_token_id])
    model = AutoModelForSequenceClassification.from_pretrained(
        job["model"], num_labels=1, dtype=getattr(torch, job["dtype"])
    )
    return RewardTrainer(
        model=model,
        args=RewardConfig(**common),
        train_dataset=datasets.Dataset.from_dict(columns),
        processing_class=tokenizer,
        **more,
    )


def _dpo_trainer(job: dict[str, Any], common: dict[str, Any], tokenizer: Any, more: Any) -> Any:
    import datasets
    import torch
    from transformers import AutoModelForCausalLM
    from trl import DPOConfig, DPOTrainer

    n = len(job["chosen"])
    columns = {
        "prompt": [job["prompts"][i % N_PAIRS] for i in range(n)],
        "chosen": job["chosen"],
        "rejected": job["rejected"],
    }
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=getattr(torch, job["dtype"]))
    return DPOTrainer(
        model=model,
        args=DPOConfig(**common),
        train_dataset=datasets.Dataset.from_dict(columns),
        processing_class=tokenizer,
        **more,
    )


def _online_trainer(job: dict[str, Any], common: dict[str, Any], tokenizer: Any, more: Any) -> Any:
    import datasets
    import torch
    import trl as library
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    dtype = getattr(torch, job["dtype"])
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(_RARE)
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=dtype)
    model.generation_config.eos_token_id = _RARE
    reward = AutoModelForSequenceClassification.from_pretrained(
        job["model"], num_labels=1, dtype=dtype
    )
    name = job["task"].upper()
    config = getattr(library, f"{name}Config")(
        **common, num_generations=GROUP, max_completion_length=N_TOKENS, beta=0.05
    )
    return getattr(library, f"{name}Trainer")(
        model=model,
        reward_funcs=reward,
        args=config,
        train_dataset=datasets.Dataset.from_dict({"prompt": job["prompts"]}),
        processing_class=tokenizer,
        reward_processing_classes=tokenizer,
        **more,
    )


def _shared_settings(job: dict[str, Any]) -> dict[str, object]:
    is_online = job["task"] in ("rloo", "grpo")
    what = f"{N_PROMPTS} prompts x {GROUP} answers" if is_online else f"{N_PAIRS} pairs"
    return {
        "model": Path(job["model"]).name,
        "device": job["device"],
        "weights": job["dtype"],
        "LoRA": f"r={LORA['r']} alpha={LORA['alpha']} all-linear, all layers",
        "batch": what,
        "tokens": f"{SHORTEST} to {LONGEST} + {N_TOKENS}",
    }


if __name__ == "__main__":
    sys.exit(main())
