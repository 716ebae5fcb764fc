"""Generating answers: stored one by one as they end, and continued where they stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.app import labelling
from workbench.app.workspace import Workspace, require_whole
from workbench.cancel import CancelToken
from workbench.config.generation import SamplingSettings
from workbench.config.training import OnPolicySettings, TrainingSettings
from workbench.data.chat_template import decode_answer
from workbench.data.records import NewCompletion, Prompt
from workbench.errors import Cancelled, UserError
from workbench.events import Answer, Event, Progress, Warned
from workbench.jobs.runner import Job, Working

if TYPE_CHECKING:
    from workbench.models.loading import LoadedModel
    from workbench.models.policy import Guidance

_PAGE = 500


@dataclass(frozen=True, slots=True)
class _Task:
    """One answer to make."""

    prompt: Prompt
    ids: tuple[int, ...]
    seed: int


def generate(
    ws: Workspace,
    settings: SamplingSettings,
    prompt_ids: Sequence[int] | None = None,
    adapter_run: int | None = None,
) -> Job:
    """Answer prompts `n_answers` times each and pair the answers at the end.

    Answers that these settings already gave are not made again, so a stopped generation goes on
    where it ended. A stop or a cancel loses only the answers under way.

    Args:
        ws: The experiment.
        settings: How answers are drawn.
        prompt_ids: Which prompts; None takes all of the training split.
        adapter_run: A policy run whose policy answers instead of the base.

    Raises:
        UserError: No model is chosen, or there are no prompts.
    """
    info = ws.model_info()
    prompts = (
        all_prompts(ws, "train")
        if prompt_ids is None
        else ws.experiment.prompts.get_many(prompt_ids)
    )
    if not prompts:
        raise UserError(
            "There are no prompts to answer.", "Add or import some on the Prompts page."
        )
    adapter = None if adapter_run is None else ws.run(adapter_run)
    name = None if adapter is None else adapter.name
    folder = None if adapter is None else ws.artifact_folder(adapter.id, "adapter")

    def work(cancel: CancelToken) -> Working:
        model = yield from ws.model(cancel)
        from workbench.models import adapters, policy

        if settings.temperature == 0.0 and settings.n_answers > 1:
            yield Warned(
                "At temperature 0 all answers to a prompt are the same.",
                "Raise the temperature to get pairs that differ.",
            )
        tasks = yield from _tasks(ws, model, prompts, settings, name)
        guidance = None
        with ExitStack() as stack:
            if folder is not None:
                require_whole(folder)
                stack.callback(adapters.remove, model, _ADAPTER)
                guidance = policy.load(model, _ADAPTER, folder).guidance
                stack.enter_context(adapters.active(model, _ADAPTER))
            n_made = yield from _make(ws, model, tasks, settings, name, guidance, cancel)
        n_pairs = labelling.make_comparisons(ws, settings.seed)
        cancel.raise_if_cancelled()
        return {"n_answers": n_made, "n_comparisons": n_pairs}

    n = len(prompts) * settings.n_answers
    who = name or info.name
    return ws.submit(f"Generate answers with {who}", "generate", work, total=n, unit="answers")


_ADAPTER = "answering"


def all_prompts(ws: Workspace, split: str) -> list[Prompt]:
    """All prompts of a split, in order."""
    prompts: list[Prompt] = []
    while page := ws.experiment.prompts.list(
        split="train" if split == "train" else "heldout",
        after_id=prompts[-1].id if prompts else 0,
        limit=_PAGE,
    ):
        prompts += page
    return prompts


def usable_prompts(
    model: LoadedModel, prompts: Sequence[Prompt], max_new_tokens: int
) -> Generator[Event, None, list[Prompt]]:
    """The prompts that fit the context together with an answer, as the generator's value.

    Yields a `Warned` with the number of those that do not, and one when the model has no chat
    template and answers to the plain one.
    """
    if not model.info.has_chat_template:
        yield Warned(
            f"{model.info.name} has no chat template; prompts are given to it as "
            "'User: ...' and 'Assistant:'.",
            "Answers are better from a model that was tuned for dialogue.",
        )
    room = model.context_length - max_new_tokens
    found = [p for p in prompts if len(model.encode_prompt(p.messages)) <= room]
    n_long = len(prompts) - len(found)
    if n_long:
        yield Warned(
            f"{n_long} of {len(prompts)} prompts are skipped: with an answer of "
            f"{max_new_tokens} tokens they do not fit into the context of "
            f"{model.context_length} tokens.",
            "Shorten them, or lower the answer length.",
        )
    if not found:
        raise UserError(
            f"No prompt fits into the context of {model.info.name} "
            f"({model.context_length} tokens).",
            "Shorten the prompts, or lower the answer length.",
        )
    return found


def fitting(
    model: LoadedModel, prompts: Sequence[Prompt], settings: TrainingSettings
) -> list[Prompt]:
    """Those that fit the context together with an answer of a run; the others are left out."""
    if not isinstance(settings, OnPolicySettings):
        return []
    room = model.context_length - settings.max_new_tokens
    return [p for p in prompts if len(model.encode_prompt(p.messages)) <= room]


def answer_seed(seed: int, prompt_id: int, k: int) -> int:
    """Seed of a prompt's k-th answer: depends on nothing else, so generation can go on anywhere."""
    digest = hashlib.sha256(f"{seed}/{prompt_id}/{k}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _tasks(
    ws: Workspace,
    model: LoadedModel,
    prompts: Sequence[Prompt],
    settings: SamplingSettings,
    adapter: str | None,
) -> Generator[Event, None, list[_Task]]:
    usable = yield from usable_prompts(model, prompts, settings.max_new_tokens)
    sampling = _sampling(settings)
    tasks = []
    for prompt in usable:
        ids = tuple(model.encode_prompt(prompt.messages))
        for k in range(settings.n_answers):
            seed = answer_seed(settings.seed, prompt.id, k)
            if not ws.experiment.completions.existing(
                prompt.id, model.info.digest, adapter, sampling, seed
            ):
                tasks.append(_Task(prompt, ids, seed))
    n_there = len(usable) * settings.n_answers - len(tasks)
    if n_there:
        yield Progress(n_there, n_there + len(tasks), f"{n_there} answers are there already")
    return tasks


