"""Generation on demand: new pairs in small jobs, whenever few wait and the worker is free."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.app import bases, scorers
from workbench.app.answers import all_prompts, answer_seed, usable_prompts
from workbench.app.labelling import MAX_PAIRS_PER_PROMPT
from workbench.app.planning import reward_source
from workbench.app.workspace import Workspace, require_model, require_whole
from workbench.cancel import CancelToken
from workbench.config.queueing import FillSettings
from workbench.config.toml import SettingsError, validate
from workbench.data.chat_template import decode_answer
from workbench.data.records import NewCompletion, Prompt
from workbench.data.sameness import normalised
from workbench.errors import UserError
from workbench.events import Event, Progress
from workbench.jobs.runner import Job, Working

if TYPE_CHECKING:
    from workbench.models.loading import LoadedModel
    from workbench.models.policy import Guidance

KIND = "fill"
_SETTINGS, _IS_ON = "fill", "fill.is_on"
_ADAPTER = "filling"


@dataclass(frozen=True, slots=True)
class _Source:
    """Whose answers make the pairs: a policy's folder and name, or a reward model's folder."""

    policy: Path | None = None
    policy_name: str | None = None
    reward: Path | None = None


def saved(ws: Workspace) -> FillSettings:
    """The settings that were last remembered."""
    try:
        return validate(FillSettings, ws.experiment.settings.get(_SETTINGS, {}))
    except SettingsError:
        return FillSettings()


def is_on(ws: Workspace) -> bool:
    """Whether the queue is to be kept filled."""
    return bool(ws.experiment.settings.get(_IS_ON, False))


def switch(ws: Workspace, is_on: bool, settings: FillSettings | None = None) -> None:
    """Remember whether the queue is to be kept filled, and with what."""
    ws.check_writable()
    ws.experiment.settings.set(_IS_ON, is_on)
    if settings is not None:
        ws.experiment.settings.set(_SETTINGS, settings.model_dump())


def keep_filled(ws: Workspace, settings: FillSettings) -> Job | None:
    """One small job that makes a few pairs; None while nothing is to be done.

    There is one worker, so it is asked for only when nothing runs or waits, and each job makes
    one batch. Whoever keeps the queue filled calls this again when a job has ended or a pair was
    judged, and stops when a job was stopped by hand or made no pair.

    Raises:
        UserError: No model is chosen, there are no prompts, or the run or the reward model that
            the source needs is missing.
    """
    if any(job.outcome is None for job in ws.runner.jobs):
        return None
    n_missing = settings.n_pending - ws.experiment.comparisons.counts(ws.annotator).pending
    if n_missing <= 0:
        return None
    source = _source(ws, settings)

    def work(cancel: CancelToken) -> Working:
        prompts = _prompts(ws, settings, min(n_missing, settings.batch_size))
        if not prompts:
            return {"n_pairs": 0}
        model = yield from ws.model(cancel)
        fitting = yield from usable_prompts(model, prompts, settings.max_new_tokens)
        pairs = yield from _pairs(ws, model, fitting, settings, source, cancel)
        return {"n_pairs": _store(ws, pairs, settings.seed)}

    return ws.submit("Fill the queue", KIND, work, unit="pairs")


def has_made_pairs(job: Job) -> bool:
    """Whether a job that has ended made a pair; when not, the next one would make none either."""
    return job.finished is not None and bool(job.finished.result.get("n_pairs"))


def _source(ws: Workspace, settings: FillSettings) -> _Source:
    info = ws.model_info()
    if settings.source == "best-worst":
        scorer = reward_source(ws, None)
        bases.require(scorer, info)
        return _Source(reward=ws.artifact_folder(scorer.id, "reward_model"))
    if settings.source == "temperatures":
        return _Source()
    run_id = settings.run
    if not run_id:
        newest = ws.experiment.artifacts.latest("adapter")
        if newest is None:
            raise UserError(
                "There is no trained policy to set beside the base.",
                "Train one, or let new pairs come from two temperatures.",
            )
        run_id = newest.run_id
    run = ws.run(run_id)
    require_model(run, info)
    return _Source(policy=ws.artifact_folder(run_id, "adapter"), policy_name=run.name)


def _prompts(ws: Workspace, settings: FillSettings, n: int) -> list[Prompt]:
    """The training prompts with the fewest pairs; none that has as many as are ever made."""
    pairs = ws.experiment.comparisons.by_prompt()
    prompts = [
        (len(pairs.get(p.id, ())), p.id, p)
        for p in all_prompts(ws, "train")
        if settings.group in ("", p.group)
    ]
    if not prompts:
        where = f" in the group {settings.group}" if settings.group else ""
        raise UserError(
            f"There are no training prompts{where} to answer.",
            "Add some on the Prompts page, or choose another group.",
        )
    return [
        p
        for n_pairs, _, p in sorted(prompts, key=lambda row: row[:2])[:n]
        if n_pairs < MAX_PAIRS_PER_PROMPT
    ]


def _pairs(
    ws: Workspace,
    model: LoadedModel,
    prompts: Sequence[Prompt],
    settings: FillSettings,
    source: _Source,
    cancel: CancelToken,
) -> Generator[Event, None, list[tuple[NewCompletion, NewCompletion]]]:
    """Two answers to each prompt, as the source says; none is stored yet."""
    n_before = ws.experiment.completions.counts([p.id for p in prompts])
    sampler = _Sampler(model, settings, cancel, n_before)
    if source.reward is not None:
        answers = yield from sampler.draw(prompts, settings.n_answers, settings.temperature)
        return _best_and_worst(model, prompts, answers, source.reward)
    bold = yield from sampler.draw(prompts, 1, settings.temperature)
    if source.policy is None:
        other = yield from sampler.draw(prompts, 1, settings.other_temperature, k=1)
    else:
        with _policy(model, source.policy) as guidance:
            other = yield from sampler.draw(
                prompts, 1, settings.temperature, adapter=source.policy_name, guidance=guidance
            )
    return list(zip(bold, other, strict=True))


@contextmanager
def _policy(model: LoadedModel, folder: Path) -> Iterator[Guidance | None]:
    """While open, a run's policy answers."""
    from workbench.models import adapters, policy

    require_whole(folder)
    try:
        guidance = policy.load(model, _ADAPTER, folder).guidance
        with adapters.active(model, _ADAPTER):
            yield guidance
    finally:
        adapters.remove(model, _ADAPTER)


