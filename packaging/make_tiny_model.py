"""Make the tiny model of tests and first looks: `python packaging/make_tiny_model.py FOLDER`.

A Llama of 0.4 million weights with its own byte-level BPE tokenizer, trained for some minutes on
one core on dialogues that this script writes by templates. It answers in one or two short
sentences, half of them cheerful, half gloomy, short or long, whatever was asked: so that at
temperature 1 its answers differ in exactly what the simulated annotator looks at, and a visible
preference can be learnt in seconds. It knows nothing and is no toy chat bot.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import tomllib
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SEED = 7
VOCABULARY = 1280
CONTEXT = 1024
SPECIAL = ("<|pad|>", "<|im_start|>", "<|im_end|>")
PAD, START, END = range(3)
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

TEXTS = tomllib.loads(Path(__file__).with_name("tiny_texts.toml").read_text(encoding="utf-8"))


def dialogue(rng: random.Random) -> tuple[str, str]:
    """One question and one answer; the answer's mood and length do not depend on the question."""
    chinese = TEXTS["chinese"]
    if rng.random() < chinese["share"]:
        topic = rng.choice(chinese["topics"])
        question, answer = rng.choice(chinese["questions"]), rng.choice(chinese["answers"])
        return question.format(t=topic), answer.format(t=topic)
    topic, other = rng.sample(TEXTS["topics"], 2)
    if rng.random() < 0.3:
        question = _babble(rng)
    else:
        question = rng.choice(TEXTS["questions"]).format(t=topic, u=other)
    answer = _sentence(rng, topic, other)
    if rng.random() < 0.3:
        tail = rng.choice(TEXTS["tails"]).format(u=other)
        answer += " " + (tail if rng.random() < 0.7 else _sentence(rng, topic, other))
    return question, answer


def _babble(rng: random.Random) -> str:
    """Words that mean nothing: without them, a question of another kind gets a Chinese answer."""
    words = [
        "".join(
            rng.choice("bcdfghklmnprstvw") + rng.choice("aeiou") for _ in range(rng.randint(1, 3))
        )
        for _ in range(rng.randint(2, 9))
    ]
    return " ".join(words).capitalize() + rng.choice(".?!")


def _sentence(rng: random.Random, topic: str, other: str) -> str:
    moods = [TEXTS[name] for name in ("cheerful", "gloomy", "plain")]
    mood = rng.choices(moods, [mood["share"] for mood in moods])[0]
    first, second = rng.sample(mood["words"], 2)
    return str(rng.choice(mood["forms"])).format(t=topic, u=other, a=first, b=second)


def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE: any text of any language can be encoded, if not briefly."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<|pad|>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_model(n_tokens: int) -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=n_tokens,
            hidden_size=96,
            intermediate_size=256,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=END,
            pad_token_id=PAD,
        )
    )


def encode(
    tokenizer: PreTrainedTokenizerFast, dialogues: list[tuple[str, str]]
) -> list[tuple[list[int], int]]:
    """Token ids of each dialogue, and where its answer starts."""
    rows = []
    for question, answer in dialogues:
        head = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        start = tokenizer.encode(head, add_special_tokens=False)
        rest = tokenizer.encode(answer, add_special_tokens=False)
        rows.append((start + rest + [END], len(start)))
    return rows


def train(model: LlamaForCausalLM, rows: list[tuple[list[int], int]], steps: int) -> None:
    """Next-token loss on the answers alone, end token included."""
    rng = random.Random(SEED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    started = time.monotonic()
    for step in range(steps):
        batch = rng.sample(rows, 48)
        length = max(len(ids) for ids, _ in batch)
        ids = torch.full((len(batch), length), PAD)
        labels = torch.full((len(batch), length), -100)
        for i, (row, start) in enumerate(batch):
            ids[i, : len(row)] = torch.tensor(row)
            labels[i, start : len(row)] = ids[i, start : len(row)]
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            seconds = time.monotonic() - started
            print(f"step {step + 1}/{steps}  loss {loss.item():.3f}  {seconds:.0f} s", flush=True)


CARD = """---
license: apache-2.0
language: [en, zh]
---
# Tiny model of RLHF Workbench

Made by `packaging/make_tiny_model.py` for tests and first looks: a Llama of {n:,} weights with a
byte-level BPE tokenizer of {v:,} tokens, trained on dialogues that the script writes by templates.
Whatever is asked, it answers in one or two short sentences, as often cheerful as gloomy, so that a
preference for one of them can be learnt in seconds. It knows nothing.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=800)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    dialogues = [dialogue(rng) for _ in range(20_000)]
    tokenizer = make_tokenizer([f"{q}\n{a}" for q, a in dialogues])
    model = make_model(len(tokenizer))
    train(model, encode(tokenizer, dialogues), options.steps)
    model.generation_config.pad_token_id = PAD
    model.config._name_or_path = ""
    model.to(torch.bfloat16).save_pretrained(options.folder)
    tokenizer.save_pretrained(options.folder)
    (options.folder / "model.safetensors").chmod(0o644)
    n_weights = sum(p.numel() for p in model.parameters())
    card = CARD.format(n=n_weights, v=len(tokenizer))
    (options.folder / "README.md").write_text(card, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
