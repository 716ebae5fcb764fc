"""What benchmarks work on: model folders, and prompts of random tokens.

    python -m tests.benchmarks.subjects NAME FOLDER

writes a model of random weights; a process of its own, since a benchmark's parent holds no torch.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workbench import places
from workbench.models.starter import starter_path

# Architectures with random weights. tiny: where the program's own overhead shows; 1b: the shape of
# Llama 3.2 1B with the starter's vocabulary, whose tokenizer is at hand.
RANDOM: dict[str, dict[str, int]] = {
    "tiny": {
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "vocab_size": 2048,
    },
    "1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 49152,
    },
}
STARTER_VOCABULARY = 49152
_SPECIALS = 17  # the starter's first ids; prompts leave them out

_WORD = re.compile("Ġ[a-z]{3,}")


def model_folder(name: str, cache: Path) -> Path:
    """Folder of `starter`, or of a random model, which is written when it is not there yet.

    Raises:
        FileNotFoundError: The starter model was never fetched.
    """
    if name == "starter":
        folder = starter_path()
        if folder is None:
            raise FileNotFoundError("Fetch the starter model: rlhf-workbench models starter")
        return folder
    folder = cache / f"model-{name}"
    if not (folder / "tokenizer.json").is_file():
        command = [sys.executable, "-m", "tests.benchmarks.subjects", name, str(folder)]
        subprocess.run(command, check=True)
    return folder


def vocabulary(name: str) -> int:
    """Number of token ids of a subject."""
    return STARTER_VOCABULARY if name == "starter" else RANDOM[name]["vocab_size"]


def random_prompts(n: int, shortest: int, longest: int, vocab_size: int, seed: int) -> list[Any]:
    """`n` lists of random token ids, of even lengths from `shortest` to `longest`, both met."""
    draw = random.Random(seed)
    widths = even_lengths(n, shortest, longest)
    return [[draw.randrange(_SPECIALS, vocab_size) for _ in range(width)] for width in widths]


def even_lengths(n: int, shortest: int, longest: int) -> list[int]:
    """`n` lengths from the shortest to the longest, both met."""
    return [shortest + (longest - shortest) * i // max(n - 1, 1) for i in range(n)]


def word_texts(folder: str, n_tokens: Sequence[int], seed: int) -> list[str]:
    """Texts of random words, each of exactly so many tokens wherever it stands.

    A word with its space before it is one token whatever follows, so prompt and answer have the
    same ids apart and joined: trainers that want text and trainers that want ids get equal work.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    words = [
        word.replace("Ġ", " ")
        for word in sorted(tokenizer.get_vocab())
        if _WORD.fullmatch(word) and len(tokenizer.encode(word.replace("Ġ", " ")).ids) == 1
    ]
    draw = random.Random(seed)
    texts = ["".join(draw.choice(words) for _ in range(n)) for n in n_tokens]
    assert [len(tokenizer.encode(text).ids) for text in texts] == list(n_tokens)
    return texts


def _write(name: str, folder: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        **RANDOM[name],
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
        max_position_embeddings=4096,
        dtype="bfloat16" if name == "1b" else "float32",
    )
    dtype = torch.bfloat16 if name == "1b" else torch.float32
    LlamaForCausalLM(config).to(dtype).save_pretrained(folder)
    starter = starter_path()
    tokenizer = starter if name == "1b" and starter else places.resource_dir() / "tiny"
    for file in ("tokenizer_config.json", "chat_template.jinja", "tokenizer.json"):
        shutil.copy(tokenizer / file, folder / file)


if __name__ == "__main__":
    _write(sys.argv[1], Path(sys.argv[2]))
