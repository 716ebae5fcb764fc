"""Makes trl-1.16.0.json: what TRL's own loss code says about small fixed tensors.

TRL is no dependency of ours, so it runs once, apart, and its numbers stay. In an environment with
this project's dependencies:

    python -m venv --system-site-packages trl-env
    trl-env/bin/pip install --no-deps trl==1.16.0
    trl-env/bin/pip install datasets           # TRL's trainers import it
    trl-env/bin/python tests/golden/make_trl.py

The trainers' methods `_compute_loss` and `_generate_and_score_completions` are called as they are,
on an object that has just the attributes that they read. The model is a stand-in that returns
log-probabilities out of a random generator, in float64; what the methods make of them is TRL's.
Made with trl 1.16.0, torch 2.13.0 and transformers 5.23.0; nothing here reads our own maths.
"""

from __future__ import annotations

import json
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.kto_trainer import KTOTrainer
from trl.trainer.reward_trainer import RewardTrainer
from trl.trainer.rloo_trainer import RLOOTrainer

PROMPT, WIDTH = 2, 5
BETA, CLIP_LOW, CLIP_HIGH = 0.3, 0.2, 0.28


class Stub(SimpleNamespace):
    """Attributes that a trainer's method reads; no trainer."""

    def __init__(self, **attributes: Any) -> None:
        def same(x: Any, **_: Any) -> Any:
            return x

        accelerator = SimpleNamespace(
            device=torch.device("cpu"), num_processes=1, process_index=0, sync_gradients=True,
            gather=same, gather_for_metrics=same, reduce=same, unwrap_model=same,
        )  # fmt: skip
        model = torch.nn.Module()  # in training
        model.is_gradient_checkpointing = False
        super().__init__(
            accelerator=accelerator,
            model=model,
            args=SimpleNamespace(gradient_checkpointing_kwargs=None, report_to=[]),
            aux_loss_enabled=False,
            _metrics={"train": defaultdict(list)},
            _total_train_tokens=0,
            _tp_size=1,
        )
        self.__dict__.update(attributes)


def main() -> None:
    PartialState()
    golden = {
        "made_with": {name: version(name) for name in ("trl", "torch", "transformers")},
        "dpo": dpo(np.random.default_rng(1)),
        "kto": kto(np.random.default_rng(2)),
        "advantages": advantages(np.random.default_rng(3)),
        "grpo": grpo(np.random.default_rng(4)),
        "rloo": rloo(np.random.default_rng(5)),
        "reward_model": reward_model(np.random.default_rng(6)),
    }
    target = Path(__file__).with_name(f"trl-{version('trl')}.json")
    target.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


def ragged(n: int) -> Tensor:
    """Lengths 5, 1, 3, 4, 2, 5 … of right-padded answers."""
    lengths = torch.tensor(([5, 1, 3, 4, 2] * n)[:n])
    return torch.arange(WIDTH) < lengths.unsqueeze(1)


def wide(x: Any) -> Tensor:
    return torch.tensor(x, dtype=torch.float64)


def leaf(x: Any) -> Tensor:
    return wide(x).requires_grad_()


def language_model(logps: dict[int, Tensor]) -> Any:
    """Answers with the log-probabilities of whichever batch starts with this token id."""

    def forward(input_ids: Tensor, labels: Tensor, **_: Any) -> SimpleNamespace:
        response = logps[int(input_ids[0, 0])]
        prompt = response.new_zeros(len(response), PROMPT - 1)
        log_probs = torch.cat([prompt, response], 1) * (labels[:, 1:] != -100)
        return SimpleNamespace(
            log_probs=log_probs,
            entropy=log_probs.detach(),
            mean_logits=log_probs.detach(),
            is_top1=log_probs.detach() > 0,
        )

    return forward


def with_prompt(is_response: Tensor) -> Tensor:
    return torch.cat([torch.zeros(len(is_response), PROMPT, dtype=torch.long), is_response], 1)


def dpo(rng: np.random.Generator) -> dict[str, Any]:
    is_response = ragged(6)  # three chosen answers, three rejected ones
    logps, ref = rng.normal(-2.0, 1.0, (6, WIDTH)), rng.normal(-2.0, 1.0, (6, WIDTH))
    ids = torch.ones(6, PROMPT + WIDTH, dtype=torch.long)
    out: dict[str, Any] = {
        "beta": BETA,
        "is_response": is_response.tolist(),
        "logps": logps.tolist(),
        "ref_logps": ref.tolist(),
    }
    for kind in ("sigmoid", "ipo", "hinge"):
        policy = leaf(logps)
        trainer = Stub(
            ld_alpha=None, precompute_ref_logps=False, f_divergence_type="reverse_kl", beta=BETA,
            loss_types=[kind], loss_weights=[1.0], label_smoothing=0.0, use_weighting=False,
            ref_model=language_model({1: wide(ref)}),
        )  # fmt: skip
        inputs = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "completion_mask": with_prompt(is_response),
        }
        loss = DPOTrainer._compute_loss(trainer, language_model({1: policy}), inputs, False)
        loss.backward()
        metrics = trainer._metrics["train"]
        out[kind] = {
            "mean_loss": loss.item(),
            "grad": policy.grad.tolist(),
            "mean_rewards": [metrics["rewards/chosen"][-1], metrics["rewards/rejected"][-1]],
        }
    return out


