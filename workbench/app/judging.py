"""AI judges: how far one agrees with the person, then what it may label.

What a judge answers is kept question by question, so that a job that was cancelled or killed goes
on where it stopped. Its labels are marked as an AI's for ever and never count against a person's.
They are used only after the person was shown how far it agrees with them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from workbench.app import judge_keys, labelling, library
from workbench.app.judge_agreement import contradicts, decided
from workbench.app.judge_records import name_of, remember, require_shown
from workbench.app.workspace import Workspace, prepare_torch
from workbench.cancel import CancelToken
from workbench.config.judge import JudgeSettings
from workbench.errors import EnvironmentProblem, UserError
from workbench.events import Event, Progress, Warned
from workbench.jobs.progress import with_progress
from workbench.jobs.runner import Job, Working
from workbench.rewards.judge_question import Answer, Judge, Note, Question
from workbench.store.undo import Group

if TYPE_CHECKING:
    from collections.abc import Generator


Which = Literal["agree-check", "pending", "all"]
_PAIRS_AT_ONCE = 32
_MANY_UNREADABLE = 0.2
_IDENTICAL = "(the answers are the same)"


@dataclass(frozen=True, slots=True)
class Outlook:
    """How many pairs a judge would be asked about; the time is None before its first answer."""

    n_pairs: int
    seconds: float | None


def judge(
    ws: Workspace,
    settings: JudgeSettings,
    which: Which = "pending",
    *,
    comparison_ids: Sequence[int] | None = None,
    limit: int = 0,
    is_suggestion: bool = False,
    key: str | None = None,
    is_key_kept: bool = False,
) -> Job:
    """Ask a judge about pairs, in both orders each; its judgements are one step of undo.

    Args:
        ws: The experiment.
        settings: The judge.
        which: The person's own labels, to compare with; pairs that nobody has decided; or both.
        comparison_ids: Just these pairs, in place of `which`.
        limit: At most so many pairs; 0 for all.
        is_suggestion: Keep the answers for `suggestion` and judge nothing.
        key: The endpoint's; None for the one that is kept.
        is_key_kept: Whether `key` goes into the system's keyring.

    Raises:
        UserError: There is no such pair, the model is not there, or the person was not shown yet
            how far this judge agrees with them.
    """
    name = name_of(ws, settings)
    ids = _chosen(ws, name, which, comparison_ids, limit)
    if not set(ids) <= ws.experiment.ai_answers.labels_of(ws.annotator).keys():
        require_shown(ws, name)
    ws.check_writable()
    remember(ws, name, settings=settings.model_dump())

    def work(cancel: CancelToken) -> Working:
        secret = key
        if settings.where == "endpoint" and key is None:
            secret = judge_keys.find(settings.url)
        elif settings.where == "endpoint" and key and is_key_kept:
            try:
                judge_keys.keep(settings.url, key)
            except EnvironmentProblem as problem:
                yield Warned(problem.message, problem.hint)
        asked = _Asked(ws, settings, name, is_suggestion)
        return (yield from asked.about(ids, secret or "", cancel))

    return ws.submit(f"{name} judges", "judge", work, total=len(ids), unit="pairs")


def outlook(ws: Workspace, settings: JudgeSettings, which: Which, limit: int = 0) -> Outlook:
    """How many pairs `judge` would take, and about how long, at the pace so far."""
    name = name_of(ws, settings)
    ids = _pairs(ws, name, which, limit)
    known = ws.experiment.ai_answers.counts_of(name)
    cost = ws.experiment.ai_answers.cost(name)
    n_questions = sum(2 - known.get(i, (0, 0))[0] for i in ids)
    pace = cost.seconds / cost.n_answers if cost.n_answers else None
    return Outlook(len(ids), None if pace is None else pace * n_questions / settings.concurrency)


def preview(ws: Workspace, settings: JudgeSettings) -> str:
    """What a judge would read of one pair: the person's next one, or any; empty without pairs."""
    item = labelling.next_item(ws)
    if item is None:
        labels = ws.experiment.ai_answers.labels_of(ws.annotator)
        if not labels:
            return ""
        item = labelling.item(ws, next(iter(labels)))
    question = Question(item.prompt.messages, item.first.text, item.second.text)
    return question.text(settings)


def _chosen(
    ws: Workspace, name: str, which: Which, wanted: Sequence[int] | None, limit: int
) -> list[int]:
    if wanted is not None:
        for comparison_id in wanted:
            ws.experiment.comparisons.get(comparison_id)
        return list(dict.fromkeys(wanted))
    ids = _pairs(ws, name, which, limit)
    if ids:
        return ids
    if which == "agree-check":
        raise UserError(
            "There is no label of yours that this judge was not compared with.",
            "Rank some pairs yourself first.",
        )
    raise UserError(
        "There is no pair left for this judge.", "Generate more answers, or undo its judgements."
    )


def _pairs(ws: Workspace, name: str, which: Which, limit: int) -> list[int]:
    known = ws.experiment.ai_answers.counts_of(name)
    # Asked in both orders, and no verdict could be read: asking again would say the same.
    hopeless = {i for i, (n, n_readable) in known.items() if n == 2 and n_readable < 2}
    ids = [i for i in ws.experiment.ai_answers.unjudged_by(name) if i not in hopeless]
    if which == "agree-check":
        labels = ws.experiment.ai_answers.labels_of(ws.annotator)
        ids = [i for i in ids if i in labels]
        random.Random(name).shuffle(ids)
    elif which == "pending":
        decided = ws.experiment.ai_answers.judged_with_authority()
        ids = [i for i in ids if i not in decided]
    return ids[: limit or None]


