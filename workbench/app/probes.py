"""Light reward models: measured while a person ranks, and kept as a reward like any other.

What the base makes of answers is read once (`app/features.py`); everything after that takes a
second or two and no model, so it runs beside the worker.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from workbench.app.features import States, known_states, states
from workbench.app.reward import check_pairs
from workbench.app.training_data import labels_digest, too_few, usable_pairs
from workbench.app.workspace import MIN_PAIRS, Workspace
from workbench.cancel import CancelToken
from workbench.config.algorithms import PROBE
from workbench.config.probe import ProbeKind, ProbeSettings
from workbench.config.toml import SettingsError, validate
from workbench.data.folders import atomic_folder
from workbench.data.records import Message
from workbench.errors import UserError
from workbench.events import Evaluated, Event, Saved, Warned
from workbench.jobs.runner import Job, Working

if TYPE_CHECKING:
    from workbench.rewards.probe_fits import Labels
    from workbench.rewards.probes import Accuracy

KIND = "probe"
KINDS: tuple[ProbeKind, ...] = get_args(ProbeKind)
QUICK: tuple[ProbeKind, ...] = ("logistic", "ridge")
"""Those that are measured again after every few labels; all together take some seconds more."""

_SETTINGS, _IS_ON, _REPORT = "probes", "probes.is_on", "probes.report"
_SIZES = (10, 20, 40, 80, 160, 320, 640, 1280)
_N_AHEAD = 16
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Share:
    """A held-out accuracy with its 95 % interval over `n` labels."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of probe as it was measured; `layer` and `pooling` are what all labels choose."""

    kind: ProbeKind
    layer: int
    pooling: str
    strength: float
    accuracy: Share
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """What probes tell of the labels so far.

    Attributes:
        model: The name or path by which the base was chosen.
        n_said: Judgements there were, to see whether others have come.
        n_labels: Pairs, or ratings, that were learned from.
        rows: Each kind, with choices made without the labels it is measured on; kinds that were
            not measured this time are as they were before.
        by_layer: Least squares from each layer and pooling.
        by_size: Of the first kind, with so many labels to learn from.
        seconds: Of everything.
        doubts: What is wrong or doubtful about the labels, as sentences.
    """

    model: str
    n_said: int
    n_labels: int
    rows: tuple[Row, ...]
    by_layer: tuple[tuple[int, str, Share], ...]
    by_size: tuple[tuple[int, Share], ...]
    seconds: float
    doubts: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return {**asdict(self), "version": _VERSION}


@dataclass(frozen=True, slots=True)
class _Material:
    """Labels, and the answers that they are about."""

    answers: Sequence[tuple[Sequence[Message], str]]
    labels: Labels
    facts: dict[str, object]


def saved(ws: Workspace) -> ProbeSettings:
    """The settings that were last used."""
    try:
        return validate(ProbeSettings, ws.experiment.settings.get(_SETTINGS, {}))
    except SettingsError:
        return ProbeSettings()


def is_on(ws: Workspace) -> bool:
    """Whether probes are measured again by themselves while labels come."""
    return bool(ws.experiment.settings.get(_IS_ON, True))


def switch(ws: Workspace, is_on: bool) -> None:
    """Remember whether probes are measured again by themselves."""
    ws.check_writable()
    ws.experiment.settings.set(_IS_ON, is_on)


def report(ws: Workspace) -> Report | None:
    """What was last measured; None when nothing was, or by another version of the program."""
    values: dict[str, Any] | None = ws.experiment.settings.get(_REPORT)
    if not values or values.get("version") != _VERSION:
        return None
    return Report(
        model=values["model"],
        n_said=values["n_said"],
        n_labels=values["n_labels"],
        rows=tuple(Row(**{**r, "accuracy": Share(**r["accuracy"])}) for r in values["rows"]),
        by_layer=tuple((layer, p, Share(**share)) for layer, p, share in values["by_layer"]),
        by_size=tuple((n, Share(**share)) for n, share in values["by_size"]),
        seconds=values["seconds"],
        doubts=tuple(values["doubts"]),
    )


