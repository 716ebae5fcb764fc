"""A job for TRL 1.16: `trl.yaml`, the script that starts it, and what of the settings it keeps.

Names, defaults and meanings are those of trl 1.16.0 (`trl/trainer/*_config.py`, `model_config.py`)
and of transformers' TrainingArguments. Its LoRA dropout is 0.05 unless told otherwise, and PyYAML
reads 1e-05 as text: a number needs its point.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workbench.app.handover.peers import NO_NETWORK, Batches, Plan, Translation, batches, carried

VERSION = "1.16.0"
CONFIG = "trl.yaml"
SCRIPT = "train_trl.sh"
# TRL computes in bf16 unless told otherwise, and transformers refuses that without a card.
ON_PROCESSOR = "--use_cpu True --bf16 False"

_NO_VALUES = (
    "TRL has no algorithm that learns the values of tokens. Train with the worker of this program."
)
_COMMANDS: Mapping[str, tuple[str, str]] = {
    "sft": ("sft", ""),
    "reward": ("reward", ""),
    "dpo": ("dpo", ""),
    "kto": ("kto", ""),
    "rloo": ("rloo", ""),
    "grpo": ("grpo", ""),
    "ppo": (
        "rloo",
        "TRL has no PPO any more. Its RLOO comes nearest: the same clipped policy gradient, but "
        "the baseline is the mean score of the other answers to the prompt, not a value network.",
    ),
    "a2c": (
        "rloo",
        "TRL has no A2C. Its RLOO comes nearest: a policy gradient whose baseline is the mean "
        "score of the other answers to the prompt, not a value network.",
    ),
    "reinforce": (
        "rloo",
        "TRL has no plain REINFORCE. Its RLOO is REINFORCE with the mean score of the other "
        "answers to the prompt as baseline.",
    ),
    "online-dpo": (
        "rloo",
        "TRL's command line has no online DPO. Its RLOO learns from the same prompts and reward.",
    ),
    "ilql": ("", _NO_VALUES),
    "sarsa": ("", _NO_VALUES),
    "soft-q": ("", _NO_VALUES),
}
_ALL = {
    "learning_rate": "learning_rate",
    "lr_schedule": "lr_scheduler_type",
    "max_grad_norm": "max_grad_norm",
    "adam_eps": "adam_epsilon",
    "seed": "seed",
    "lora.r": "lora_r",
    "lora.alpha": "lora_alpha",
    "lora.target_modules": "lora_target_modules",
}
_OFFLINE = {"epochs": "num_train_epochs", "max_length": "max_length"}
_ON_POLICY = {
    "temperature": "temperature",
    "max_new_tokens": "max_completion_length",
    "kl_coef": "beta",
    "clip_range": "epsilon",
    "clip_range_high": "epsilon_high",
}
_NAMES: Mapping[str, Mapping[str, str]] = {
    "sft": _OFFLINE,
    "reward": {**_OFFLINE, "centering": "center_rewards_coefficient"},
    "dpo": {**_OFFLINE, "beta": "beta", "kind": "loss_type"},
    "kto": {
        **_OFFLINE,
        "beta": "beta",
        "desirable_weight": "desirable_weight",
        "undesirable_weight": "undesirable_weight",
    },
    "rloo": {
        **_ON_POLICY,
        "whiten_advantages": "normalize_advantages",
    },
    "grpo": {**_ON_POLICY, "aggregation": "loss_type", "scale_by_std": "scale_rewards"},
}
_CONVERT: Mapping[str, Callable[[Any], Any]] = {
    "lora.target_modules": lambda names: names.split(","),
    "kind": lambda kind: [kind],
    "aggregation": {"answer": "grpo", "token": "dapo", "fixed_length": "dr_grpo"}.get,
    "scale_by_std": lambda is_scaled: "group" if is_scaled else "none",
    # What is off at 0 here is absent there.
    "clip_range_high": lambda high: high or None,
}
_DATA: Mapping[str, tuple[str, Sequence[str]]] = {
    "sft": ("answers", ("prompt", "completion")),
    "reward": ("preferences", ("prompt", "chosen", "rejected")),
    "dpo": ("preferences", ("prompt", "chosen", "rejected")),
    "kto": ("feedback", ("prompt", "completion", "label")),
    "rloo": ("prompts", ("prompt",)),
    "grpo": ("prompts", ("prompt",)),
}
_SAME: Mapping[str, Mapping[str, Any]] = {
    "rloo": {"kl_in": "reward", "kl_estimator": "k1", "reward_at": "end", "gamma": 1.0},
    "grpo": {"kl_in": "loss", "kl_estimator": "k3", "reward_at": "end", "gamma": 1.0},
}
_IN_REWARD = ("score_clip", "missing_eos_penalty", "missing_eos_rule")
_REASONS = {
    "heldout_share": "TRL measures on a data set of its own; all pairs are in the training file.",
    "lora.last_layers": "TRL's command line adapts all layers.",
    "normalise_scores": "The baseline takes the shift out; the scale stays as it is.",
    "n_samples": "log_completions prints answers instead.",
    "label_smoothing": "TRL's sigmoid loss takes no smoothing, and its robust loss is another.",
    "baseline": "The baseline is the mean score of the other answers to the prompt.",
    "kind": "RLOO learns from scores, not from which of two answers is better.",
}


def translate(plan: Plan) -> Translation:
    """How TRL does this plan."""
    command, remark = _COMMANDS.get(plan.algorithm, ("", f"TRL has no {plan.algorithm}."))
    if plan.is_encoder_decoder:
        command, remark = "", "TRL's trainers take decoder-only models. Train with the worker."
    if command in ("rloo", "grpo") and not plan.is_reward_network:
        command, remark = "", NO_NETWORK.format("TRL")
    if not command:
        return Translation("", remark)
    names = {**_ALL, **_NAMES[command]}
    is_on_policy = command in ("rloo", "grpo")
    values = _arguments(plan, command)
    values |= carried(plan, names, _CONVERT)
    names |= {"batch_size": "gradient_accumulation_steps", "checkpoint_every": "save_steps"}
    names["answers_from"] = f"data/{_DATA[command][0]}.jsonl"
    names["micro_batch_tokens"] = "per_device_train_batch_size"
    if is_on_policy:
        values |= _on_policy(plan, batches(plan.settings, needs_groups=True))
        names |= {"updates": "max_steps", "minibatches": "max_steps", "epochs": "num_iterations"}
        names |= {"group_size": "num_generations"}
        names |= dict.fromkeys(_IN_REWARD, "reward.py")
    else:
        values |= _steps(plan, batches(plan.settings), per_update=1)
    kept = {name: value for name, value in values.items() if value is not None}
    return Translation(command, remark, kept, names, _SAME.get(command, {}), _REASONS)


def config(plan: Plan, translation: Translation) -> str:
    """The text of `trl.yaml`."""
    file, columns = _DATA[translation.command]
    lines = [
        f"# trl {translation.command} --config {CONFIG}, in this folder; made for trl {VERSION}.",
        "# On N devices divide gradient_accumulation_steps by N: the batch stays the same.",
        "datasets:",
        "  - path: json",
        f"    data_files: data/{file}.jsonl",
        f"    columns: [{', '.join(columns)}]",
    ]
    if plan.hub_id:
        lines.append(f"model_name_or_path: {plan.hub_id}")
    if plan.revision:
        lines.append(f"model_revision: {plan.revision}")
    lines += [f"{name}: {_yaml(value)}" for name, value in translation.values.items()]
    return "\n".join([*lines, ""])


def script(plan: Plan, translation: Translation) -> str:
    """The text of `train_trl.sh`."""
    return f"""#!/bin/sh
