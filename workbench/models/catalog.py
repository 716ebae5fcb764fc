"""Which models are here, what each is, and whether it can be loaded. Never imports torch."""

from __future__ import annotations

import difflib
import functools
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from workbench import places
from workbench.errors import UserError
from workbench.models import folder as model_folder
from workbench.models import memory, starter
from workbench.models.headers import BrokenHeaderError, GgufHeader, read_gguf, sampled_digest

log = logging.getLogger(__name__)

Source = Literal["starter", "tiny", "folder", "hub", "gguf"]
_HUB_SNAPSHOT = re.compile(r"^models--(?P<owner>.+?)--(?P<model>.+)$")
_SOURCE_NAMES = ("tiny", "starter")
_HEADROOM = 1.2  # activations and the tokenizer beside the weights
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model on this machine.

    Attributes:
        name: What users call it; unique in the list as far as folders have different names.
        path: Its folder, or the GGUF file.
        source: Where it comes from; gguf only for a file that is not converted.
        n_parameters: Counted in the heads of the weight files; tied weights once.
        dtype: Of the stored weights, as torch calls it.
        licence: As the model states it, such as apache-2.0; empty when it does not.
        special_tokens: Token text by role (bos, eos, pad, unk).
        context_length: Longest prompt plus answer, in tokens.
        digest: SHA-256 of config, tokenizer and sampled weights, equal for every copy.
        hub_id: Name on the Hub, for exports that must be read elsewhere; empty when unknown.
        problems: Sentences that say why it cannot be loaded; empty when it can.
        is_conversion_needed: Whether it is a GGUF file whose converted folder is not there yet.
    """

    name: str
    path: Path
    source: Source
    architecture: str
    is_encoder_decoder: bool
    n_parameters: int
    size_bytes: int
    dtype: str
    licence: str
    has_chat_template: bool
    special_tokens: Mapping[str, str]
    context_length: int
    digest: str
    hub_id: str
    problems: tuple[str, ...]
    is_conversion_needed: bool


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether the weights of a model fit into free memory, with the sentence that says so."""

    need_bytes: int
    free_bytes: int
    is_enough: bool
    sentence: str


def describe(path: Path) -> ModelInfo:
    """What a model folder or a GGUF file is.

    Raises:
        UserError: It is neither.
    """
    path = path.expanduser().absolute()
    if path.is_dir():
        return _describe_folder(path, _stamp(path))
    if path.is_file() and path.suffix.lower() == ".gguf":
        return _describe_gguf(path, _stamp(path))
    if path.exists():
        raise UserError(
            f"{path.name} is no model.",
            "Choose the folder that holds config.json and model.safetensors, or a .gguf file.",
        )
    raise UserError(f"There is no model at {path}.", "Check the path.")


def list_models(extra: Sequence[Path] = ()) -> list[ModelInfo]:
    """Every model of this machine once: shipped, converted, in the Hub's cache, and `extra`."""
    found: dict[Path, ModelInfo] = {}
    for path in (*_own_folders(), *_hub_snapshots(), *extra):
        try:
            info = describe(path)
        except UserError as error:
            log.info("not listed: %s", error)
            continue
        found.setdefault(info.path.resolve(), info)
    return list(found.values())


def find(name_or_path: str | Path, extra: Sequence[Path] = ()) -> ModelInfo:
    """A model by its name, by its source ("tiny", "starter"), by its Hub name or by its path.

    Raises:
        UserError: There is none; near names are told.
    """
    wanted = str(name_or_path)
    known = list_models(extra)
    by_name = [info for info in known if info.name == wanted]
    by_source = [info for info in known if wanted in _SOURCE_NAMES and info.source == wanted]
    by_hub = [info for info in known if wanted and info.hub_id == wanted]
    if matches := by_name + by_source + by_hub:
        return matches[0]
    path = Path(wanted).expanduser()
    if path.exists():
        return describe(path)
    near = difflib.get_close_matches(wanted, [info.name for info in known], n=3, cutoff=0.5)
    names = near or [info.name for info in known]
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Here are: {', '.join(names)}."
    raise UserError(f"There is no model named {wanted} on this machine.", hint if names else "")


def fit(info: ModelInfo, dtype_bytes: int = 4) -> Fit:
    """Whether the weights fit: into a card's memory (two bytes each) or into main memory.

    Args:
        info: The model.
        dtype_bytes: Bytes per weight in main memory; 4 is float32, which the processor uses.
    """
    cuda = memory.free_cuda_bytes()
    n_bytes = dtype_bytes if cuda is None else min(dtype_bytes, 2)
    need = int(info.n_parameters * n_bytes * _HEADROOM)
    free = memory.free_ram_bytes() if cuda is None else cuda
    where = "memory" if cuda is None else "memory on the card"
    is_enough = need <= free
    amount = f"{_size(need)} of {_size(free)} free {where}"
    if is_enough:
        sentence = f"Fits: needs about {amount}."
    else:
        sentence = f"Too large: needs about {amount}. Close other programs or choose a smaller one."
    return Fit(need, free, is_enough, sentence)


