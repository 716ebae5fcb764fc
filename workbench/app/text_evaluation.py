"""Text metrics of base and trained policy on held-out prompts, before and after."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.app import measuring, references
from workbench.app.answers import all_prompts, usable_prompts
from workbench.app.workspace import Workspace, require_whole
from workbench.cancel import CancelToken
from workbench.config.algorithms import EVALUATION, TEXT_METRICS
from workbench.config.text_evaluation import TextEvaluationSettings
from workbench.data.formats.texts import read_texts
from workbench.data.records import Prompt, Run
from workbench.errors import UserError
from workbench.events import Evaluated, Event
from workbench.jobs.runner import Job, Working

if TYPE_CHECKING:
    from workbench.evaluation.arena import Pair
    from workbench.models.loading import LoadedModel

_PAIRS = "pairs"  # as app.evaluate stores them


def measure(
    ws: Workspace,
    run_id: int,
    settings: TextEvaluationSettings,
    *,
    pairs_run: int | None = None,
    references_file: Path | None = None,
    text_file: Path | None = None,
) -> Job:
    """Answer held-out prompts with base and policy, and tell everything that texts tell.

    Args:
        ws: The experiment.
        run_id: The policy run.
        settings: Number of prompts and answers, sampling, seed, where references come from.
        pairs_run: A finished comparison of this policy whose answers are measured; None answers
            the prompts anew.
        references_file: JSONL or CSV with answers to held-out prompts, in place of the
            experiment's own.
        text_file: TXT or JSONL with text that nobody was trained on, for its perplexity.

    Raises:
        UserError: No held-out prompts, no adapter, no file, or another model is chosen.
    """
    policy, folder, inputs = measuring.policy_to_measure(ws, run_id)
    for path in (references_file, text_file):
        measuring.require_file(path)
    stored = None if pairs_run is None else _stored(ws, pairs_run, policy)
    if stored is None:
        prompts = all_prompts(ws, "heldout")[: settings.n_prompts or None]
    else:
        ids = dict.fromkeys(pair["prompt_id"] for pair in stored)
        prompts = [ws.experiment.prompts.get(prompt_id) for prompt_id in ids]
        inputs["pairs_run"] = pairs_run
    if not prompts:
        raise UserError(
            "There are no held-out prompts to answer.",
            "Put some prompts into the held-out split on the Prompts page.",
        )
    files = {"references_file": references_file, "text_file": text_file}
    inputs |= {name: str(path) for name, path in files.items() if path is not None}
    inputs["prompt_ids"] = [prompt.id for prompt in prompts]
    eval_run = ws.new_run("evaluation", TEXT_METRICS, settings, inputs)

    def work(cancel: CancelToken) -> Working:
        require_whole(folder)
        found, notes = _references(ws, prompts, settings, references_file)
        texts: list[str] = []
        if text_file is not None:
            texts, problems = read_texts(text_file)
            notes += [f"Line {p.line} of {text_file.name}: {p.message}" for p in problems[:1]]
        model = yield from ws.model(cancel)
        from workbench.evaluation import arena, text_metrics
        from workbench.models import adapters, policy

        kept: dict[str, object] = {}
        try:
            if stored is None:
                pairs = yield from _answered(model, prompts, folder, settings, cancel)
                kept["answers"] = [pair.to_dict() for pair in pairs]
            else:
                policy.load(model, arena.ADAPTER, folder)
                pairs = [_pair(entry) for entry in stored]
            measured = text_metrics.TextInputs({p.id: p for p in prompts}, found, texts)
            report = yield from text_metrics.measure(
                model, arena.ADAPTER, pairs, measured, settings.batch_size, cancel
            )
        finally:
            adapters.remove(model, arena.ADAPTER)
        yield from measuring.told(report.figures)
        return {
            measuring.FIGURES: [figure.to_dict() for figure in report.figures],
            measuring.NOTES: [*notes, *report.notes],
            "signatures": dict(report.signatures),
            "n_prompts": len({pair.prompt_id for pair in pairs}),
            "n_answers": len(pairs),
            **kept,
        }

    name = ws.run(eval_run).name
    return ws.submit(f"{name} of {policy.name}", TEXT_METRICS.name, work, run_id=eval_run)


def result(ws: Workspace, run_id: int) -> measuring.Measured:
    """The figures of a finished evaluation.

    Raises:
        UserError: It is none, or it has not finished.
    """
    return measuring.result(ws, run_id, TEXT_METRICS)


def _references(
    ws: Workspace, prompts: Sequence[Prompt], settings: TextEvaluationSettings, path: Path | None
) -> tuple[references.Found, list[str]]:
    if path is not None:
        return references.of_file(path, prompts)
    return references.of_experiment(ws, prompts, settings.references), []


def _answered(
    model: LoadedModel,
    prompts: Sequence[Prompt],
    folder: Path,
    settings: TextEvaluationSettings,
    cancel: CancelToken,
) -> Generator[Event, None, list[Pair]]:
    """Both sides' answers; the comparison's own summary is not this evaluation's."""
    from workbench.evaluation import arena

    fitting = yield from usable_prompts(model, prompts, settings.max_new_tokens)
    events = arena.compare(model, fitting, folder, None, None, settings, cancel)
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            pairs: list[Pair] = end.value[0]
            return pairs
        if not isinstance(event, Evaluated):
            yield event


def _stored(ws: Workspace, run_id: int, policy: Run) -> list[dict[str, Any]]:
    """The answers of a comparison of this policy with its base."""
    run = ws.run(run_id)
    pairs = run.results.get(_PAIRS)
    is_of_policy = run.algorithm == EVALUATION.name and run.inputs.get("policy_run") == policy.id
    if not is_of_policy or not isinstance(pairs, list) or not pairs:
        raise UserError(
            f"{run.name} holds no answers of {policy.name}.",
            f"Choose a finished comparison of {policy.name}, or answer the prompts anew.",
        )
    return pairs


def _pair(entry: Mapping[str, Any]) -> Pair:
    from workbench.evaluation.arena import Answered, Pair

    def side(name: str) -> Answered:
        stored = dict(entry[name])
        kl = stored["kl"]
        stored["kl"] = float("nan") if kl is None else float(kl)  # NaN is null in JSON
        return Answered(**{**stored, "token_ids": tuple(stored["token_ids"])})

    return Pair(entry["prompt_id"], entry["seed"], side("base"), side("trained"), None, None)
