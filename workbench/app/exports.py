"""Carrying a trained policy away: a PEFT adapter folder or a merged model, with a card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import __version__
from workbench.app import gate
from workbench.app.workspace import Workspace, require_whole
from workbench.cancel import CancelToken
from workbench.data.folders import GUIDANCE, MANIFEST, atomic_folder, digest_folder
from workbench.data.records import Run
from workbench.events import Progress, Saved
from workbench.jobs.runner import Job, Working

if TYPE_CHECKING:
    from workbench.models.catalog import ModelInfo

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
)


_COUNTED = {
    "prompt_ids": "prompts",
    "n_pairs": "pairs",
    "n_ties": "ties",
    "n_rankings": "rankings",
    "n_ratings": "ratings",
    "n_feedback": "answers called good or bad",
    "n_answers": "answers",
}


def export_adapter(
    ws: Workspace, run_id: int, folder: Path | None = None, is_merged: bool = False
) -> Job:
    """Write a run's policy so that other programs load it.

    Args:
        ws: The experiment.
        run_id: The policy run.
        folder: A new folder; None puts it into the experiment's exports.
        is_merged: Write base and adapter as one model instead of an adapter that names its base.

    Raises:
        UserError: The run has written no adapter, or the folder exists.
    """
    run = ws.run(run_id)
    source = ws.artifact_folder(run_id, "adapter")
    kind = "merged" if is_merged else "adapter"
    target = folder or free_folder(ws.path / "exports" / f"{kind}-run-{run_id:04}")

    def work(cancel: CancelToken) -> Working:
        yield Progress(0, 0, "Checking the adapter")
        require_whole(source)
        if is_merged:
            model = yield from ws.model(cancel)
            info = model.info
        else:
            info = ws.model_info()
        yield Progress(0, 0, f"Writing {target.name}")
        with atomic_folder(target) as partial:
            if is_merged:
                from workbench.models import adapters

                adapters.merge(model, source, partial)
            else:
                copy_adapter(source, info.path, partial)
            card = _card(ws, run, info, is_merged, is_guided=(source / GUIDANCE).exists())
            (partial / "README.md").write_text(card, encoding="utf-8")
            if (found := gate.latest(ws, run_id)) is not None:
                (partial / gate.GATE_FILE).write_bytes(gate.as_file(found))
        ws.experiment.artifacts.add(
            run_id, "export", relative_path(target, ws.path), digest_folder(target)
        )
        yield Saved(0, "export", str(target))
        return {"folder": str(target)}

    return ws.submit(f"Export {run.name}", "export", work)


def copy_adapter(source: Path, model: Path, target: Path) -> None:
    """The adapter's files and, beside them, the tokenizer that it was trained with."""
    for file in source.iterdir():
        if file.is_dir():  # the parts of a designed reward
            shutil.copytree(file, target / file.name, copy_function=shutil.copyfile)
        elif file.name != MANIFEST:
            shutil.copyfile(file, target / file.name)
    for name in _TOKENIZER_FILES:
        if (model / name).is_file() and not (target / name).exists():
            shutil.copyfile(model / name, target / name)


def free_folder(folder: Path) -> Path:
    """This folder, or the first of `folder-2`, `folder-3`, ... that is not there."""
    n, free = 1, folder
    while free.exists():
        n += 1
        free = folder.with_name(f"{folder.name}-{n}")
    return free


def relative_path(path: Path, root: Path) -> str:
    """As the experiment records it: below its folder where it lies there, with forward slashes."""
    path = path.absolute()
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _card(ws: Workspace, run: Run, info: ModelInfo, is_merged: bool, *, is_guided: bool) -> str:
    """README with lineage: base, run, reward model, labels and their annotators."""
    base = info.hub_id or info.name
    head = [f"base_model: {base}", "tags:", "- rlhf", f"- {run.algorithm}", "- lora"]
    if not is_merged:
        head.insert(1, "library_name: peft")
    if info.licence:
        head.insert(1, f"license: {info.licence}")
    return "\n".join(
        [
            "---",
            *head,
            "---",
            f"# {run.name} of {ws.path.name}",
            "",
            f"Written by RLHF Workbench {__version__} on {date.today().isoformat()}.",
            "",
            _how_to_load(base, is_merged),
            "",
            *(_what_is_lost(is_merged) if is_guided else ()),
            "## Where it comes from",
            "",
            f"- Base model: {base} (digest `{info.digest[:16]}`, {info.licence or 'no licence'})",
            *lineage(ws, run),
            "",
            *gate.card(gate.latest(ws, run.id)),
            "## Settings",
            "",
            "```json",
            json.dumps(dict(run.settings), indent=2, ensure_ascii=False),
            "```",
            "",
        ]
    )


def _how_to_load(base: str, is_merged: bool) -> str:
    if is_merged:
        return "Base and adapter in one: load it with `AutoModelForCausalLM.from_pretrained`."
    return (
        "```python\n"
        "from peft import PeftModel\n"
        "from transformers import AutoModelForCausalLM\n\n"
        f'base = AutoModelForCausalLM.from_pretrained("{base}")\n'
        'model = PeftModel.from_pretrained(base, "this folder")\n'
        "```"
    )


def _what_is_lost(is_merged: bool) -> Iterator[str]:
    """What other programs do not do with a policy that samples with value heads."""
    yield "## Not all of the policy"
    yield ""
    yield (
        "The run's answers were sampled from the policy's logits plus β times the advantage, "
        "logits + β·(Q̂ − V). PEFT and Transformers do not do that: they give the adapter's own "
        "policy, which imitates the answers that it was trained on, the better ones more. What was "
        "measured of the run (win rate, KL) holds with the guidance only."
    )
    yield ""
    yield (
        "This model does not hold the value heads; export the adapter to get them."
        if is_merged
        else f"The value heads are in `{GUIDANCE}`, β is in its metadata. With h the input of the "
        "output head and w_a row a of its weight, each Q_i(s, a) = v_i(h) + w_a · up_i(down_i(h)), "
        "Q̂ is the smallest Q_i, and V = value(h)."
    )
    yield ""


def lineage(ws: Workspace, run: Run) -> Iterator[str]:
    """What a run was made from, line by line."""
    inputs, counts = run.inputs, []
    for name, words in _COUNTED.items():
        value = inputs.get(name)
        n = len(value) if isinstance(value, list) else value
        if n:
            counts.append(f"{n} {words}")
    yield f"- {run.name}: {run.status}, {', '.join(counts)}"
    if (start := inputs.get("start_run")) is not None:
        yield from lineage(ws, ws.run(int(str(start))))
    labelled = run
    if (scorer := inputs.get("reward_run")) is not None:
        labelled = ws.run(int(str(scorer)))
        accuracy = _share(labelled.results.get("reward/heldout_accuracy"))
        n_pairs = labelled.inputs.get("n_pairs")
        yield f"- {labelled.name}: {n_pairs} pairs, held-out accuracy {accuracy}"
    annotators = labelled.inputs.get("annotators")
    if isinstance(annotators, list):
        who, digest = ", ".join(map(str, annotators)), str(labelled.inputs.get("labels_digest"))
        yield f"- Labels: judged by {who}, digest `{digest[:16]}`"


def _share(value: object) -> str:
    return f"{value:.0%}" if isinstance(value, float) else "unknown"