def is_due(ws: Workspace) -> bool:
    """Whether labels came, or another model was chosen, since probes were measured; only counts."""
    if not is_on(ws) or ws.is_read_only or not ws.selected_model:
        return False
    n_decided = sum(ws.experiment.judgements.count(verdict=v) for v in ("first", "second"))
    if n_decided < MIN_PAIRS:
        return False
    found = report(ws)
    return found is None or (found.n_said, found.model) != (n_said(ws), ws.selected_model)


def n_said(ws: Workspace) -> int:
    """Judgements that stand: what tells quickly that others have come."""
    return ws.experiment.judgements.count()


def measure(
    ws: Workspace,
    settings: ProbeSettings,
    kinds: Sequence[ProbeKind] = QUICK,
    cancel: CancelToken | None = None,
) -> Report | int:
    """Measure kinds of probes without a model, and remember it; for a thread beside the worker.

    Returns:
        What was found, or how many answers the model must read first (`read_answers`).

    Raises:
        UserError: No model is chosen, or the labels are too few or say nothing.
    """
    info, n = ws.model_info(), n_said(ws)
    material = _material(ws, settings)
    known = known_states(ws, info.digest, material.answers)
    if isinstance(known, int):
        return known
    began = time.perf_counter()
    rows, by_layer, by_size = _measured(
        known, material.labels, settings, _possible(kinds, settings), cancel or CancelToken()
    )
    before = report(ws)
    if before is not None and before.model == ws.selected_model:
        rows += [row for row in before.rows if row.kind not in {r.kind for r in rows}]
    found = Report(
        model=ws.selected_model,
        n_said=n,
        n_labels=len(material.labels.first),
        rows=tuple(rows),
        by_layer=tuple(by_layer),
        by_size=tuple(by_size),
        seconds=time.perf_counter() - began,
        doubts=tuple(check_pairs(ws)),
    )
    if not ws.is_read_only:
        ws.experiment.settings.set(_REPORT, found.to_dict())
    return found


def read_answers(ws: Workspace) -> Job:
    """Let the model read answers that labels are about, and those that are asked about next.

    Raises:
        UserError: No model is chosen, or there are too few labels.
    """
    ws.model_info()
    material = _material(ws, saved(ws))

    def work(cancel: CancelToken) -> Working:
        model = yield from ws.model(cancel)
        with model.checking(cancel.raise_if_cancelled):
            yield from states(ws, model, [*material.answers, *_next_answers(ws)], cancel)
        return {"n_answers": len(material.answers)}

    return ws.submit("Read answers for probes", KIND, work, unit="answers")


def try_out(ws: Workspace, settings: ProbeSettings, kinds: Sequence[ProbeKind] = KINDS) -> Job:
    """Read what is not read yet and measure kinds of probes, in one job.

    Raises:
        UserError: No model is chosen, or the labels are too few or say nothing.
    """
    ws.model_info()
    material = _material(ws, settings)

    def work(cancel: CancelToken) -> Working:
        model = yield from ws.model(cancel)
        with model.checking(cancel.raise_if_cancelled):
            yield from states(ws, model, material.answers, cancel)
        found = measure(ws, settings, kinds, cancel)
        assert isinstance(found, Report)
        return found.to_dict()

    return ws.submit("Measure probes", KIND, work, unit="answers")


