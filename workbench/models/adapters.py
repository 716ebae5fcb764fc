"""LoRA adapters by name on one base: policy, reward; none at all is the reference.

PEFT's own switches flip `requires_grad` of other adapters (peft #2759, #3447, #3580), so here
an adapter is switched for computing only, and training takes its parameters as an explicit list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, TaskType, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from workbench.config.lora import LoraSettings
from workbench.errors import UserError
from workbench.models import lora_layers
from workbench.models.heads import ScalarHead
from workbench.models.loading import LoadedModel

WEIGHTS = "adapter_model.safetensors"  # as PEFT calls it
_HEAD_KEY = "base_model.model.score.weight"


def add(base: LoadedModel, name: str, settings: LoraSettings, seed: int) -> list[nn.Parameter]:
    """Put a fresh LoRA adapter on the base and return its parameters, trainable, in float32.

    B starts at 0, so the new adapter changes nothing (Hu et al. 2021, section 4.1).

    Raises:
        UserError: The model has no layers with the names asked for.
    """
    remove(base, name)
    config = _config(base, settings, _targets(base, settings.target_modules))
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(seed)
        try:
            inject_adapter_in_model(config, base.model, adapter_name=name)
        except ValueError as error:
            raise UserError(
                f"The LoRA modules {settings.target_modules!r} do not fit {base.info.name}.",
                "Use all-linear, or names of its linear layers.",
            ) from error
    # PEFT's own record of adapters: it warns of the second one, and nothing here reads it.
    del base.model.peft_config
    base.model.eval()
    parameters = [p for _, p in _named(base, name)]
    for parameter in parameters:
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
    layers = _layers(base)
    lora_layers.fuse(layers)
    lora_layers.switch(layers, [[]] * len(layers))
    return parameters


def remove(base: LoadedModel, name: str) -> None:
    """Take an adapter off the base, if it is there."""
    for layer in _layers(base):
        if name in layer._all_available_adapter_names():
            layer.delete_adapter(name)


def remove_all(base: LoadedModel) -> None:
    """Take every adapter off the base: at the end of a run, whatever it put there."""
    names = {name for layer in _layers(base) for name in layer._all_available_adapter_names()}
    for name in names:
        remove(base, name)


@contextmanager
def active(base: LoadedModel, name: str | None) -> Iterator[None]:
    """Compute with one adapter, or with none: the reference. Outside of it none is active."""
    with lora_layers.active(base.model, name):
        yield


def freeze(base: LoadedModel, name: str) -> None:
    """Make sure that no step can move this adapter."""
    for _, parameter in _named(base, name):
        parameter.requires_grad_(False)


def state(base: LoadedModel, name: str) -> dict[str, Tensor]:
    """The adapter's weights under the names that PEFT uses on disk, as copies on the CPU."""
    return {
        _disk_key(key, name): p.detach().cpu().clone().contiguous() for key, p in _named(base, name)
    }


def load_state(base: LoadedModel, name: str, weights: dict[str, Tensor]) -> None:
    """Fill an adapter that `add` made with weights as `state` gives them.

    Raises:
        UserError: Names or shapes do not fit this model.
    """
    own = {_disk_key(key, name): p for key, p in _named(base, name)}
    if own.keys() != weights.keys() or any(own[k].shape != weights[k].shape for k in own):
        raise UserError(
            f"This adapter was not made for {base.info.name}.",
            "Load the model that the adapter was trained on.",
        )
    with torch.no_grad():
        for key, parameter in own.items():
            parameter.copy_(weights[key])


def save(
    base: LoadedModel,
    name: str,
    settings: LoraSettings,
    folder: Path,
    *,
    score_head: ScalarHead | None = None,
) -> None:
    """Write the adapter into `folder` as `PeftModel.from_pretrained` reads it.

    With a `score_head` it becomes a SEQ_CLS folder: a reward model whose head lies beside the
    LoRA weights. Transformers has no such class that reads an encoder-decoder as here (its T5
    classifier gives the decoder the prompt once more), so that folder stays a language model's.
    The base is named by its portable id, never by a path of this disk.
    """
    weights = state(base, name)
    if score_head is not None:
        weights[_HEAD_KEY] = score_head.linear.weight.detach().cpu().clone().contiguous()
    is_classifier = score_head is not None and not base.is_encoder_decoder
    modules = _module_names(base, name)
    config = _config(
        base,
        settings,
        modules,
        task_type=TaskType.SEQ_CLS if is_classifier else _task(base),
        modules_to_save=["classifier", "score"] if is_classifier else None,
        base_model_name_or_path=base.info.hub_id or base.info.name,
        inference_mode=True,
    )
    # PEFT made a set of them, whose order changes from process to process: equal adapters shall be
    # equal files.
    config.target_modules = modules
    config.save_pretrained(str(folder))
    save_file(weights, str(folder / WEIGHTS), metadata={"format": "pt"})


def load(
    base: LoadedModel, name: str, folder: Path, *, trainable: bool = False
) -> list[nn.Parameter]:
    """Put an adapter from a PEFT folder on the base and return its parameters.

    Args:
        base: The model that it was made for.
        name: What it is called from now on.
        folder: Where it lies; a reward head in it is passed over.
        trainable: Whether training goes on from it; otherwise it is frozen.

    Raises:
        UserError: The folder is not a LoRA adapter for this model.
    """
    parameters, _ = _load(base, name, folder)
    if not trainable:
        freeze(base, name)
    return parameters


