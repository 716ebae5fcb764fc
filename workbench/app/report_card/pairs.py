"""Which pairs a reward is held against, and what else is known of them."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workbench.app.quality import repeats
from workbench.app.runs import samples
from workbench.app.training_data import usable_pairs
from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.config import toml
from workbench.config.algorithms import REWARD
from workbench.config.reward_model import RewardModelSettings
from workbench.data.records import Message, Preference, Run
from workbench.data.training_data import DATA_FILE, TrainingData
from workbench.evaluation.report_records import Judged
from workbench.events import Event

if TYPE_CHECKING:
    from workbench.models.loading import LoadedModel

_SIDES = ("first", "second")


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs to measure on, and those that the reward learned from.

    Attributes:
        test: What is measured on.
        learn: What the reward learned from, or what is left of the labels.
        sentence: Which pairs these are.
        has_seen: Whether the reward may have learned from `test`.
        notes: What is to be known besides.
    """

    test: tuple[Judged, ...]
    learn: tuple[Judged, ...]
    sentence: str
    has_seen: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyAnswer:
    """An answer as the policy gives it now."""

    prompt_id: int
    messages: tuple[Message, ...]
    text: str


def choose(
    ws: Workspace, model: LoadedModel, run: Run, min_pairs: int, cancel: CancelToken
) -> Generator[Event, None, Pairs]:
    """The pairs for a reward run: held-out ones, where it, or a part of it, was trained here.

    Labels count as they stand now, so that a pair that was judged again is measured as it is meant.

    Args:
        ws: The experiment.
        model: The loaded base.
        run: The reward run.
        min_pairs: With fewer pairs that a probe has not seen, all are taken.
        cancel: Looked at while texts are read.
    """
    now, _ = usable_pairs(ws)
    networks = [r for r in _parts(ws, run) if r.algorithm == REWARD.name and _data(ws, r)]
    if networks:
        return (yield from _held_out(ws, model, run, networks, now, cancel))
    short = yield from _fitting(model, now, model.context_length, cancel)
    found = _labelled(ws, run, _data(ws, run), short, min_pairs)
    if n_long := len(now) - len(short):
        too_long = f"{n_long} pairs are longer than the model's context and left out."
        found = replace(found, notes=(*found.notes, too_long))
    return found


def _fitting(
    model: LoadedModel, pairs: Sequence[Preference], limit: int, cancel: CancelToken
) -> Generator[Event, None, list[Preference]]:
    """Pairs of which both answers fit, with the prompt, into so many tokens."""
    from workbench.training import answers

    texts = [(p.prompt, text) for p in pairs for text in (p.chosen, p.rejected)]
    encoded = yield from answers.encode(model, texts, cancel)
    return [
        pair
        for pair, one, other in zip(pairs, encoded[::2], encoded[1::2], strict=True)
        if max(len(one), len(other)) <= limit
    ]


def _parts(ws: Workspace, run: Run) -> list[Run]:
    """The run itself, or the reward runs that it is designed from."""
    parts = run.settings.get("parts")
    if not isinstance(parts, list):
        return [run]
    return [ws.run(int(part["run"])) for part in parts if part.get("run")]


def _data(ws: Workspace, run: Run) -> tuple[Preference, ...]:
    path = ws.run_folder(run.id) / DATA_FILE
    return TrainingData.read(path).preferences if path.is_file() else ()


def _held_out(
    ws: Workspace,
    model: LoadedModel,
    run: Run,
    networks: Sequence[Run],
    now: Sequence[Preference],
    cancel: CancelToken,
) -> Generator[Event, None, Pairs]:
    """Pairs on the prompts that every network kept apart, by its own settings and data."""
    test: dict[tuple[int, str, str], Preference] = {}
    learn: dict[tuple[int, str, str], Preference] = {}
    for network in networks:
        apart = yield from _split(ws, model, network, cancel)
        for found, pairs in zip((test, learn), apart, strict=True):
            found.update({(p.comparison_id, p.chosen, p.rejected): p for p in pairs})
    learned_prompts = {p.prompt.id for p in learn.values()}
    before = [p for p in test.values() if p.prompt.id not in learned_prompts]
    standing = {p.comparison_id: p for p in now if p.comparison_id}
    after = [p if not p.comparison_id else standing.get(p.comparison_id) for p in before]
    kept = [p for p in after if p is not None]
    n_prompts = len({p.prompt.id for p in kept})
    names = " and ".join(network.name for network in networks)
    whose = names if run in networks else f"{names}, of which it is made,"
    return Pairs(
        test=_known(ws, kept),
        learn=_known(ws, list(learn.values())),
        sentence=(
            f"The {len(kept)} pairs on {n_prompts} prompts that {whose} held out when learning "
            f"from {len(learn)} others."
        ),
        notes=tuple(_changes(before, after)),
    )