def keep(ws: Workspace, settings: ProbeSettings) -> Job:
    """Fit a probe to all labels and keep it as a reward, in a run of its own.

    Raises:
        UserError: No model is chosen, or the labels are too few or say nothing.
    """
    ws.check_writable()
    info = ws.model_info()
    material = _material(ws, settings)
    ws.experiment.settings.set(_SETTINGS, settings.model_dump())
    inputs = {"model": info.name, "model_digest": info.digest, **material.facts}
    run_id = ws.new_run("reward", PROBE, settings, inputs)
    doubts = check_pairs(ws)

    def work(cancel: CancelToken) -> Iterator[Event]:
        for sentence in doubts:
            yield Warned(sentence)
        model = yield from ws.model(cancel)
        with model.checking(cancel.raise_if_cancelled):
            known = yield from states(ws, model, material.answers, cancel)
        from workbench.rewards import probe_reward, probes

        views = probes.views_of(known.values, known.layers, settings)
        accuracy = probes.measure([settings.kind], views, material.labels, settings)[settings.kind]
        yield Evaluated(
            0,
            {
                "reward/heldout_accuracy": accuracy.value,
                "reward/heldout_low": accuracy.low,
                "reward/heldout_high": accuracy.high,
                "reward/heldout_pairs": float(accuracy.n),
            },
        )
        cancel.raise_if_stopping()
        probe = probes.fit_probe_on(settings.kind, views, material.labels, settings)
        folder = ws.run_folder(run_id) / "reward_model"
        with atomic_folder(folder, is_replacing=True) as partial_folder:
            n = len(material.labels.first)
            probe_reward.save(partial_folder, probe, settings.kind, model, n)
        yield Saved(0, "reward_model", str(folder))

    return ws.submit(ws.run(run_id).name, "reward", work, run_id=run_id, unit="answers")


def _material(ws: Workspace, settings: ProbeSettings) -> _Material:
    """The labels that are learned from.

    Raises:
        UserError: They are too few, or say nothing.
    """
    if settings.learn_from == "ratings":
        return _ratings(ws)
    pairs, _ = usable_pairs(ws)
    if len(pairs) < MIN_PAIRS:
        raise _too_few(ws, len(pairs))
    if len({p.prompt.id for p in pairs}) < 2:
        raise UserError(
            "All pairs are about one prompt, so nothing could be measured on another.",
            "Rank answers to other prompts too.",
        )
    from workbench.rewards.probe_fits import Labels

    numbers: dict[tuple[int, str], int] = {}
    answers: list[tuple[Sequence[Message], str]] = []
    sides: list[list[int]] = [[], []]
    for pair in pairs:
        for side, text in zip(sides, (pair.chosen, pair.rejected), strict=True):
            number = numbers.setdefault((pair.prompt.id, text), len(answers))
            if number == len(answers):
                answers.append((pair.prompt.messages, text))
            side.append(number)
    labels = Labels(
        np.array(sides[0]),
        np.array(sides[1]),
        np.array([pair.weight for pair in pairs]),
        np.array([pair.prompt.id for pair in pairs]),
    )
    facts = {
        "n_pairs": len(pairs),
        "labels_digest": labels_digest(pairs),
        "annotators": sorted({f"{p.annotator} ({p.annotator_kind})" for p in pairs}),
    }
    return _Material(answers, labels, facts)


def _too_few(ws: Workspace, n_pairs: int) -> UserError:
    """What to say of too few pairs; that all are undecided, when that is why."""
    n_undecided = sum(ws.experiment.judgements.count(verdict=v) for v in ("tie", "both_bad"))
    if n_pairs or n_undecided < MIN_PAIRS:
        return too_few(n_pairs)
    return UserError(
        f"All {n_undecided} judgements are ties, or call both answers bad: nothing says which "
        "answer is better.",
        "Rank pairs of which one is better, or generate answers that differ more.",
    )


