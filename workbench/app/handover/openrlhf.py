"""A job for OpenRLHF 0.11: the script that starts it, and what of the settings it keeps.

Flags are those that the argument parsers of openrlhf 0.11.2 know (`openrlhf/cli/train_*.py`): they
are dotted since 0.10, and its README still names some that the parsers refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

from workbench.app.handover.peers import NO_NETWORK, Plan, Translation, batches, carried

VERSION = "0.11.2"
SCRIPT = "openrlhf.sh"
RL_MODULE = "train_ppo_ray"

_MOST_AT_ONCE = 8

_NO_COUNTERPART = "OpenRLHF has no {}. Train with the worker of this program."
_MODULES: Mapping[str, tuple[str, str]] = {
    "sft": ("train_sft", ""),
    "reward": ("train_rm", ""),
    "dpo": ("train_dpo", ""),
    "ppo": (RL_MODULE, ""),
    "a2c": (
        RL_MODULE,
        "OpenRLHF has no A2C: this is its PPO with one pass over each batch, which is the same "
        "as long as no ratio is clipped.",
    ),
    "reinforce": (RL_MODULE, ""),
    "rloo": (RL_MODULE, ""),
    "grpo": (RL_MODULE, ""),
    "kto": ("", _NO_COUNTERPART.format("KTO")),
    "online-dpo": ("", _NO_COUNTERPART.format("online DPO")),
    "ilql": ("", _NO_COUNTERPART.format("implicit Q-learning")),
    "sarsa": ("", _NO_COUNTERPART.format("SARSA")),
    "soft-q": ("", _NO_COUNTERPART.format("soft Q-learning")),
}
_ESTIMATORS = {"ppo": "gae", "a2c": "gae", "rloo": "rloo"}
# By the baseline of REINFORCE. `reinforce` is REINFORCE++; with GAE's λ at 1 the value network is
# a learned baseline; `flash_reinforce` takes the mean of the batch off.
_BASELINES = {
    "none": "reinforce",
    "learned": "gae",
    "batch_mean": "flash_reinforce",
    "moving_average": "flash_reinforce",
}
_WITH_GROUPS = ("rloo", "group_norm", "dr_grpo")
_WHITENED = ("gae", "reinforce")
_ALL = {
    "seed": "train.seed",
    "lora.r": "ds.lora.rank",
    "lora.alpha": "ds.lora.alpha",
    "lora.target_modules": "ds.lora.target_modules",
    "checkpoint_every": "ckpt.save_steps",
}
_OFFLINE = {
    **_ALL,
    "learning_rate": "adam.lr",
    "adam_eps": "adam.eps",
    "lr_schedule": "lr_scheduler",
    "max_grad_norm": "max_norm",
    "epochs": "train.max_epochs",
    "max_length": "data.max_len",
    "batch_size": "train.batch_size",
}
_NAMES: Mapping[str, Mapping[str, str]] = {
    "train_sft": _OFFLINE,
    "train_rm": _OFFLINE,
    "train_dpo": {**_OFFLINE, "beta": "model.beta", "label_smoothing": "model.label_smoothing"},
    RL_MODULE: {
        **_ALL,
        "learning_rate": "actor.adam.lr",
        "adam_eps": "actor.adam.eps",
        "lr_schedule": "actor.lr_scheduler",
        "max_grad_norm": "actor.max_norm",
        "temperature": "rollout.temperature",
        "max_new_tokens": "rollout.max_new_tokens",
        "epochs": "train.max_epochs",
        "kl_coef": "algo.kl.init_coef",
        "kl_estimator": "algo.kl.estimator",
        "kl_horizon": "algo.kl.horizon",
        "gamma": "algo.advantage.gamma",
        "gae_lambda": "algo.advantage.lambd",
        "clip_range": "actor.eps_clip",
        "dual_clip": "actor.dual_clip",
        "value_clip_range": "critic.value_clip",
        "entropy_coef": "actor.entropy_coef",
        "score_clip": "reward.clip_range",
        "aggregation": "actor.loss_agg_mode",
    },
}
_DATA: Mapping[str, Mapping[str, str]] = {
    "train_sft": {
        "data.dataset": "data/answers.jsonl",
        "data.input_key": "prompt",
        "data.output_key": "completion",
    },
    "train_rm": {
        "data.dataset": "data/preferences.jsonl",
        "data.prompt_key": "prompt",
        "data.chosen_key": "chosen",
        "data.rejected_key": "rejected",
    },
    "train_dpo": {
        "data.dataset": "data/preferences.jsonl",
        "data.prompt_key": "prompt",
        "data.chosen_key": "chosen",
        "data.rejected_key": "rejected",
    },
    RL_MODULE: {"data.prompt_dataset": "data/prompts.jsonl", "data.input_key": "prompt"},
}
_CONVERT: Mapping[str, Callable[[Any], Any]] = {
    "lora.target_modules": lambda names: names.replace(",", " "),
    "checkpoint_every": lambda every: every or -1,
    "dual_clip": lambda bound: bound or None,
    "entropy_coef": lambda weight: weight or None,
    "aggregation": {"answer": "seq-mean-token-mean", "token": "token-mean"}.get,
    # Theirs is 10 unless told otherwise. Python's parser takes -1e9 for a flag.
    "score_clip": lambda bound: f"{-bound:.4f} {bound:.4f}" if bound else "-1000000000 1000000000",
}
_REASONS = {
    "heldout_share": "OpenRLHF measures on a data set of its own; all pairs are in the file.",
    "lora.last_layers": "OpenRLHF adapts all layers.",
    "missing_eos_penalty": "OpenRLHF has a fixed score for cut answers instead "
    "(--reward.stop_properly_penalty_coef).",
    "missing_eos_rule": "OpenRLHF has a fixed score for cut answers instead "
    "(--reward.stop_properly_penalty_coef).",
    "baseline": "OpenRLHF has no moving average; the mean of the batch is taken off instead.",
    "kind": "OpenRLHF has the sigmoid and the IPO loss only; this is the sigmoid loss.",
    "aggregation": "OpenRLHF has no fixed length; this is the mean over all tokens.",
    "value_coef": "OpenRLHF trains a whole critic model with its own learning rate.",
    "value_network": "OpenRLHF trains a whole critic model.",
    "normalise_scores": "The served reward model gives plain scores; advantages are normalised.",
}


def translate(plan: Plan) -> Translation:
    """How OpenRLHF does this plan."""
    module, remark = _MODULES.get(plan.algorithm, ("", _NO_COUNTERPART.format(plan.algorithm)))
    if plan.is_encoder_decoder:
        module, remark = "", "OpenRLHF takes decoder-only models. Train with the worker."
    if module == RL_MODULE and not plan.is_reward_network:
        module, remark = "", NO_NETWORK.format("OpenRLHF")
    if not module:
        return Translation("", remark)
    names = dict(_NAMES[module])
    values: dict[str, Any] = {**_DATA[module]}
    if plan.has_chat_template:
        values["data.apply_chat_template"] = True
    values |= carried(plan, names, _CONVERT)
    values |= {"ckpt.output_dir": "openrlhf_output", "logger.logging_steps": 1}
    same: dict[str, Any] = {}
    if module == RL_MODULE:
        values |= _rollouts(plan)
        names |= _ROLLOUT_NAMES
        same = {
            "reward_at": "end",
            "whiten_advantages": values["algo.advantage.estimator"] in _WHITENED,
            "scale_by_std": values["algo.advantage.estimator"] == "group_norm",
        }
    else:
        at_once = _at_once(batches(plan.settings).step)
        values |= {"train.micro_batch_size": at_once, "lr_warmup_ratio": 0.0}
        names |= {
            "micro_batch_tokens": "train.micro_batch_size",
            "answers_from": "data/answers.jsonl",
        }
        if plan.values.get("kind") == "ipo":
            values["model.ipo_enable"] = True
            names["kind"] = "model.ipo_enable"
        same = {"kind": "sigmoid"}
    if plan.values.get("baseline") == "moving_average":
        del names["baseline"]
    if plan.values.get("aggregation") == "fixed_length":
        del names["aggregation"]
    kept = {name: value for name, value in values.items() if value not in (None, "")}
    return Translation(module, remark, kept, names, same, _REASONS)


def script(plan: Plan, translation: Translation) -> str:
    """The text of `openrlhf.sh`."""
    is_rl = translation.command == RL_MODULE
    flags = [
        f'  --{"actor" if is_rl else "model"}.model_name_or_path "$MODEL" \\',
        *(_flag(name, value) for name, value in translation.values.items()),
    ]
    start = "python -m" if is_rl else "deepspeed --module"
    return "\n".join(
        [
            "#!/bin/sh",
            f"# Made for openrlhf {VERSION}. MODEL is a folder or a name on the Hub.",
            "set -eu",
            'cd "$(dirname "$0")"',
            f'MODEL="{plan.model_default}"',
            *(_REWARD_AND_CARDS if is_rl else ()),
            f"exec {start} openrlhf.cli.{translation.command} \\",
            *flags,
            *(_ON_CARDS if is_rl else ()),
            '  "$@"',
            "",
        ]
    )


# The password in the URL is the token: OpenRLHF sends no header of its own.
_REWARD_AND_CARDS = (
    "# Where the reward model is served: rlhf-workbench serve reward prints it with its token.",
    'REWARD_URL="${REWARD_URL:?Set REWARD_URL to http://token:TOKEN@HOST:PORT/get_reward}"',
    'CARDS="${CARDS:-1}"',
)
_ON_CARDS = (
    '  --reward.remote_url "$REWARD_URL" \\',
    '  --actor.num_nodes 1 --actor.num_gpus_per_node "$CARDS" \\',
    '  --ref.num_nodes 1 --ref.num_gpus_per_node "$CARDS" \\',
    '  --critic.num_nodes 1 --critic.num_gpus_per_node "$CARDS" \\',
    '  --vllm.num_engines "$CARDS" --vllm.tensor_parallel_size 1 \\',
    "  --vllm.gpu_memory_utilization 0.5 --vllm.enable_sleep --ds.enable_sleep \\",
    "  --train.colocate_all \\",
)


_ROLLOUT_NAMES = {
    "micro_batch_tokens": "train.micro_batch_size",
    "updates": "train.num_episodes",
    "batch_size": "rollout.batch_size",
    "minibatches": "train.batch_size",
    "group_size": "rollout.n_samples_per_prompt",
    "kl_in": "algo.kl.use_loss",
    "kl_target": "algo.kl.target",
    "is_kl_adaptive": "algo.kl.target",
    "clip_range_high": "actor.eps_clip_low_high",
    "baseline": "algo.advantage.estimator",
}


def _estimator(plan: Plan) -> str:
    if plan.algorithm == "reinforce":
        return _BASELINES[plan.values["baseline"]]
    if plan.algorithm == "grpo":
        return "group_norm" if plan.values["scale_by_std"] else "dr_grpo"
    return _ESTIMATORS[plan.algorithm]


def _rollouts(plan: Plan) -> dict[str, Any]:
    """OpenRLHF counts prompts in a rollout, answers in a step, and passes over the prompts."""
    estimator, values = _estimator(plan), plan.values
    cut = batches(plan.settings, needs_groups=estimator in _WITH_GROUPS)
    n_prompts = cut.batch // cut.group
    low = values.get("clip_range", 0.2)
    return {
        "algo.advantage.estimator": estimator,
        "data.max_len": plan.context_length,
        "rollout.batch_size": n_prompts,
        "rollout.n_samples_per_prompt": cut.group,
        "rollout.micro_batch_size": _at_once(cut.batch),
        "train.batch_size": cut.step,
        "train.micro_batch_size": _at_once(cut.step),
        "train.num_episodes": ceil(values["updates"] * n_prompts / max(plan.n_prompts, 1)),
        "actor.lr_warmup_ratio": 0.0,
        "actor.eps_clip_low_high": f"{low} {high}"
        if (high := values.get("clip_range_high"))
        else None,
        "algo.kl.use_loss": True if values.get("kl_in") == "loss" else None,
        "algo.kl.target": values["kl_target"] if values.get("is_kl_adaptive") else None,
        "critic.adam.lr": values["learning_rate"] if estimator == "gae" else None,
    }


def _at_once(n: int) -> int:
    """Answers per card and pass, so that up to eight cards have a share of `n`."""
    return max(k for k in range(1, max(1, n // 8) + 1) if n % k == 0 and k <= _MOST_AT_ONCE)


def _flag(name: str, value: Any) -> str:
    return f"  --{name} \\" if value is True else f"  --{name} {value} \\"
