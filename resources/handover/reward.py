"""The reward model of this folder as a reward function for TRL: `reward_funcs: [reward.score]`.

Scores are those of the program that wrote the folder: of the token ids themselves, closed with one
stop token; clipped, and punished for an answer that was cut, as config.toml has it.
"""

import contextlib
import functools
import json
import os
import tomllib
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer, GenerationConfig

FOLDER = Path(__file__).resolve().parent
MICRO_BATCH = 8


def score(prompts, completion_ids, **_):
    """One score per completion; called by TRL's RLOO and GRPO trainers."""
    tokenizer, model, stop_ids, settings = load()
    penalty, clip = settings.get("missing_eos_penalty", 0.0), settings.get("score_clip", 0.0)
    is_replaced = settings.get("missing_eos_rule", "subtract") == "replace"
    rows, cut = [], []
    for prompt, ids in zip(prompts, completion_ids, strict=True):
        text = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
        answer = list(ids)
        is_cut = not answer or answer[-1] not in stop_ids
        rows.append(
            tokenizer.encode(text, add_special_tokens=False)
            + answer
            + [tokenizer.eos_token_id] * is_cut
        )
        cut.append(is_cut)
    scores = []
    for start in range(0, len(rows), MICRO_BATCH):
        scores += forward(model, rows[start : start + MICRO_BATCH])
    if clip:
        scores = [min(max(value, -clip), clip) for value in scores]
    return [
        (-penalty if is_replaced else value - penalty) if is_cut else value
        for value, is_cut in zip(scores, cut, strict=True)
    ]


@torch.no_grad()
def forward(model, rows):
    """The raw logit of each row. Padding is no stop token, which the model would read before."""
    width = max(map(len, rows))
    ids = [row + [model.config.pad_token_id] * (width - len(row)) for row in rows]
    mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
    logits = model(
        input_ids=torch.tensor(ids, device=model.device),
        attention_mask=torch.tensor(mask, device=model.device),
    ).logits
    return logits[:, 0].float().tolist()


@functools.cache
def load():
    """Tokenizer, reward model, stop tokens and settings; loaded at the first score."""
    job = json.loads((FOLDER / "job.json").read_text(encoding="utf-8"))
    settings = tomllib.loads((FOLDER / "config.toml").read_text(encoding="utf-8"))
    name = os.environ.get("MODEL") or job["model"]["hub_id"]
    if not name:
        raise SystemExit(f"Set MODEL to the folder of {job['model']['name']}.")
    card = os.environ.get("LOCAL_RANK", "0")
    device = f"cuda:{card}" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(name)
    base = AutoModelForSequenceClassification.from_pretrained(
        name, num_labels=1, dtype=torch.float32 if device == "cpu" else torch.bfloat16
    )
    stop_ids = stops(name, base, tokenizer)
    base.config.pad_token_id = next(i for i in range(len(stop_ids) + 1) if i not in stop_ids)
    model = PeftModel.from_pretrained(base, str(FOLDER / "reward_model")).to(device).eval()
    return tokenizer, model, stop_ids, settings


def stops(name, base, tokenizer):
    """The tokens that end an answer: of the tokenizer, the model and its generation settings."""
    found = [tokenizer.eos_token_id, base.config.get_text_config().eos_token_id]
    with contextlib.suppress(OSError):  # not every model has such settings
        found.append(GenerationConfig.from_pretrained(name).eos_token_id)
    ids = set()
    for eos in found:
        ids |= set(eos) if isinstance(eos, list) else {eos} if eos is not None else set()
    return ids