def kto(rng: np.random.Generator) -> dict[str, Any]:
    is_response, is_mismatched = ragged(5), ragged(5).roll(1, 0)
    names = ("logps", "ref_logps", "mismatched_logps", "mismatched_ref_logps")
    tensors = {name: rng.normal(-2.0, 1.0, (5, WIDTH)) for name in names}
    tensors["mismatched_logps"] += 0.8  # a reference point above 0
    labels = torch.tensor([True, False, True, True, False])
    ids = torch.ones(5, PROMPT + WIDTH, dtype=torch.long)
    out: dict[str, Any] = {
        "beta": BETA,
        "desirable_weight": 1.2,
        "undesirable_weight": 0.7,
        "is_desirable": labels.tolist(),
        "is_response": is_response.tolist(),
        "is_mismatched_response": is_mismatched.tolist(),
        **{name: x.tolist() for name, x in tensors.items()},
    }
    for name, shift in (("above", 0.0), ("clamped", -5.0)):
        policy = leaf(tensors["logps"])
        mismatched = wide(tensors["mismatched_logps"] + shift)
        trainer = Stub(
            calculate_KL=True, precompute_ref_logps=False, loss_type="kto", beta=BETA,
            desirable_weight=1.2, undesirable_weight=0.7,
            ref_model=language_model(
                {1: wide(tensors["ref_logps"]), 2: wide(tensors["mismatched_ref_logps"])}
            ),
        )  # fmt: skip
        trainer._compute_kl_logps = lambda model, batch, t=trainer: KTOTrainer._compute_kl_logps(
            t, model, batch
        )
        inputs = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "completion_mask": with_prompt(is_response),
            "KL_input_ids": 2 * ids,
            "KL_attention_mask": torch.ones_like(ids),
            "KL_completion_mask": with_prompt(is_mismatched),
            "label": labels,
        }
        model = language_model({1: policy, 2: mismatched})
        loss = KTOTrainer._compute_loss(trainer, model, inputs, False)
        loss.backward()
        out[name] = {
            "mismatched_shift": shift,
            "mean_loss": loss.item(),
            "grad": policy.grad.tolist(),
            "reference_point": trainer._metrics["train"]["kl"][-1],
        }
    return out


def rollout_stub(scores: Tensor, **attributes: Any) -> Stub:
    """A trainer whose generation is done and whose rewards are these."""
    n = len(scores)
    logps = torch.zeros(n, 1, dtype=torch.float64)
    stub = Stub(
        _generate=None,
        _tokenizer=SimpleNamespace(pad_token_id=0),
        pad_to_multiple_of=None,
        mask_truncated_completions=False,
        _get_per_token_logps_and_entropies=lambda *_, **__: (logps, None, None),
        _calculate_rewards=lambda *_: scores.unsqueeze(1),
        reward_weights=torch.ones(1),
        reward_func_names=["score"],
        beta=0.0,
        num_generations=3,
        _logs={k: [] for k in ("prompt", "completion", "advantages")}
        | {"rewards": defaultdict(list)},
        _pending_extra_logs={},
        _pending_metrics={},
        log_multimodal=False,
        num_iterations=1,
        use_vllm=False,
        tools=None,
        environments=None,
        environment_factories=None,
        **attributes,
    )
    stub.args.per_device_train_batch_size = n
    stub.args.steps_per_generation = stub.args.gradient_accumulation_steps = 1
    return stub


def advantages(rng: np.random.Generator) -> dict[str, Any]:
    # Groups of 3, since TRL's n/(n − 1) is in float32 and only then exact; the last group agrees.
    scores = wide([*rng.normal(size=9), 0.3, 0.3, 0.3])
    prompts = [{"prompt": "p"} for _ in scores]
    tokens = [[1] for _ in scores]
    out: dict[str, Any] = {"group_size": 3, "scores": scores.tolist()}

    trainer = rollout_stub(scores, normalize_advantages=False, reward_clip_range=None)
    trainer._generate = lambda _: (tokens, tokens, prompts)
    made = RLOOTrainer._generate_and_score_completions(trainer, prompts)
    out["rloo"] = made["advantages"].tolist()

    for name, scale in (("grpo", "group"), ("dr_grpo", "none")):
        trainer = rollout_stub(
            scores, scale_rewards=scale, multi_objective_aggregation="sum_then_normalize"
        )
        trainer._generate = lambda _: (tokens, tokens, None, prompts, None, {}, None, None)
        made = GRPOTrainer._generate_and_score_completions(trainer, prompts)
        out[name] = made["advantages"].tolist()
    return out