def load_scorer(base: LoadedModel, name: str, folder: Path) -> ScalarHead:
    """Put a reward adapter on the base and return its head, both frozen.

    Raises:
        UserError: The folder is not a LoRA adapter for this model, or has no head.
    """
    _, head_weight = _load(base, name, folder)
    freeze(base, name)
    if head_weight is None:
        raise UserError(
            f"{folder.name} has no reward head.", "Choose a folder saved by reward-model training."
        )
    head = ScalarHead(base.hidden_size, bias=False).to(base.device)
    with torch.no_grad():
        head.linear.weight.copy_(head_weight)
    return head.requires_grad_(False)


def _load(base: LoadedModel, name: str, folder: Path) -> tuple[list[nn.Parameter], Tensor | None]:
    """The adapter's parameters and, where there is one, the weight of its score head."""
    settings = lora_settings(folder)
    try:
        weights = load_file(str(folder / WEIGHTS))
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"The weights of the adapter in {folder} cannot be read.", "Choose another adapter."
        ) from error
    parameters = add(base, name, settings, seed=0)
    head_weight = weights.pop(_HEAD_KEY, None)
    load_state(base, name, weights)
    return parameters, head_weight


def lora_settings(folder: Path) -> LoraSettings:
    """Read the LoRA settings of a PEFT folder.

    Raises:
        UserError: There is no LoRA adapter in it.
    """
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        modules = config["target_modules"]
        return LoraSettings(
            r=config["r"],
            alpha=config["lora_alpha"],
            target_modules=modules if isinstance(modules, str) else ",".join(sorted(modules)),
            last_layers=len(config.get("layers_to_transform") or ()),
        )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{folder} holds no LoRA adapter.", "Choose a folder with adapter_config.json."
        ) from error


def merge(base: LoadedModel, folder: Path, target: Path) -> None:
    """Write base plus adapter as one model, in the base's dtype; the base in memory is untouched.

    The sum is taken in float32 into a scratch copy: repeated merging in place in bfloat16 drifts
    (trl #6688).
    """
    model = type(base.model).from_pretrained(base.info.path, dtype=torch.float32)
    merged: Any = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    merged.to(base.dtype).save_pretrained(str(target))
    base.tokenizer.save_pretrained(str(target))


def merge_scorer(path: Path, folder: Path, target: Path, pad_id: int | None) -> None:
    """Write base plus reward adapter as one sequence classifier with one label.

    As in `merge` the sum is taken in float32. The tokenizer goes along.

    Args:
        path: The base's folder.
        folder: A SEQ_CLS adapter.
        target: Where to write.
        pad_id: What texts are padded with; the score is read at the last other token. None for
            what the base's config says.
    """
    model: Any = AutoModelForSequenceClassification.from_pretrained(
        path, num_labels=1, dtype=torch.float32, use_safetensors=True
    )
    merged: Any = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    if pad_id is not None:
        merged.config.get_text_config().pad_token_id = pad_id
    merged.save_pretrained(str(target))
    tokenizer: Any = AutoTokenizer.from_pretrained(path)
    tokenizer.save_pretrained(str(target))


def first_layer(base: LoadedModel, settings: LoraSettings) -> int:
    """Number of lower layers that such an adapter leaves alone, and that can be shared.

    0 when there is nothing to share: every layer is adapted, or this architecture does not split.
    """
    n_lower = base.n_layers - settings.last_layers
    if not 0 < n_lower < base.n_layers or base.is_encoder_decoder or not base.can_split(n_lower):
        return 0
    return n_lower


def _layers(base: LoadedModel) -> list[Any]:
    return lora_layers.lora_layers(base.model)


def _named(base: LoadedModel, name: str) -> list[tuple[str, nn.Parameter]]:
    return [
        (key, parameter)
        for key, parameter in base.model.named_parameters()
        if f".lora_A.{name}." in key or f".lora_B.{name}." in key
    ]


def _disk_key(key: str, name: str) -> str:
    return "base_model.model." + key.replace(f".{name}.weight", ".weight")


def _module_names(base: LoadedModel, name: str) -> list[str]:
    return sorted({key.split(".lora_")[0].rsplit(".", 1)[-1] for key, _ in _named(base, name)})


def _targets(base: LoadedModel, modules: str) -> list[str]:
    """Names of the linear layers to adapt; all-linear leaves out the output head."""
    if modules != "all-linear":
        return [name.strip() for name in modules.split(",") if name.strip()]
    head = base.model.get_output_embeddings()
    names = set()
    for key, module in base.model.named_modules():
        plain = module.get_base_layer() if isinstance(module, BaseTunerLayer) else module
        is_linear = isinstance(plain, nn.Linear) or type(plain).__name__ == "Conv1D"
        if is_linear and plain is not head and ".lora_" not in key:
            names.add(key.removesuffix(".base_layer").rsplit(".", 1)[-1])
    return sorted(names)


def _config(
    base: LoadedModel, settings: LoraSettings, modules: list[str], **more: Any
) -> LoraConfig:
    layers = None
    if 0 < settings.last_layers < base.n_layers:
        layers = list(range(base.n_layers - settings.last_layers, base.n_layers))
    is_upper_decoder = layers is not None and base.is_encoder_decoder
    return LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=0.0,
        target_modules=modules,
        layers_to_transform=layers,
        # T5 numbers the parts of a block too, and its encoder's blocks like its decoder's.
        layers_pattern=base.blocks_name if is_upper_decoder else None,
        exclude_modules=rf"{base.encoder_name}\..*" if is_upper_decoder else None,
        # GPT-2 keeps its linear layers transposed, in a class of its own.
        fan_in_fan_out=any(type(m).__name__ == "Conv1D" for m in base.model.modules()),
        **{"task_type": _task(base), **more},
    )


def _task(base: LoadedModel) -> TaskType:
    return TaskType.SEQ_2_SEQ_LM if base.is_encoder_decoder else TaskType.CAUSAL_LM