# MODEL is a folder or a name on the Hub. Arguments go to TRL: sh {SCRIPT} --max_steps 1
set -eu
cd "$(dirname "$0")"
MODEL="{plan.model_default}"
export MODEL
exec trl {translation.command} --config {CONFIG} --model_name_or_path "$MODEL" "$@"
"""


def _arguments(plan: Plan, command: str) -> dict[str, Any]:
    values: dict[str, Any] = {
        "use_peft": True,
        "lora_dropout": 0.0,
        "weight_decay": 0.0,
        "output_dir": "trl_output",
        "logging_steps": 1,
        "report_to": "none",
    }
    if command == "reward":
        values |= {"lora_task_type": "SEQ_CLS", "lora_modules_to_save": ["score"]}
    if command in ("rloo", "grpo") and plan.has_reward_model:
        values["reward_funcs"] = ["reward.score"]
    return values


def _steps(plan: Plan, cut: Batches, per_update: int) -> dict[str, Any]:
    every = plan.settings.checkpoint_every * per_update
    return {
        "per_device_train_batch_size": cut.at_once,
        "gradient_accumulation_steps": cut.accumulation,
        "save_strategy": "steps" if every else "no",
        "save_steps": every or None,
    }


def _on_policy(plan: Plan, cut: Batches) -> dict[str, Any]:
    """One generation per update: its answers are cut into steps and gone through several times."""
    per_update = cut.batch // cut.step * cut.passes
    return {
        **_steps(plan, cut, per_update),
        "num_generations": cut.group,
        "generation_batch_size": cut.batch,
        "num_iterations": cut.passes,
        "max_steps": plan.values["updates"] * per_update,
    }


def _yaml(value: Any) -> str:
    """A value in YAML's JSON form."""
    if isinstance(value, float):
        mantissa, e, exponent = repr(value).partition("e")
        return f"{mantissa}{'' if '.' in mantissa else '.0'}{e}{exponent}"
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    return json.dumps(value, ensure_ascii=False)