class _Asked:
    """One job: questions, answers as they come, judgements that follow."""

    def __init__(
        self, ws: Workspace, settings: JudgeSettings, name: str, is_suggestion: bool
    ) -> None:
        self._ws = ws
        self._settings = settings
        self._name = name
        self._is_suggestion = is_suggestion
        self._answers = ws.experiment.ai_answers
        self._group = Group()
        self._count: Counter[str] = Counter()
        self._seconds = 0.0

    def about(self, ids: Sequence[int], key: str, cancel: CancelToken) -> Working:
        """Ask about pairs; those that are answered already are only counted."""
        asker: Judge | None = None
        try:
            for start in range(0, len(ids), _PAIRS_AT_ONCE):
                part = ids[start : start + _PAIRS_AT_ONCE]
                questions = self._open_questions(part)
                yield Progress(self._n_done, len(ids), "Judging pairs")
                if questions and asker is None:
                    asker = yield from judge_of(self._ws, self._settings, key, cancel)
                if questions and asker is not None:
                    yield from self._ask(asker, questions, len(ids))
                if cancel.should_stop:
                    break
        finally:
            if asker is not None:
                asker.close()
        yield from self._warnings()
        return self._result()

    @property
    def _n_done(self) -> int:
        return self._count["pairs"]

    def _open_questions(self, ids: Sequence[int]) -> list[tuple[int, bool, Question]]:
        """What is still to be asked; pairs that are known, or need no question, are done now."""
        questions = []
        for i in ids:
            item = labelling.item(self._ws, i)
            if item.is_identical:
                for is_swapped in (False, True):
                    self._answers.add(i, self._name, is_swapped, 0.5, _IDENTICAL, 0.0, 0)
            known = self._answers.of_pair(i, self._name)
            straight = Question(item.prompt.messages, item.first.text, item.second.text)
            missing = [
                (i, is_swapped, straight.swapped() if is_swapped else straight)
                for is_swapped in (False, True)
                if is_swapped not in known
            ]
            questions += missing
            if not missing:
                self._settle(i)
        return questions

    def _ask(
        self, asker: Judge, questions: Sequence[tuple[int, bool, Question]], total: int
    ) -> Iterator[Event]:
        answering = asker.ask([question for _, _, question in questions])
        try:
            for told in answering:
                if isinstance(told, Note):
                    yield Progress(self._n_done, total, told.text)
                    continue
                number, answer = told
                comparison_id, is_swapped, _ = questions[number]
                self._take(comparison_id, is_swapped, answer)
                yield Progress(self._n_done, total, "Judging pairs")
        finally:
            answering.close()

    def _take(self, comparison_id: int, is_swapped: bool, answer: Answer) -> None:
        p = answer.p_shown_first
        self._answers.add(
            comparison_id,
            self._name,
            is_swapped,
            1.0 - p if p is not None and is_swapped else p,
            answer.text,
            answer.seconds,
            answer.n_tokens,
        )
        self._count["answers"] += 1
        self._count["tokens"] += answer.n_tokens
        self._seconds += answer.seconds
        if len(self._answers.of_pair(comparison_id, self._name)) == 2:
            self._settle(comparison_id)

    def _settle(self, comparison_id: int) -> None:
        """Both orders are known: judge."""
        both = self._answers.of_pair(comparison_id, self._name)
        verdict = decided(both, self._settings.tie_margin)
        self._count["pairs"] += 1
        self._count[verdict or "unreadable"] += 1
        self._count["contradictions"] += bool(verdict) and contradicts(both)
        if not verdict or self._is_suggestion:
            return
        # Judged already, by an earlier job: these answers are what it went by.
        if self._ws.experiment.judgements.latest(comparison_id, self._name):
            return
        self._count["judged"] += 1
        n = self._count["judged"]
        name = f"{self._name} judged {n} pair{'s' if n > 1 else ''}"
        seconds = sum(answer.seconds for answer in both.values())
        with self._ws.experiment.undo.operation(name, self._group):
            self._ws.experiment.judgements.add(comparison_id, verdict, self._name, "ai", seconds)

    def _warnings(self) -> Iterator[Event]:
        n, total = self._count["unreadable"], self._count["pairs"]
        if n and n >= _MANY_UNREADABLE * total:
            yield Warned(
                f"The judge named neither answer on {n} of {total} pairs.",
                "Ask for one letter only in the template, or allow longer answers.",
            )

    def _result(self) -> Mapping[str, object]:
        count = self._count
        return {
            "judge": self._name,
            "n_pairs": count["pairs"],
            "n_judged": count["judged"],
            "n_ties": count["tie"],
            "n_contradictions": count["contradictions"],
            "n_unreadable": count["unreadable"],
            "n_answers": count["answers"],
            "n_tokens": count["tokens"],
            "seconds": self._seconds,
        }


def judge_of(
    ws: Workspace, settings: JudgeSettings, key: str, cancel: CancelToken
) -> Generator[Event, None, Judge]:
    """A judge that is ready to be asked; close it after use.

    Raises:
        UserError: Its model is not there, or an endpoint cannot be asked so.
    """
    if settings.where == "endpoint":
        from workbench.rewards.endpoint_judge import EndpointJudge

        return EndpointJudge(settings, key, cancel)
    is_loaded = settings.where == "loaded" or (
        bool(ws.selected_model) and library.find(settings.model).digest == ws.model_info().digest
    )
    if is_loaded:
        model = yield from ws.model(cancel)
    else:
        info = library.find(settings.model)
        prepare_torch(ws.keeps_core_free)
        from workbench.models.loading import load

        model = yield from with_progress(lambda told: load(info, cancel=cancel, on_progress=told))
    from workbench.rewards.judge import LocalJudge

    return LocalJudge(model, settings, cancel)
