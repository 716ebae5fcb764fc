"""Carrying a reward model away: a PEFT adapter, or a whole sequence classifier, with a card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import __version__
from workbench.app import bases
from workbench.app.exports import copy_adapter, free_folder, lineage, relative_path
from workbench.app.workspace import Workspace, prepare_torch, require_whole
from workbench.cancel import CancelToken
from workbench.data.folders import MANIFEST, atomic_folder, digest_folder
from workbench.data.records import Run
from workbench.errors import UserError
from workbench.events import Progress, Saved
from workbench.jobs.runner import Job, Working

if TYPE_CHECKING:
    from workbench.models.catalog import ModelInfo

_ADAPTER, _CLASSIFIER, _FACTS = "adapter_config.json", "classifier.json", "reward.json"

_HOW_MERGED = """The raw logit of the one label is the score. Give it prompt and answer with the \
stop token at the end, padded with the `pad_token_id` of its config:

```python
from transformers import AutoModelForSequenceClassification

model = AutoModelForSequenceClassification.from_pretrained("this folder").eval()
```
"""


def export_reward(
    ws: Workspace, run_id: int, folder: Path | None = None, is_merged: bool = False
) -> Job:
    """Write a reward model so that other programs load it.

    Args:
        ws: The experiment.
        run_id: The reward run.
        folder: A new folder; None puts it into the experiment's exports.
        is_merged: Write base and adapter as one classifier instead of an adapter that names its
            base. One that was imported whole is whole in any case.

    Raises:
        UserError: The run has written no reward model, it is made of parts, or the folder exists.
    """
    run = ws.run(run_id)
    source = ws.artifact_folder(run_id, "reward_model")
    is_whole = (source / _CLASSIFIER).is_file()
    if not is_whole and not (source / _ADAPTER).is_file():
        raise UserError(
            f"{run.name} is no network that other programs could load.",
            "Choose a reward model that was trained or imported.",
        )
    info = None if is_whole else _base(ws, run)
    if is_merged and info is not None and info.is_encoder_decoder:
        raise UserError(
            "Transformers has no classifier that reads an encoder-decoder as this program does, so "
            "base and adapter cannot be written as one.",
            "Export the adapter; its card says how the score is read.",
        )
    kind = "classifier" if is_merged or is_whole else "adapter"
    target = folder or free_folder(ws.path / "exports" / f"reward-{kind}-run-{run_id:04}")

    def work(_cancel: CancelToken) -> Working:
        yield Progress(0, 0, "Checking the reward model")
        require_whole(source)
        yield Progress(0, 0, f"Writing {target.name}")
        with atomic_folder(target) as partial:
            if info is None:
                _copy_whole(source, partial)
            elif is_merged:
                prepare_torch(ws.keeps_core_free)
                from workbench.models import adapters

                adapters.merge_scorer(info.path, source, partial, _pad_id(source))
                end_at_the_answer(partial / "chat_template.jinja")
            else:
                copy_adapter(source, info.path, partial)
            card = _card(ws, run, source, info, is_merged=is_merged)
            (partial / "README.md").write_text(card, encoding="utf-8")
        path = relative_path(target, ws.path)
        ws.experiment.artifacts.add(run_id, "export", path, digest_folder(target))
        yield Saved(0, "export", str(target))
        return {"folder": str(target)}

    return ws.submit(f"Export {run.name}", "export", work)


def end_at_the_answer(template: Path) -> None:
    """Let a chat template write nothing after the answer's stop token, where scores are read.

    Many end each turn with a line break: who renders a dialogue and reads the last token, as
    classifiers are used, would read the score one token too late.
    """
    if template.is_file():
        whole = template.read_text(encoding="utf-8")
        template.write_text(
            "{%- set whole %}" + whole + "{% endset %}\n{{- whole.rstrip() }}", encoding="utf-8"
        )


def _base(ws: Workspace, run: Run) -> ModelInfo:
    chosen = ws.model_info() if ws.selected_model else None
    base = bases.of_reward(run)[0]
    if chosen is not None and chosen.digest == base.digest:
        return chosen
    return bases.find(base, run.name, chosen)


def _copy_whole(source: Path, target: Path) -> None:
    from workbench.rewards.classifier import source_of

    for file in source_of(source).iterdir():
        if file.is_file() and file.name not in (MANIFEST, _CLASSIFIER):
            shutil.copyfile(file, target / file.name)


def _pad_id(source: Path) -> int | None:
    """What the reward model pads with; those of others do not say."""
    try:
        return int(json.loads((source / _FACTS).read_text(encoding="utf-8"))["pad_id"])
    except (OSError, ValueError, KeyError):
        return None


def _card(ws: Workspace, run: Run, source: Path, info: ModelInfo | None, *, is_merged: bool) -> str:
    """What it is and how to use it, then where it comes from."""
    if info is not None and not is_merged and (source / "README.md").is_file():
        head = (source / "README.md").read_text(encoding="utf-8").rstrip()
    else:
        base = [] if info is None else [f"base_model: {info.hub_id or info.name}"]
        lines = ["---", *base, "tags: [reward-model, rlhf]", "---", "", "# Reward model", ""]
        head = "\n".join([*lines, _HOW_MERGED.rstrip()])
    return "\n".join([head, "", *_origin(ws, run, info), ""])


def _origin(ws: Workspace, run: Run, info: ModelInfo | None) -> Iterator[str]:
    yield "## Where it comes from"
    yield ""
    yield f"{run.name} of {ws.path.name}, written by RLHF Workbench {__version__}."
    yield ""
    if info is not None:
        licence = info.licence or "no licence"
        yield f"- Base model: {info.hub_id or info.name} (digest `{info.digest[:16]}`, {licence})"
    yield from lineage(ws, run)
    accuracy = run.results.get("reward/heldout_accuracy")
    if isinstance(accuracy, float):
        n = run.results.get("reward/heldout_pairs")
        yield f"- Held-out accuracy: {accuracy:.0%} of {n:g} pairs"
    yield ""
    yield "## Settings"
    yield ""
    yield "```json"
    yield json.dumps(dict(run.settings), indent=2, ensure_ascii=False)
    yield "```"