def _own_folders() -> Iterator[Path]:
    tiny = places.resource_dir() / "tiny"
    if (tiny / "config.json").is_file():
        yield tiny
    converted, gguf = starter.starter_path(), starter.starter_gguf()
    if converted is not None:
        yield converted
    elif gguf is not None:
        yield gguf
    if places.models_dir().is_dir():
        for path in sorted(places.models_dir().iterdir()):
            if not path.name.startswith(".") and (path.is_dir() or path.suffix == ".gguf"):
                yield path


def _hub_snapshots() -> Iterator[Path]:
    """The newest snapshot of each model that writes text in the Hub's cache."""
    # Takes half a second to import, and many lists are made without it.
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    cache = Path(constants.HF_HUB_CACHE)
    if not cache.is_dir() or not any(cache.glob("models--*")):
        return
    try:
        repositories = scan_cache_dir(cache).repos
    except CacheNotFound:
        return
    for repository in sorted(repositories, key=lambda repository: repository.repo_id):
        if repository.repo_type != "model":
            continue
        revisions = sorted(repository.revisions, key=lambda r: ("main" in r.refs, r.last_modified))
        if revisions and (revisions[-1].snapshot_path / "config.json").exists():
            yield revisions[-1].snapshot_path


def _stamp(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times: while they stay, the description stays."""
    files = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
    facts = ((file.name, file.stat()) for file in sorted(files))
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in facts)


@functools.lru_cache(maxsize=256)
def _describe_folder(path: Path, _stamp: object) -> ModelInfo:
    found = model_folder.read(path)
    name, source, hub_id = _identity(found)
    return ModelInfo(
        name=name,
        path=path,
        source=source,
        architecture=found.architecture,
        is_encoder_decoder=found.is_encoder_decoder,
        n_parameters=found.n_parameters,
        size_bytes=found.size_bytes,
        dtype=found.dtype,
        licence=found.licence,
        has_chat_template=found.has_chat_template,
        special_tokens=found.special_tokens,
        context_length=found.context_length,
        digest=found.digest(),
        hub_id=hub_id,
        problems=found.problems,
        is_conversion_needed=False,
    )


def _identity(found: model_folder.Folder) -> tuple[str, Source, str]:
    """Name, source and Hub name of a model folder."""
    path = found.path
    if path.parent.name == "snapshots" and (match := _HUB_SNAPSHOT.match(path.parent.parent.name)):
        hub_id = f"{match['owner']}/{match['model']}"
        return hub_id, "hub", hub_id
    hub_id = str(found.origin.get("hub_id", ""))
    if path == (places.resource_dir() / "tiny").absolute():
        return "tiny", "tiny", hub_id
    is_starter = found.origin.get("sha256") == starter.GGUF_SHA256
    return path.name, "starter" if is_starter else "folder", hub_id


@functools.lru_cache(maxsize=64)
def _describe_gguf(path: Path, _stamp: object) -> ModelInfo:
    problems: list[str] = []
    header = GgufHeader({}, 0)
    try:
        header = read_gguf(path)
    except BrokenHeaderError as error:
        problems.append(f"{path.name} is broken: {error}. Download it again.")
    kind = header.text("general.architecture")
    if not problems and kind in ("t5", "t5encoder", "bert", "clip"):
        problems.append(f"It is a {kind} model, which is not supported yet.")
    context = header.values.get(f"{kind}.context_length")
    info = ModelInfo(
        name=path.stem,
        path=path,
        source="gguf",
        architecture=kind,
        is_encoder_decoder=kind == "t5",
        n_parameters=header.n_parameters,
        size_bytes=path.stat().st_size,
        dtype="",
        licence=header.text("general.license"),
        has_chat_template="tokenizer.chat_template" in header.values,
        special_tokens={},
        context_length=context if isinstance(context, int) else 2048,
        digest=sampled_digest(path),
        hub_id="",
        problems=tuple(problems),
        is_conversion_needed=True,
    )
    quantisation = re.search(r"(?:^|[.-])(I?Q\d\w*|BF16|F16|F32)$", path.stem, re.IGNORECASE)
    return replace(info, dtype=quantisation[1].upper() if quantisation else "gguf")


def _size(n_bytes: int) -> str:
    return f"{n_bytes / _GIB:.1f} GiB" if n_bytes >= _GIB / 10 else f"{n_bytes / (1 << 20):.0f} MiB"
