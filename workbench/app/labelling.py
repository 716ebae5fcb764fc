"""Ranking: the next pair, a verdict that is on the disk when it returns, undo, and time left."""

from __future__ import annotations

import itertools
import random
import statistics
from collections.abc import Generator, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from workbench.app.quality import repeats
from workbench.app.settings import UserSettings
from workbench.cancel import CancelToken
from workbench.config.annotator import AnnotatorSettings
from workbench.data.records import Comparison, Completion, Prompt, Strength, Verdict
from workbench.errors import UserError
from workbench.events import Event, Progress
from workbench.store.judgements import JudgedPair
from workbench.store.undo import Group

if TYPE_CHECKING:
    from workbench.app.workspace import Workspace
    from workbench.jobs.runner import Job
    from workbench.rewards.annotator import SimulatedAnnotator

Queue = Literal["pending", "drafts", "ranked", "skipped"]
MAX_PAIRS_PER_PROMPT = 6
_AT_ONCE = 1000
_N_RECENT = 20
_N_FOR_ESTIMATE = 3
_BATCH = 25


@dataclass(frozen=True, slots=True)
class RankItem:
    """One comparison with all that its reader needs.

    `first` and `second` are in the order of the screen: that of the comparison, but in a repeat
    that swaps the sides. `is_identical`: the two texts are equal but for spaces at the ends, a tie
    in all likelihood. `has_empty`: at least one answer has no text. `is_repeat`: it was judged
    before and is shown once more; the person is not told.
    """

    comparison: Comparison
    prompt: Prompt
    first: Completion
    second: Completion
    is_identical: bool
    has_empty: bool
    is_repeat: bool = False
    is_swapped: bool = False


@dataclass(frozen=True, slots=True)
class RankProgress:
    """How far the annotator is; `seconds_left` is None until there is something to go by."""

    n_total: int
    n_judged: int
    n_skipped: int
    n_left: int
    seconds_left: float | None


def next_item(ws: Workspace, after_id: int = 0) -> RankItem | None:
    """The first pair behind comparison `after_id` that this annotator has not judged."""
    comparison = ws.experiment.comparisons.next_pending(ws.annotator, after_id)
    return _to_item(ws, comparison) if comparison else None


def choose_annotator(ws: Workspace, name: str) -> None:
    """Let somebody else judge from now on; each has a queue of their own.

    Raises:
        UserError: The name is empty, or that of a machine's judgements.
    """
    name = " ".join(name.split())
    if not name:
        raise UserError("An annotator must have a name.", "Type the name of who judges.")
    kind = ws.experiment.judgements.annotators().get(name, "person")
    if kind not in ("person", "imported"):
        raise UserError(f"{name} is no person: its judgements are {kind}.", "Take another name.")
    replace(UserSettings.load(), annotator=name).save()
    ws.annotator = name


def is_pending(ws: Workspace, comparison_id: int) -> bool:
    """Whether this annotator has yet to judge a pair."""
    return ws.experiment.comparisons.is_pending(ws.annotator, comparison_id)


def item(ws: Workspace, comparison_id: int) -> RankItem:
    """A certain pair, judged or not.

    Raises:
        UserError: There is no such comparison.
    """
    return _to_item(ws, ws.experiment.comparisons.get(comparison_id))


def next_repeat(ws: Workspace) -> RankItem | None:
    """The pair to show once more now, as a check; None when it is not time for one."""
    found = repeats.next_repeat(ws)
    if found is None:
        return None
    comparison, is_swapped = found
    shown = _to_item(ws, comparison)
    if is_swapped:
        shown = replace(shown, first=shown.second, second=shown.first)
    return replace(shown, is_repeat=True, is_swapped=is_swapped)


