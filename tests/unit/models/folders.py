"""Model folders as people have them: whole, broken, half. No weights are computed."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

TOKENIZER = {"version": "1.0", "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "max_position_embeddings": 512,
}


def make(folder: Path, **config: object) -> Path:
    """A whole folder of 12 weights; `config` changes its config.json."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}))
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    settings = {"eos_token": {"content": "<end>"}, "pad_token": "<pad>", "chat_template": "{{ 1 }}"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    write_weights(folder / "model.safetensors", {"a": ([2, 4], "BF16"), "b": ([4], "F32")})
    return folder


def write_weights(path: Path, tensors: dict[str, tuple[list[int], str]]) -> None:
    """A safetensors file of zeros, written by the format's description."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (shape, dtype) in tensors.items():
        size = {"BF16": 2, "F32": 4}[dtype]
        for n in shape:
            size *= n
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


def cut(path: Path, n_bytes: int) -> None:
    """Take bytes off the end, as a broken download does."""
    path.write_bytes(path.read_bytes()[:-n_bytes])


def hub_snapshot(cache: Path, repo_id: str) -> Path:
    """A model as the Hub's client stores it: snapshots of links to blobs."""
    repository = cache / f"models--{repo_id.replace('/', '--')}"
    made = make(repository / "made")
    snapshot = repository / "snapshots" / ("f" * 40)
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("f" * 40)
    for file in made.iterdir():
        blob = repository / "blobs" / file.name.encode().hex()
        shutil.move(file, blob)
        (snapshot / file.name).symlink_to(blob)
    made.rmdir()
    return snapshot