def policy_inputs(rng: np.random.Generator) -> dict[str, Any]:
    old = rng.normal(-2.0, 0.5, (5, WIDTH))
    return {
        "clip_low": CLIP_LOW,
        "clip_high": CLIP_HIGH,
        "is_response": ragged(5).tolist(),
        "old_logps": old.tolist(),
        "logps": (old + rng.normal(0.0, 0.4, old.shape)).tolist(),
        "ref_logps": (old + rng.normal(0.0, 0.4, old.shape)).tolist(),
        "advantages": [1.5, -0.7, 0.4, -1.1, 0.9],
    }


def policy_batch(given: dict[str, Any]) -> dict[str, Tensor]:
    n = len(given["advantages"])
    prompt = torch.ones(n, PROMPT, dtype=torch.long)
    mask = torch.tensor(given["is_response"]).long()
    return {
        "prompt_ids": prompt,
        "prompt_mask": prompt,
        "completion_ids": torch.ones_like(mask),
        "completion_mask": mask,
        "advantages": wide(given["advantages"]),
        "num_items_in_batch": mask.sum(),
    }


def grpo(rng: np.random.Generator) -> dict[str, Any]:
    """Three aggregations, with and without dual clip, with KL as a corrected loss."""
    given = policy_inputs(rng)
    out: dict[str, Any] = {**given, "kl_coef": BETA, "max_tokens": 7, "cases": []}
    for loss_type in ("grpo", "bnpo", "dr_grpo", "dapo"):
        for dual_clip, beta in ((None, 0.0), (1.4, 0.0), (None, BETA)):
            logps = leaf(given["logps"])
            measured = (logps, torch.zeros_like(logps), None)
            trainer = Stub(
                top_entropy_quantile=1.0, off_policy_mask_threshold=None, beta=beta,
                importance_sampling_level="token", epsilon_low=CLIP_LOW, epsilon_high=CLIP_HIGH,
                loss_type=loss_type, use_vllm=False, max_completion_length=7,
                current_gradient_accumulation_steps=1, _entropy_bonus_enabled=False,
                _get_per_token_logps_and_entropies=lambda *_, made=measured, **__: made,
            )  # fmt: skip
            trainer.args.delta = dual_clip
            trainer.args.use_bias_correction_kl = True
            trainer.args.steps_per_generation = 1
            batch = policy_batch(given)
            batch["old_per_token_logps"] = wide(given["old_logps"])
            batch["ref_per_token_logps"] = wide(given["ref_logps"])
            loss = GRPOTrainer._compute_loss(trainer, None, batch)
            loss.backward()
            out["cases"].append(
                {
                    "loss_type": loss_type,
                    "dual_clip": dual_clip or 0.0,
                    "kl_coef": beta,
                    "loss": loss.item(),
                    "grad": logps.grad.tolist(),
                    "clip_share": trainer._metrics["train"]["clip_ratio/region_mean"][-1],
                }
            )
    return out


def rloo(rng: np.random.Generator) -> dict[str, Any]:
    given = policy_inputs(rng)
    logps = leaf(given["logps"])
    trainer = Stub(
        epsilon_low=CLIP_LOW, epsilon_high=CLIP_HIGH,
        _get_per_token_logps_and_entropies=lambda *_, **__: (logps, torch.zeros_like(logps), None),
    )  # fmt: skip
    batch = policy_batch(given)
    batch["old_logps"] = (wide(given["old_logps"]) * batch["completion_mask"]).sum(1)
    loss = RLOOTrainer._compute_loss(trainer, None, batch)
    loss.backward()
    share = trainer._metrics["train"]["clip_ratio/region_mean"][-1]
    return {**given, "mean_loss": loss.item(), "grad": logps.grad.tolist(), "clip_share": share}


def reward_model(rng: np.random.Generator) -> dict[str, Any]:
    values, margin = rng.normal(size=6), rng.uniform(0.0, 1.0, 3)
    scores = leaf(values)
    trainer = Stub()
    trainer.args.center_rewards_coefficient = 0.01
    inputs = {
        "input_ids": torch.ones(6, 1, dtype=torch.long),
        "attention_mask": torch.ones(6, 1, dtype=torch.long),
        "margin": wide(margin),
    }
    loss = RewardTrainer.compute_loss(
        trainer, lambda **_: SimpleNamespace(logits=scores.unsqueeze(1)), inputs
    )
    loss.backward()
    return {
        "centering": 0.01,
        "margin": margin.tolist(),
        "scores": values.tolist(),
        "mean_loss": loss.item(),
        "grad": scores.grad.tolist(),
    }


if __name__ == "__main__":
    main()