def judge_item(
    ws: Workspace,
    shown: RankItem,
    verdict: Verdict,
    seconds: float,
    *,
    strength: Strength = 0,
    is_revealed: bool = False,
) -> None:
    """As `judge`, of a pair as it stands on the screen; a repeat leaves the first word alone.

    Raises:
        EnvironmentProblem: It could not be stored; nothing was changed.
    """
    pair = shown.comparison.id
    if shown.is_repeat:
        repeats.judge_repeat(ws, pair, verdict, seconds, shown.is_swapped, strength)
    else:
        judge(ws, pair, verdict, seconds, strength=strength, is_revealed=is_revealed)


def judge(
    ws: Workspace,
    comparison_id: int,
    verdict: Verdict,
    seconds: float,
    *,
    strength: Strength = 0,
    is_revealed: bool = False,
) -> None:
    """Store what the person said; it survives a power cut once this returns.

    Args:
        ws: The experiment.
        comparison_id: The pair.
        verdict: Which answer is better, if one is.
        seconds: How long it took.
        strength: How much better it is.
        is_revealed: Whether the person had asked which model wrote which answer.

    Raises:
        UserError: There is no such comparison.
        EnvironmentProblem: It could not be stored; nothing was changed.
    """
    ws.experiment.comparisons.get(comparison_id)
    ws.experiment.judgements.add(
        comparison_id,
        verdict,
        ws.annotator,
        "person",
        max(0.0, seconds),
        strength=strength,
        is_revealed=is_revealed,
    )
    ws.experiment.drafts.save(comparison_id, ws.annotator, {})


def visitable(ws: Workspace, queue: Queue) -> list[int]:
    """Comparisons of a queue other than the pending one, the last touched first."""
    if queue == "drafts":
        return ws.experiment.drafts.list(ws.annotator)
    return ws.experiment.judgements.compared(ws.annotator, is_skipped=queue == "skipped")


def n_drafts(ws: Workspace) -> int:
    """How many pairs this annotator has begun something on."""
    return len(ws.experiment.drafts.list(ws.annotator))


def undo(ws: Workspace) -> str | None:
    """Take back the newest change to the experiment; its name, None when there is none."""
    return ws.experiment.undo.undo()


def redo(ws: Workspace) -> str | None:
    """Do the last undone change again; its name, None when there is none."""
    return ws.experiment.undo.redo()


def is_long(ws: Workspace, *, is_undo: bool) -> bool:
    """Whether the next undo or redo changes so many rows that it takes a moment."""
    return ws.experiment.undo.next_size(is_undo=is_undo) > _AT_ONCE


def undo_name(ws: Workspace) -> str | None:
    """What `undo` would take back."""
    return ws.experiment.undo.next_undo_name()


def redo_name(ws: Workspace) -> str | None:
    """What `redo` would do again."""
    return ws.experiment.undo.next_redo_name()


def progress(ws: Workspace) -> RankProgress:
    """Counts, and the time left at the median pace of the last judgements."""
    counts = ws.experiment.comparisons.counts(ws.annotator)
    recent = ws.experiment.judgements.recent_seconds(ws.annotator, _N_RECENT)
    # The median: one coffee break must not double the estimate.
    is_enough = len(recent) >= _N_FOR_ESTIMATE
    seconds_left = statistics.median(recent) * counts.pending if is_enough else None
    return RankProgress(counts.total, counts.judged, counts.skipped, counts.pending, seconds_left)


def judgements(
    ws: Workspace,
    *,
    after_id: int = 0,
    limit: int = 200,
    verdict: Verdict | None = None,
    annotator: str | None = None,
    search: str = "",
    is_newest_first: bool = False,
) -> list[JudgedPair]:
    """A page of the standing judgements; the next begins after the last id of this one."""
    return ws.experiment.judgements.list(
        after_id=after_id,
        limit=limit,
        verdict=verdict,
        annotator=annotator,
        search=search,
        is_newest_first=is_newest_first,
    )


