"""How good labels are: hidden repeats, and what judgements tell about who gave them.

`next_repeat` and `judge_repeat` are for the panel in which pairs are judged; `report` reads all
labels, a matter of seconds at 100,000, so that a window asks through `measure`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

from workbench.app.aggregate import model_strengths, rule_of
from workbench.app.quality import agreement, habits, pace, repeats
from workbench.app.quality.findings import (
    LISTED,
    Disagreement,
    FastLabel,
    Finding,
    PairAgreement,
    QualityReport,
    Tenth,
    Voice,
    plain,
)
from workbench.app.quality.repeats import (
    judge_repeat,
    next_repeat,
    save_settings,
    settings,
)
from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.events import Event, Progress
from workbench.jobs.runner import Job, Working
from workbench.store.labels import Label

__all__ = [
    "Disagreement",
    "FastLabel",
    "Finding",
    "PairAgreement",
    "QualityReport",
    "Tenth",
    "judge_repeat",
    "measure",
    "next_repeat",
    "plain",
    "report",
    "save_settings",
    "settings",
]


def measure(ws: Workspace, annotator: str | None = None) -> Job:
    """The report as a job beside the models' worker.

    `Finished.result` holds it under "report", and the strengths of the models under "models".
    """

    def work(cancel: CancelToken) -> Iterator[Event]:
        return _measure(ws, annotator, cancel)

    return ws.readers.submit("Look at the labels", "measure", work)


def _measure(ws: Workspace, annotator: str | None, cancel: CancelToken) -> Working:
    yield Progress(0, 0, "Reading the labels")
    found = report(ws, annotator, cancel.raise_if_cancelled)
    models = model_strengths(ws, rule_of(ws), cancel.raise_if_cancelled)
    return {"report": found, "models": models}


def report(
    ws: Workspace, annotator: str | None = None, check: Callable[[], object] = lambda: None
) -> QualityReport:
    """What the labels tell about one annotator, and how far all annotators agree.

    Args:
        ws: The experiment.
        annotator: Whose labels; None for the person who uses the program or, when they judged
            nothing, whoever judged most.
        check: Called now and then; raises to stop.
    """
    labels = ws.experiment.labels.list(check)
    if annotator is None:
        annotator = _main_annotator(labels, ws.annotator)
    own = [label for label in labels if label.annotator == annotator]
    answers = ws.experiment.labels.answers(check)
    check()
    voice = Voice("You", "you") if annotator == ws.annotator else Voice(annotator, annotator)
    pairs = {label.comparison_id for label in own}
    again = [a for a in repeats.compared(ws, annotator) if a.repeat.comparison_id in pairs]
    fast, speed = pace.too_fast(own, answers, settings(ws).reading_speed, voice)
    tenths, drift = pace.drift(own, answers, again, voice)
    check()
    verdicts = Counter(label.verdict for label in own)
    n_decided = verdicts["first"] + verdicts["second"]
    findings = (
        habits.amount(n_decided),
        *repeats.self_agreement(again, voice),
        *habits.side(own, answers, voice),
        *habits.length(own, answers, voice),
        *speed,
        *drift,
    )
    between = agreement.between(ws, labels, check)
    return QualityReport(
        annotator=annotator,
        voice=voice,
        annotators={label.annotator: label.annotator_kind for label in labels},
        n_judged=len(own) - verdicts["skip"],
        n_decided=n_decided,
        n_skipped=verdicts["skip"],
        findings=findings if own else (),
        too_fast=tuple(_with_prompts(ws, fast[:LISTED])),
        n_too_fast=len(fast),
        tenths=tenths,
        between=between.pairs,
        alphas=between.alphas,
        disagreements=between.disagreements,
        n_disagreements=between.n_disagreements,
    )


def _with_prompts(ws: Workspace, fast: list[FastLabel]) -> Iterator[FastLabel]:
    prompts = ws.experiment.prompts.get_many(sorted({f.prompt_id for f in fast}))
    texts = {prompt.id: prompt.text for prompt in prompts}
    return (replace(f, prompt=texts.get(f.prompt_id, "")) for f in fast)


def _main_annotator(labels: list[Label], user: str) -> str:
    counts = Counter(label.annotator for label in labels)
    if user in counts or not counts:
        return user
    return counts.most_common(1)[0][0]
