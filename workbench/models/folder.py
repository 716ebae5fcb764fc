"""What a Hugging Face model folder says of itself, and why it could not be loaded."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.models.headers import BrokenHeaderError, read_safetensors, sampled_digest

log = logging.getLogger(__name__)

# Written into folders that this program made out of another file.
ORIGIN = "origin.json"
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model",
    "sentencepiece.bpe.model", "tekken.json", "merges.txt",
)  # fmt: skip
_TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json")
_SETTINGS_FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_INDEX = "model.safetensors.index.json"
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx", "seq_length")
_NOT_WRITING = re.compile(
    r"(For(SequenceClassification|MaskedLM|TokenClassification|QuestionAnswering|MultipleChoice|"
    r"ImageClassification|Pretraining|CTC)|EncoderModel)$"
)
_LICENCES = (
    ("apache license", "apache-2.0"),
    ("mit license", "mit"),
    ("llama 3", "llama3"),
    ("gemma terms", "gemma"),
    ("bsd 3-clause", "bsd-3-clause"),
)
_AGAIN = "Download it again; other models are not touched."


@dataclass(frozen=True, slots=True)
class Folder:
    """The JSON files and weight heads of one model folder."""

    path: Path
    config: Mapping[str, Any]
    tokenizer_config: Mapping[str, Any]
    origin: Mapping[str, Any]
    n_parameters: int
    size_bytes: int
    dtype: str
    problems: tuple[str, ...]

    @property
    def text_config(self) -> Mapping[str, Any]:
        """The part of the config about text, for models that also see or hear."""
        inner = self.config.get("text_config")
        return inner if isinstance(inner, dict) else self.config

    @property
    def architecture(self) -> str:
        """The model class, such as LlamaForCausalLM; the kind when the class is not named."""
        names = self.config.get("architectures")
        if isinstance(names, list) and names:
            return str(names[0])
        return str(self.config.get("model_type", ""))

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether the model reads with one stack and writes with another, as T5 does."""
        return bool(self.config.get("is_encoder_decoder", False))

    @property
    def has_chat_template(self) -> bool:
        """Whether the tokenizer knows how to write a dialogue."""
        return bool(self.tokenizer_config.get("chat_template")) or any(
            (self.path / name).is_file() for name in _TEMPLATE_FILES
        )

    @property
    def context_length(self) -> int:
        """Longest prompt plus answer in tokens; 2048 when the config does not say."""
        for key in _CONTEXT_KEYS:
            for config in (self.text_config, self.config):
                value = config.get(key)
                if isinstance(value, int) and value > 0:
                    return value
        return 2048

    @property
    def special_tokens(self) -> dict[str, str]:
        """Special tokens by role: bos, eos, pad, unk."""
        more = _read_json(self.path / "special_tokens_map.json")
        found: dict[str, str] = {}
        for role in ("bos", "eos", "pad", "unk"):
            token = self.tokenizer_config.get(f"{role}_token") or more.get(f"{role}_token")
            text = token.get("content") if isinstance(token, dict) else token
            if isinstance(text, str):
                found[role] = text
        return found

    @property
    def licence(self) -> str:
        """From what the folder's origin, its card or its licence text say; empty when nothing."""
        if stated := str(self.origin.get("licence", "")):
            return stated
        card = _read_text(self.path / "README.md", 20_000)
        head = re.match(r"---\s*\n(.*?)\n---", card, re.DOTALL)
        if head and (line := re.search(r"^license:[ \t]*(\S.*)$", head[1], re.MULTILINE)):
            return line[1].strip("\"' ")
        for name in ("LICENSE", "LICENSE.txt", "LICENSE.md"):
            text = _read_text(self.path / name, 400).lower()
            for words, licence in _LICENCES:
                if words in text:
                    return licence
        return ""

    def digest(self) -> str:
        """One SHA-256 of config, tokenizer and (sampled) weights: equal for every copy."""
        digest = hashlib.sha256()
        small = ("config.json", *TOKENIZER_FILES, *_TEMPLATE_FILES, *_SETTINGS_FILES)
        for name in sorted(small):
            if (self.path / name).is_file():
                content = hashlib.sha256((self.path / name).read_bytes()).hexdigest()
                digest.update(f"{name} {content}\n".encode())
        for weights in sorted(self.path.glob("*.safetensors")):
            digest.update(f"{weights.name} {sampled_digest(weights)}\n".encode())
        return digest.hexdigest()