@dataclass(frozen=True, slots=True)
class _Sampler:
    """Draws answers that the prompts do not have yet: their luck goes on where it ended."""

    model: LoadedModel
    settings: FillSettings
    cancel: CancelToken
    n_before: dict[int, int]

    def draw(
        self,
        prompts: Sequence[Prompt],
        n: int,
        temperature: float,
        *,
        k: int = 0,
        adapter: str | None = None,
        guidance: Guidance | None = None,
    ) -> Generator[Event, None, list[NewCompletion]]:
        """`n` answers to each prompt, those of a prompt one after the other."""
        from workbench.models.decoding import sample

        rows = [(p, self.n_before[p.id] * n + k + i) for p in prompts for i in range(n)]
        seeds = [answer_seed(self.settings.seed, p.id, number) for p, number in rows]
        drawn = sample(
            self.model,
            [self.model.encode_prompt(p.messages) for p, _ in rows],
            seeds,
            max_new_tokens=self.settings.max_new_tokens,
            temperature=temperature,
            steer=guidance,
            check=self.cancel.raise_if_stopping,
        )
        found: dict[int, NewCompletion] = {}
        for row, ids, ended in drawn:
            found[row] = NewCompletion(
                prompt_id=rows[row][0].id,
                text=decode_answer(self.model.tokenizer, ids),
                token_ids=tuple(ids),
                finish="stop" if ended else "length",
                model_digest=self.model.info.digest,
                model_name=self.model.info.name,
                adapter=adapter,
                sampling={
                    "temperature": temperature,
                    "top_p": 1.0,
                    "top_k": 0,
                    "max_new_tokens": self.settings.max_new_tokens,
                },
                seed=seeds[row],
            )
            yield Progress(len(found), len(rows), "Generating answers")
        return [found[row] for row in range(len(rows))]


def _best_and_worst(
    model: LoadedModel,
    prompts: Sequence[Prompt],
    answers: Sequence[NewCompletion],
    folder: Path,
) -> list[tuple[NewCompletion, NewCompletion]]:
    """Of each prompt's answers the ones with the highest and the lowest score."""
    messages = {p.id: p.messages for p in prompts}
    with scorers.loaded(model, folder) as reward:
        scores = reward.score_texts(
            [messages[a.prompt_id] for a in answers], [a.text for a in answers]
        )
    pairs = []
    for prompt in prompts:
        own = [i for i, a in enumerate(answers) if a.prompt_id == prompt.id]
        best, worst = max(own, key=lambda i: scores[i]), min(own, key=lambda i: scores[i])
        pairs.append((answers[best], answers[worst]))
    return pairs


def _store(ws: Workspace, pairs: Sequence[tuple[NewCompletion, NewCompletion]], seed: int) -> int:
    """Store pairs whose answers differ, their sides shuffled, in one transaction; their number."""
    n = 0
    with ws.experiment.database.write():
        for pair in pairs:
            if normalised(pair[0].text) == normalised(pair[1].text):
                continue
            first, second = ws.experiment.completions.add_many(pair)
            if random.Random(f"{seed}/{first}").random() < 0.5:
                first, second = second, first
            n += ws.experiment.comparisons.add_many([(pair[0].prompt_id, first, second)])
    return n