def _split(
    ws: Workspace, model: LoadedModel, run: Run, cancel: CancelToken
) -> Generator[Event, None, tuple[list[Preference], list[Preference]]]:
    """The pairs that a run measured on and those that it learned from, as training has them."""
    from workbench.training import answers, reward_items
    from workbench.training.inputs import Inputs

    settings = toml.validate(REWARD.settings, run.settings)
    assert isinstance(settings, RewardModelSettings)
    folder = ws.run_folder(run.id)
    data = TrainingData.read(folder / DATA_FILE)
    inputs = Inputs(
        model=model,
        run_dir=folder,
        preferences=data.preferences,
        ties=data.ties,
        rankings=data.rankings,
        ratings=data.ratings,
    )
    apart = (yield from reward_items.encode_items(settings, inputs, cancel)).heldout_prompts
    differing = [p for p in data.preferences if p.chosen.strip() != p.rejected.strip()]
    limit = answers.longest(model, settings)
    fitting = yield from _fitting(model, differing, limit, cancel)
    return (
        [p for p in fitting if p.prompt.id in apart],
        [p for p in fitting if p.prompt.id not in apart],
    )


def _changes(before: Sequence[Preference], after: Sequence[Preference | None]) -> list[str]:
    n_gone = sum(p is None for p in after)
    n_other = sum(
        p is not None and p.chosen != old.chosen for old, p in zip(before, after, strict=True)
    )
    notes = []
    if n_other:
        notes.append(
            f"{n_other} of these pairs were judged the other way since then; the new label "
            "counts. Judging only those again that the reward got wrong makes it look better."
        )
    if n_gone:
        notes.append(f"{n_gone} of these pairs have no label any more and are left out.")
    return notes


def _labelled(
    ws: Workspace,
    run: Run,
    data: Sequence[Preference],
    now: Sequence[Preference],
    min_pairs: int,
) -> Pairs:
    """For what was not trained as a network here: pairs that it has not seen, else all."""
    seen = _seen(ws, run, data)
    fresh = [p for p in now if p.comparison_id not in seen]
    if not seen or len(fresh) >= min_pairs:
        which = "All" if not seen else "The"
        since = "" if not seen else f" that are newer than {run.name}"
        rest = [p for p in now if p.comparison_id in seen]
        return Pairs(_known(ws, fresh), _known(ws, rest), f"{which} {len(fresh)} pairs{since}.")
    return Pairs(
        _known(ws, now),
        (),
        f"All {len(now)} labelled pairs: only {len(fresh)} are newer than {run.name}.",
        has_seen=True,
    )


def _seen(ws: Workspace, run: Run, data: Sequence[Preference]) -> set[int]:
    """The pairs that a reward has learned from; empty when it did not learn from labels here."""
    if data:
        return {p.comparison_id for p in data}
    if not run.inputs.get("labels_digest"):
        return set()
    labels = ws.experiment.labels.list()
    return {label.comparison_id for label in labels if label.created_at <= run.created_at}


def _known(ws: Workspace, preferences: Sequence[Preference]) -> tuple[Judged, ...]:
    """Preferences with their tags and where the chosen answer stood."""
    ids = [p.comparison_id for p in preferences if p.comparison_id]
    tags = ws.experiment.ai_answers.tags_of(ids)
    first = {c.id: c.first_id for c in ws.experiment.comparisons.get_many(ids)}
    texts = ws.experiment.completions.texts_of(list(first.values()))
    return tuple(
        Judged(
            p,
            texts[first[p.comparison_id]] == p.chosen if p.comparison_id in first else None,
            frozenset(tags.get(p.comparison_id, set())) - {p.prompt.group},
        )
        for p in preferences
    )


def said_again(ws: Workspace) -> list[float]:
    """1 for each repeat of the person that chose the same side again, 0 for the other side."""
    return [
        float(again.is_same)
        for again in repeats.compared(ws, ws.annotator)
        if again.before in _SIDES and again.repeat.verdict in _SIDES
    ]


def policy_answers(
    ws: Workspace, n: int, labelled: Sequence[Judged]
) -> tuple[str, list[PolicyAnswer]]:
    """The newest answers of the newest policy; before there is one, the base's that nobody judged.

    Returns:
        Whose answers they are, and the answers: at most `n`.
    """
    for run in reversed(ws.experiment.runs.list("policy")):
        told = [s for s in samples(ws, run.id) if s.step > 0 and s.text.strip()]
        if told:
            newest = {(s.prompt_id, s.text): None for s in reversed(told)}
            found = _with_prompts(ws, list(newest)[:n])
            if found:
                return f"the answers of {run.name}", found
    judged = {
        (pair.preference.prompt.id, text)
        for pair in labelled
        for text in (pair.preference.chosen, pair.preference.rejected)
    }
    texts = ws.experiment.completions.texts(["generated"])[::-1]
    free = dict.fromkeys(a for a in texts if a not in judged and a[1].strip())
    return "the answers that nobody judged yet", _with_prompts(ws, list(free)[:n])


def _with_prompts(ws: Workspace, answers: Sequence[tuple[int, str]]) -> list[PolicyAnswer]:
    found = ws.experiment.prompts.get_many(sorted({prompt for prompt, _ in answers}))
    prompts: Mapping[int, tuple[Message, ...]] = {p.id: p.messages for p in found}
    return [PolicyAnswer(i, prompts[i], text) for i, text in answers if i in prompts]