def _ratings(ws: Workspace) -> _Material:
    """Stars by answer, the mean where several people gave them."""
    stars: dict[int, list[float]] = {}
    prompt_of: dict[int, int] = {}
    for remark in ws.experiment.remarks.list("rating"):
        if remark.completion_id is not None:
            stars.setdefault(remark.completion_id, []).append(float(remark.value))
            prompt_of[remark.completion_id] = remark.prompt_id
    if len(stars) < MIN_PAIRS or len(set(prompt_of.values())) < 2:
        raise UserError(
            f"There are {len(stars)} rated answers to {len(set(prompt_of.values()))} prompts; a "
            f"probe needs at least {MIN_PAIRS} to 2.",
            "Rate more answers, or learn from pairs.",
        )
    ids = sorted(stars)
    ratings = np.array([sum(stars[i]) / len(stars[i]) for i in ids])
    if ratings.min() == ratings.max():
        raise UserError(
            f"All {len(ids)} ratings are the same, so they say nothing of what is better.",
            "Rate answers that differ, or learn from pairs.",
        )
    from workbench.rewards.probe_fits import Labels

    prompts = {p.id: p for p in ws.experiment.prompts.get_many(sorted(set(prompt_of.values())))}
    texts = ws.experiment.completions.texts_of(ids)
    groups = np.array([prompt_of[i] for i in ids])
    labels = Labels(np.arange(len(ids)), None, ratings, groups)
    answers = [(prompts[prompt_of[i]].messages, texts[i]) for i in ids]
    return _Material(answers, labels, {"n_ratings": len(ids)})


def _next_answers(ws: Workspace) -> list[tuple[Sequence[Message], str]]:
    """Answers of pairs that wait, so that they are read before they are judged.

    In the order of adding: for another order the answers were read already.
    """
    pairs = ws.experiment.comparisons.pending(ws.annotator)[:_N_AHEAD]
    prompts = {p.id: p for p in ws.experiment.prompts.get_many([c.prompt_id for c in pairs])}
    prompt_of = {i: c.prompt_id for c in pairs for i in (c.first_id, c.second_id)}
    texts = ws.experiment.completions.texts_of(list(prompt_of))
    return [(prompts[prompt_of[i]].messages, text) for i, text in texts.items()]


def _measured(
    known: States,
    labels: Labels,
    settings: ProbeSettings,
    kinds: Sequence[ProbeKind],
    cancel: CancelToken,
) -> tuple[list[Row], list[tuple[int, str, Share]], list[tuple[int, Share]]]:
    """Rows of kinds, accuracy from each view, accuracy by number of labels."""
    from workbench.rewards import probes

    views = probes.views_of(known.values, known.layers, settings)
    rows, choices = [], {}
    for kind in kinds:
        cancel.raise_if_cancelled()
        began = time.perf_counter()
        accuracy = probes.measure([kind], views, labels, settings)[kind]
        choice = choices[kind] = probes.choose(kind, views, labels, settings)
        seconds = time.perf_counter() - began
        view = views[choice.view]
        share = _share(accuracy)
        rows.append(Row(kind, view.layer, view.pooling, choice.strength, share, seconds))
    cancel.raise_if_cancelled()
    told = zip(views, probes.by_view(views, labels, settings.seed), strict=True)
    by_layer = [(view.layer, str(view.pooling), _share(a)) for view, a in told]
    n, kind = len(labels.first), kinds[0]
    most = round((1 - 1 / probes.N_FOLDS) * n)
    sizes = [*(size for size in _SIZES if size < 0.8 * most), most]
    view = views[choices[kind].view]
    curve = probes.by_size(kind, view, labels, choices[kind].strength, sizes, settings.seed)
    return rows, by_layer, [(size, _share(a)) for size, a in zip(sizes, curve, strict=True)]


def _possible(kinds: Sequence[ProbeKind], settings: ProbeSettings) -> list[ProbeKind]:
    """Those that can learn from what is learned from, with what is installed."""
    from workbench.rewards import probe_fits

    learning = ("ridge", "svm") if settings.learn_from == "ratings" else KINDS
    found = [k for k in kinds if k in learning and (k != "svm" or probe_fits.has_sklearn())]
    return found or ["ridge"]


def _share(accuracy: Accuracy) -> Share:
    return Share(*accuracy)
