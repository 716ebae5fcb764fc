"""Feedback beyond the choice of a pair: rankings, ratings, comments, tags, edits, drafts.

Like a verdict, each is on the disk when its function returns, and one step of undo takes it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.app.labelling import RankItem
from workbench.app.workspace import Workspace
from workbench.data.records import Completion, NewCompletion, Ranking, Remark, Strength
from workbench.errors import UserError

MAX_RANKED = 8
STARS = range(1, 6)
EDIT_STRENGTH: Strength = 2


@dataclass(frozen=True, slots=True)
class Said:
    """What this annotator said of a pair's prompt and answers.

    Attributes:
        ratings: Stars by answer.
        comments: Comments by answer; None stands for the prompt.
        tags: Tags by answer; None stands for the prompt.
    """

    ratings: Mapping[int, int]
    comments: Mapping[int | None, str]
    tags: Mapping[int | None, tuple[str, ...]]


def said(ws: Workspace, prompt_id: int) -> Said:
    """What this annotator said of a prompt and its answers, apart from comparing them."""
    remarks = ws.experiment.remarks.of_prompt(prompt_id, ws.annotator)
    tags: dict[int | None, tuple[str, ...]] = {}
    for remark in remarks:
        if remark.kind == "tag":
            tags[remark.completion_id] = (*tags.get(remark.completion_id, ()), remark.value)
    return Said(
        ratings={
            r.completion_id: int(r.value)
            for r in remarks
            if r.kind == "rating" and r.completion_id is not None
        },
        comments={r.completion_id: r.value for r in remarks if r.kind == "comment"},
        tags=tags,
    )


def rate(ws: Workspace, answer: Completion, stars: int, seconds: float = 0.0) -> Remark:
    """Rate an answer with 1 to 5 stars; the last rating counts.

    Raises:
        UserError: The number of stars is another.
    """
    if stars not in STARS:
        raise UserError(f"{stars} stars cannot be given.", "Give 1 to 5.")
    return ws.experiment.remarks.add(
        "rating", answer.prompt_id, answer.id, str(stars), ws.annotator, "person", seconds
    )


def comment(ws: Workspace, prompt_id: int, answer_id: int | None, text: str) -> Remark | None:
    """Say something of an answer, or of the prompt; an empty text takes the comment back."""
    if text.strip():
        return ws.experiment.remarks.add(
            "comment", prompt_id, answer_id, text.strip(), ws.annotator, "person"
        )
    for remark in _mine(ws, prompt_id, answer_id, "comment"):
        ws.experiment.remarks.take_back(remark)
    return None


def tag(ws: Workspace, prompt_id: int, answer_id: int | None, name: str) -> Remark:
    """Put a tag on an answer, or on the prompt.

    Raises:
        UserError: The tag has no letter.
    """
    name = " ".join(name.split())
    if not name:
        raise UserError("A tag must have a name.", "Type a word, such as a topic.")
    return ws.experiment.remarks.add("tag", prompt_id, answer_id, name, ws.annotator, "person")


def untag(ws: Workspace, prompt_id: int, answer_id: int | None, name: str) -> None:
    """Take a tag off again."""
    for remark in _mine(ws, prompt_id, answer_id, "tag"):
        if remark.value == name:
            ws.experiment.remarks.take_back(remark)


def vocabulary(ws: Workspace) -> list[str]:
    """The tags in use, the most frequent first."""
    return list(ws.experiment.remarks.vocabulary())


def edit(ws: Workspace, original: Completion, text: str, seconds: float) -> Completion:
    """Store an improved answer, and that it is clearly better than the one it was made from.

    Raises:
        UserError: Nothing was changed, or nothing is left.
    """
    if text.strip() == original.text.strip():
        raise UserError("The edited answer is the same as before.", "Change it, or close the edit.")
    return _prefer(ws, "edited an answer", original, text, [original], seconds)


def write(ws: Workspace, item: RankItem, text: str, seconds: float) -> Completion:
    """Store an answer written by hand, and that it is clearly better than both of a pair.

    Raises:
        UserError: It is empty, or says what one of them says.
    """
    for answer in (item.first, item.second):
        if text.strip() == answer.text.strip():
            raise UserError("This answer is there already.", "Choose it as the better one instead.")
    return _prefer(ws, "wrote an answer", None, text, [item.first, item.second], seconds, item)


def rank(
    ws: Workspace,
    prompt_id: int,
    places: Sequence[Sequence[int]],
    seconds: float,
    *,
    is_revealed: bool = False,
) -> Ranking:
    """Store an order of 2 to 8 answers to a prompt; each pair of them becomes a judgement.

    Args:
        ws: The experiment.
        prompt_id: The prompt.
        places: Ids of answers, best place first; those of one place are equally good.
        seconds: How long it took.
        is_revealed: Whether the models were shown.

    Raises:
        UserError: Too few or too many answers, or one of them twice.
    """
    ids = [answer for place in places for answer in place]
    if not 2 <= len(ids) <= MAX_RANKED or len(set(ids)) < len(ids):
        raise UserError(f"{len(ids)} answers cannot be ranked.", f"Rank 2 to {MAX_RANKED} answers.")
    return ws.experiment.rankings.add(
        prompt_id, places, ws.annotator, "person", max(0.0, seconds), is_revealed=is_revealed
    )


def rankable(ws: Workspace, item: RankItem) -> list[Completion]:
    """Answers of the pair's prompt that can be ranked together: the pair's first, at most eight."""
    others = [
        answer
        for answer in ws.experiment.completions.for_prompt(item.prompt.id)
        if answer.id not in (item.first.id, item.second.id)
    ]
    seen = {item.first.text.strip(), item.second.text.strip()}
    different = []
    for answer in others:
        if answer.text.strip() not in seen:
            seen.add(answer.text.strip())
            different.append(answer)
    return [item.first, item.second, *different][:MAX_RANKED]


def save_draft(ws: Workspace, comparison_id: int, content: Mapping[str, object]) -> None:
    """Keep what was begun on a pair, such as an edited text; nothing in it: forget it."""
    ws.experiment.drafts.save(comparison_id, ws.annotator, content)


def draft(ws: Workspace, comparison_id: int) -> dict[str, object]:
    """What was begun on a pair; empty when nothing was."""
    return ws.experiment.drafts.load(comparison_id, ws.annotator)


def drafts(ws: Workspace) -> list[int]:
    """The pairs on which something was begun, the one touched last first."""
    return ws.experiment.drafts.list(ws.annotator)


def _mine(ws: Workspace, prompt_id: int, answer_id: int | None, kind: str) -> list[Remark]:
    found = ws.experiment.remarks.of_prompt(prompt_id, ws.annotator)
    return [r for r in found if r.kind == kind and r.completion_id == answer_id]


def _prefer(
    ws: Workspace,
    name: str,
    parent: Completion | None,
    text: str,
    worse: Sequence[Completion],
    seconds: float,
    item: RankItem | None = None,
) -> Completion:
    """A new answer of this person that is clearly better than others, in one undoable step."""
    if not text.strip():
        raise UserError("The answer is empty.", "Type what the model should have answered.")
    prompt_id = worse[0].prompt_id if item is None else item.prompt.id
    experiment = ws.experiment
    new = NewCompletion(
        prompt_id,
        text,
        source="edited",
        parent_id=None if parent is None else parent.id,
        author=ws.annotator,
    )
    with experiment.undo.operation(name):
        [better] = experiment.completions.add_many([new], is_undoable=True)
        pairs = experiment.comparisons.ensure(
            [(prompt_id, better, answer.id) for answer in worse], is_undoable=True
        )
        for comparison, _ in pairs:
            experiment.judgements.add(
                comparison.id,
                "first",
                ws.annotator,
                "person",
                max(0.0, seconds) / len(pairs),
                strength=EDIT_STRENGTH,
            )
    return experiment.completions.get(better)