def read(path: Path) -> Folder:
    """Read everything but the weights themselves; whatever is wrong becomes a sentence."""
    config = _read_json(path / "config.json")
    weights = sorted(path.glob("*.safetensors"))
    n_parameters, dtype, broken = _weights(path, weights)
    problems = [*_config_problems(path, config), *broken, *_missing_weights(path, weights)]
    if not any((path / name).is_file() for name in TOKENIZER_FILES):
        problems.append(
            "It has no tokenizer (tokenizer.json or tokenizer.model). "
            "Copy the tokenizer files of the same model into the folder."
        )
    return Folder(
        path=path,
        config=config,
        tokenizer_config=_read_json(path / "tokenizer_config.json"),
        origin=_read_json(path / ORIGIN),
        n_parameters=n_parameters,
        size_bytes=sum(file.stat().st_size for file in weights),
        dtype=dtype,
        problems=tuple(problems),
    )


def _weights(path: Path, files: list[Path]) -> tuple[int, str, list[str]]:
    n_parameters, dtype, names = 0, "", set[str]()
    problems = []
    for file in files:
        try:
            weights = read_safetensors(file)
        except BrokenHeaderError as error:
            problems.append(f"{file.name} is broken: {error}. {_AGAIN}")
            continue
        n_parameters += weights.n_parameters
        dtype = dtype or weights.dtype
        names |= weights.tensor_names
    index = _read_json(path / _INDEX).get("weight_map")
    if isinstance(index, dict) and not problems:
        present = {file.name for file in files}
        for shard in sorted({str(name) for name in index.values()} - present):
            problems.append(f"{shard} is missing: only a part of the weights is here. {_AGAIN}")
    return n_parameters, dtype, problems


def _missing_weights(path: Path, files: list[Path]) -> Iterator[str]:
    if files or (path / _INDEX).is_file():
        return
    pickles = sorted([*path.glob("*.bin"), *path.glob("*.pt"), *path.glob("*.pth")])
    if pickles:
        yield (
            f"Its weights are pickle files only ({pickles[0].name}), and opening such a file can "
            "run any program hidden in it. Only safetensors is loaded: get the safetensors "
            "version of the model, most have one on the Hub."
        )
    else:
        yield f"It has no weights (model.safetensors). {_AGAIN}"


def _config_problems(path: Path, config: Mapping[str, Any]) -> Iterator[str]:
    if not config:
        yield _config_missing(path)
        return
    names = config.get("architectures")
    architecture = str(names[0]) if isinstance(names, list) and names else ""
    if _NOT_WRITING.search(architecture):
        yield f"{architecture} does not write text. Choose a language model."
    kind = str(config.get("model_type", ""))
    if config.get("auto_map") and not is_known_to_transformers(kind):
        yield (
            "It needs program code that comes with the model, and such code is not run here. "
            "Choose a model that transformers supports by itself."
        )
    yield from _quantisation_problem(config.get("quantization_config"))


def _quantisation_problem(quantisation: object) -> Iterator[str]:
    if not isinstance(quantisation, dict):
        return
    method = str(quantisation.get("quant_method", "an unknown method"))
    if method == "bitsandbytes" and importlib.util.find_spec("bitsandbytes"):
        return
    yield f"Its weights are quantised ({method}). Choose the version that is not quantised."


def _config_missing(path: Path) -> str:
    if (path / "adapter_config.json").is_file():
        return (
            "It is an adapter, not a model. Choose the folder of the base model that it belongs to."
        )
    if (path / "config.json").is_file():
        return f"Its config.json cannot be read. {_AGAIN}"
    return (
        "It has no config.json, so it is no Hugging Face model folder. "
        "Choose the folder that holds config.json and model.safetensors."
    )


def is_known_to_transformers(kind: str) -> bool:
    """Whether transformers has this model type itself; asked of its files, not by importing it."""
    spec = importlib.util.find_spec("transformers")
    if not kind or spec is None or not spec.submodule_search_locations:
        return False
    root = Path(spec.submodule_search_locations[0]) / "models"
    return (root / kind.replace("-", "_")).is_dir()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read: %s", path, error)
        return {}
    return content if isinstance(content, dict) else {}


def _read_text(path: Path, n_characters: int) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(n_characters)
    except OSError:
        return ""