def make_comparisons(ws: Workspace, seed: int = 0) -> int:
    """Pair the answers of each prompt, in shuffled order and with shuffled sides.

    All pairs of a prompt up to six; of more, a ring first, so that every answer meets two
    others. Pairs that exist stay as they are and count towards the six; deleted ones are not
    made again.

    Returns:
        How many pairs are new.
    """
    existing = ws.experiment.comparisons.by_prompt()
    deleted = ws.experiment.comparisons.by_prompt(is_deleted=True)
    pairs = [
        (prompt_id, *pair)
        for prompt_id, answer_ids in ws.experiment.completions.by_prompt()
        for pair in _new_pairs(
            answer_ids,
            existing.get(prompt_id, set()),
            deleted.get(prompt_id, set()),
            random.Random(f"{seed}/{prompt_id}"),
        )
    ]
    random.Random(f"{seed}").shuffle(pairs)
    return ws.experiment.comparisons.add_many(pairs)


def simulate(ws: Workspace, settings: AnnotatorSettings) -> Job:
    """Let the simulated annotator judge all pairs that it has not judged; undone as a whole."""
    from workbench.rewards.annotator import NAME

    if not ws.experiment.comparisons.counts(NAME).pending:
        raise UserError(
            "There is no pair that the simulated annotator has not judged.",
            "Generate two or more answers per prompt first.",
        )

    def work(cancel: CancelToken) -> Iterator[Event]:
        return _simulate(ws, settings, cancel)

    return ws.submit("Simulated judgements", "simulate", work, unit="pairs")


def _simulate(
    ws: Workspace, settings: AnnotatorSettings, cancel: CancelToken
) -> Generator[Event, None, Mapping[str, object]]:
    from workbench.rewards.annotator import NAME, SimulatedAnnotator

    annotator = SimulatedAnnotator(settings)
    ids = ws.experiment.comparisons.pending_ids(NAME)
    group = Group()
    n_done = 0
    while n_done < len(ids) and not cancel.should_stop:
        batch = ids[n_done : n_done + _BATCH]
        n_done += len(batch)
        # Judged before the transaction opens, so that a person's verdict need not wait for it.
        verdicts = [(i, _simulated_verdict(ws, annotator, i)) for i in batch]
        name = f"simulated {n_done} judgement{'s' if n_done > 1 else ''}"
        with ws.experiment.undo.operation(name, group):
            for comparison_id, verdict in verdicts:
                ws.experiment.judgements.add(comparison_id, verdict, NAME, "simulated", 0.0)
        yield Progress(n_done, len(ids), "Judging pairs")
    return {"n_judged": n_done}


def _simulated_verdict(ws: Workspace, annotator: SimulatedAnnotator, comparison_id: int) -> Verdict:
    pair = item(ws, comparison_id)
    return annotator.judge(pair.first.text, pair.second.text, key=comparison_id)


def _to_item(ws: Workspace, comparison: Comparison) -> RankItem:
    first = ws.experiment.completions.get(comparison.first_id)
    second = ws.experiment.completions.get(comparison.second_id)
    return RankItem(
        comparison=comparison,
        prompt=ws.experiment.prompts.get(comparison.prompt_id),
        first=first,
        second=second,
        is_identical=first.text.strip() == second.text.strip(),
        has_empty=not (first.text.strip() and second.text.strip()),
    )


def _new_pairs(
    answer_ids: list[int],
    existing: Set[frozenset[int]],
    deleted: Set[frozenset[int]],
    rng: random.Random,
) -> list[tuple[int, int]]:
    shuffled = rng.sample(answer_ids, len(answer_ids))
    candidates = list(zip(shuffled, shuffled[1:] + shuffled[:1], strict=True))
    if len(shuffled) < MAX_PAIRS_PER_PROMPT:
        candidates += rng.sample(every := list(itertools.combinations(shuffled, 2)), len(every))
    taken = set(existing)
    pairs = []
    for first, second in candidates:
        key = frozenset((first, second))
        if first == second or key in taken or key in deleted:
            continue
        if len(taken) >= MAX_PAIRS_PER_PROMPT:
            break
        taken.add(key)
        pairs.append((first, second) if rng.random() < 0.5 else (second, first))
    return pairs