def _make(
    ws: Workspace,
    model: LoadedModel,
    tasks: Sequence[_Task],
    settings: SamplingSettings,
    adapter: str | None,
    guidance: Guidance | None,
    cancel: CancelToken,
) -> Generator[Event, None, int]:
    """Sample the tasks in batches and store each answer as it ends; their number is returned."""
    from workbench.models.decoding import sample

    done = n_empty = 0
    for start in range(0, len(tasks), settings.batch_size):
        batch = tasks[start : start + settings.batch_size]
        answers = sample(
            model,
            [task.ids for task in batch],
            [task.seed for task in batch],
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            top_k=settings.top_k,
            top_p=settings.top_p,
            steer=guidance,
            check=cancel.raise_if_stopping,
        )
        try:
            for row, ids, ended in answers:
                task = batch[row]
                text = decode_answer(model.tokenizer, ids)
                completion_id = ws.experiment.completions.add(
                    NewCompletion(
                        prompt_id=task.prompt.id,
                        text=text,
                        token_ids=tuple(ids),
                        finish="stop" if ended else "length",
                        model_digest=model.info.digest,
                        model_name=model.info.name,
                        adapter=adapter,
                        sampling=_sampling(settings),
                        seed=task.seed,
                    )
                )
                done += 1
                n_empty += not text
                yield Answer(task.prompt.id, completion_id)
                yield Progress(done, len(tasks), "Generating answers")
        except Cancelled:
            break
    if n_empty:
        yield Warned(
            f"{n_empty} of {done} answers are empty.",
            "They can be ranked like others. Another temperature or model gives fewer.",
        )
    return done


def _sampling(settings: SamplingSettings) -> dict[str, object]:
    """What of the settings decides an answer's text, besides its seed."""
    return settings.model_dump(include={"temperature", "top_p", "top_k", "max_new_tokens"})
