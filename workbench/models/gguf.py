"""Convert a GGUF file once into a folder of safetensors that loads in seconds.

transformers needs half a minute to take the weights of a small GGUF file apart, and would need
it at every start. The folder is kept under a name that holds the file's digest.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

from workbench import places
from workbench.cancel import CancelToken
from workbench.data.folders import atomic_folder
from workbench.errors import UserError
from workbench.events import Progress
from workbench.models import starter
from workbench.models.folder import ORIGIN
from workbench.models.headers import BrokenHeaderError, GgufHeader, full_digest, read_gguf

log = logging.getLogger(__name__)

# Tokens that models keep for padding, most telling first. A model whose pad token is its end
# token would learn never to end wherever padding is masked out.
_PAD_NAMES = (
    "<pad>", "<|pad|>", "[PAD]", "<|finetune_right_pad_id|>", "<|endoftext|>", "<unk>",
)  # fmt: skip
_N_PHASES = 4


def convert(path: Path, cancel: CancelToken) -> Generator[Progress, None, Path]:
    """Convert `path`, or find the folder that an earlier call made of the same content.

    Returns:
        The model folder: dense bfloat16 weights, tokenizer, a card with source and licence.

    Raises:
        UserError: It is no GGUF file, or of an architecture that transformers cannot take apart.
        EnvironmentProblem: The disk is full.
        Cancelled: The token was cancelled; nothing is left behind.
    """
    try:
        header = read_gguf(path)
    except (BrokenHeaderError, OSError) as error:
        raise UserError(
            f"{path.name} cannot be read: {error}.", "Download the file again."
        ) from error
    yield Progress(0, _N_PHASES, f"Checking {path.name}")
    sha256 = full_digest(path, lambda _: cancel.raise_if_cancelled())
    target = places.models_dir() / _folder_name(path, sha256)
    if (target / "config.json").is_file():
        return target
    # torch and transformers: not needed when the folder is there already.
    from workbench.models.weights import weights_progress

    with atomic_folder(target) as folder:
        yield Progress(1, _N_PHASES, "Taking the weights apart (half a minute, once)")
        model = _load_weights(path, cancel)
        yield Progress(2, _N_PHASES, "Converting the tokenizer")
        tokenizer = _load_tokenizer(path)
        cancel.raise_if_cancelled()
        _set_padding(model, tokenizer)
        yield Progress(3, _N_PHASES, f"Writing {target.name}")
        with weights_progress(cancel, lambda *_: None):
            model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        _write_origin(folder, path, header, sha256)
        cancel.raise_if_cancelled()
    log.info("converted %s into %s", path, target)
    return target


def _folder_name(path: Path, sha256: str) -> str:
    if sha256 == starter.GGUF_SHA256:
        return starter.NAME
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', path.stem)}-{sha256[:8]}"


def _load_weights(path: Path, cancel: CancelToken) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    from workbench.models.weights import weights_progress

    try:
        with weights_progress(cancel, lambda *_: None):
            # Four-bit weights times a scale keep their meaning in bfloat16, and the model was
            # trained in it; float32 would double the file and not the knowledge.
            model: Any = AutoModelForCausalLM.from_pretrained(
                path.parent, gguf_file=path.name, dtype=torch.bfloat16
            )
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        raise UserError(
            f"{path.name} cannot be converted: {error}",
            "Choose the safetensors version of the model.",
        ) from error
    # transformers counts these dense weights as quantised still, and refuses to save them.
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    return model


def _load_tokenizer(path: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        raise UserError(
            f"The tokenizer of {path.name} cannot be converted: {error}",
            "Choose the safetensors version of the model.",
        ) from error


def _set_padding(model: Any, tokenizer: Any) -> None:
    """Choose a pad token that ends nothing, where the vocabulary has one, and write it down."""
    stops = {tokenizer.eos_token_id, model.config.eos_token_id}
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id in stops:
        vocabulary = tokenizer.get_vocab()
        for name in _PAD_NAMES:
            if vocabulary.get(name, tokenizer.eos_token_id) not in stops:
                tokenizer.pad_token = name
                break
    if tokenizer.pad_token_id is not None:
        model.config.pad_token_id = tokenizer.pad_token_id
        model.generation_config.pad_token_id = tokenizer.pad_token_id


def _write_origin(folder: Path, path: Path, header: GgufHeader, sha256: str) -> None:
    """The model card for people, and the same facts for the catalogue."""
    is_starter = sha256 == starter.GGUF_SHA256
    hub_id = starter.HUB_ID if is_starter else header.text("general.source.huggingface.repository")
    licence = header.text("general.license")
    origin = {"file": path.name, "sha256": sha256, "licence": licence, "hub_id": hub_id}
    (folder / ORIGIN).write_text(json.dumps(origin, indent=1) + "\n", encoding="utf-8")
    front = [f"license: {licence}"] * bool(licence) + [f"base_model: {hub_id}"] * bool(hub_id)
    source = (
        f"{path.name}, from the Python package {starter.REQUIREMENT}" if is_starter else path.name
    )
    card = [
        "---",
        *front,
        "---",
        f"# {header.text('general.name') or path.stem}",
        "",
        f"Converted from `{source}` by RLHF Workbench: the quantised weights were written out as "
        "dense bfloat16, nothing was trained.",
        "",
        f"- SHA-256 of the GGUF file: `{sha256}`",
        f"- Licence, as the file states it: {licence or 'not stated'}",
        f"- Original model: {hub_id or 'not stated'}",
    ]
    (folder / "README.md").write_text("\n".join(card) + "\n", encoding="utf-8")
