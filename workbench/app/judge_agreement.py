"""How far an AI judge agrees with the person, and where it differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.app.judge_records import is_shown, judges, n_shown, remember, settings_of
from workbench.app.workspace import Workspace
from workbench.data.records import AiAnswer, Verdict
from workbench.objectives.agreement import Estimate, cohen_kappa
from workbench.rewards.judge_question import decide, is_contradiction

_BANDS = (
    (0.0, "no better than chance"),
    (0.2, "slight agreement"),
    (0.4, "fair agreement"),
    (0.6, "moderate agreement"),
    (0.8, "substantial agreement"),
    (1.0, "almost full agreement"),
)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a judge agrees with the person on the pairs that both have judged.

    Attributes:
        judge: Its name.
        overall: Cohen's kappa over A, B and tie; "both bad" counts as a tie.
        by_tag: The same for pairs with a tag, or of a group of prompts.
        n_same: Pairs with the same verdict.
        n_sided: Pairs on which both chose a side.
        n_sided_same: Those of them on which it is the same side.
        n_contradictions: Pairs on which the judge went with the side and not with the answer.
        n_unreadable: Pairs on which it named neither side; left out of all others.
    """

    judge: str
    overall: Estimate
    by_tag: Mapping[str, Estimate]
    n_same: int
    n_sided: int
    n_sided_same: int
    n_contradictions: int
    n_unreadable: int


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a judge makes of a pair, and what the person said, where they did."""

    comparison_id: int
    verdict: Verdict
    p_first: float
    persons: Verdict | None


def agreement(ws: Workspace, name: str, tie_margin: float | None = None) -> Agreement:
    """How far a judge agrees with the person, of all pairs that both have judged.

    Args:
        ws: The experiment.
        name: The judge.
        tie_margin: Another than the one it judged with last.
    """
    answers = ws.experiment.ai_answers
    labels, known = answers.labels_of(ws.annotator), answers.of_judge(name)
    asked = {i: known[i] for i in labels if len(known.get(i, {})) == 2}
    margin = settings_of(ws, name).tie_margin if tie_margin is None else tie_margin
    said = {i: verdict for i, both in asked.items() if (verdict := decided(both, margin))}
    pairs = {i: (_side(labels[i]), said[i]) for i in said}
    sided = [pair for pair in pairs.values() if "tie" not in pair]
    by_tag: dict[str, list[tuple[str, str]]] = {}
    for i, tags in answers.tags_of(list(pairs)).items():
        for tag in tags:
            by_tag.setdefault(tag, []).append(pairs[i])
    return Agreement(
        judge=name,
        overall=_kappa(list(pairs.values())),
        by_tag={tag: _kappa(by_tag[tag]) for tag in sorted(by_tag)},
        n_same=sum(mine == its for mine, its in pairs.values()),
        n_sided=len(sided),
        n_sided_same=sum(mine == its for mine, its in sided),
        n_contradictions=sum(contradicts(asked[i]) for i in said),
        n_unreadable=len(asked) - len(said),
    )


def show_agreement(ws: Workspace, name: str) -> Agreement:
    """As `agreement`, for whoever puts it before the person's eyes: from then on it was shown."""
    shown = agreement(ws, name)
    mark_shown(ws, shown)
    return shown


def mark_shown(ws: Workspace, shown: Agreement) -> None:
    """Note that an agreement stood before the person's eyes: the judge's labels may be used."""
    if not ws.is_read_only and n_shown(ws, shown.judge) != shown.overall.n:
        remember(ws, shown.judge, n_shown=shown.overall.n)


def sentences(shown: Agreement) -> list[str]:
    """An agreement in plain sentences."""
    kappa = shown.overall
    if not kappa.n:
        return ["The judge has given no verdict on a pair that you have judged."]
    said = [f"The judge agrees with you on {shown.n_same} of {kappa.n} pairs."]
    if not kappa.is_defined:
        said.append("Kappa says nothing yet: both of you always gave the same verdict.")
    else:
        said.append(
            f"Kappa {kappa.value:.2f}, 95 % interval {kappa.low:.2f} to {kappa.high:.2f}: "
            f"{meaning(kappa)}."
        )
    if shown.n_sided:
        said.append(
            f"Where both chose a side, it was the same one in {shown.n_sided_same} of "
            f"{shown.n_sided}."
        )
    if shown.n_contradictions:
        said.append(
            f"On {shown.n_contradictions} pairs it went with the side and not with the answer; "
            "these count as ties."
        )
    if shown.n_contradictions > kappa.n / 2:
        said.append("A larger model, or a clearer template, may read the answers themselves.")
    if shown.n_unreadable:
        said.append(f"On {shown.n_unreadable} pairs it named neither answer.")
    return said


def cost_sentence(ws: Workspace, name: str) -> str:
    """What a judge has cost so far, in a sentence; empty before its first answer."""
    cost = ws.experiment.ai_answers.cost(name)
    if not cost.n_answers:
        return ""
    tokens = f"{cost.n_tokens:,} tokens" if cost.n_tokens else "tokens not counted by the server"
    return (
        f"Asked so far: {cost.n_answers} questions, {tokens}, {cost.seconds:.0f} s of answering "
        f"({cost.seconds / cost.n_answers:.2f} s each)."
    )


def meaning(kappa: Estimate) -> str:
    """What a kappa is called (Landis & Koch 1977), and whether its interval allows for chance."""
    word = next(word for top, word in _BANDS if kappa.value <= top)
    return word if kappa.low > 0 or kappa.value <= 0 else f"{word}, or chance: the interval holds 0"


def disagreements(ws: Workspace, name: str, tie_margin: float | None = None) -> list[Opinion]:
    """Pairs on which a judge differs from the person, those it is surest of first."""
    found = [
        o for o in opinions(ws, name, tie_margin) if o.persons and o.verdict != _side(o.persons)
    ]
    return sorted(found, key=lambda o: -abs(o.p_first - 0.5))


def opinions(ws: Workspace, name: str, tie_margin: float | None = None) -> list[Opinion]:
    """What a judge makes of every pair that it was asked about in both orders."""
    labels = ws.experiment.ai_answers.labels_of(ws.annotator)
    margin = settings_of(ws, name).tie_margin if tie_margin is None else tie_margin
    return [
        Opinion(i, verdict, _mean(both), labels.get(i))
        for i, both in ws.experiment.ai_answers.of_judge(name).items()
        if (verdict := decided(both, margin))
    ]


def suggestion(ws: Workspace, comparison_id: int) -> Opinion | None:
    """What the last used judge makes of a pair; None when it was not asked, or not shown yet."""
    name = next(reversed(judges(ws)), None)
    if name is None or not is_shown(ws, name):
        return None
    both = ws.experiment.ai_answers.of_pair(comparison_id, name)
    verdict = decided(both, settings_of(ws, name).tie_margin)
    if verdict is None:
        return None
    latest = ws.experiment.judgements.latest(comparison_id, ws.annotator)
    return Opinion(comparison_id, verdict, _mean(both), latest.verdict if latest else None)


def decided(both: Mapping[bool, AiAnswer], tie_margin: float) -> Verdict | None:
    """The verdict that follows from what a judge answered; None when an answer is missing."""
    if len(both) < 2:
        return None
    return decide(both[False].p_first, both[True].p_first, tie_margin)


def contradicts(both: Mapping[bool, AiAnswer]) -> bool:
    """Whether a judge went with the side and not with the answer."""
    a, b = both[False].p_first, both[True].p_first
    return a is not None and b is not None and is_contradiction(a, b)


def _mean(both: Mapping[bool, AiAnswer]) -> float:
    return sum(answer.p_first or 0.0 for answer in both.values()) / len(both)


def _side(verdict: Verdict) -> Verdict:
    """An AI judge cannot say that both are bad."""
    return "tie" if verdict == "both_bad" else verdict


def _kappa(pairs: Sequence[tuple[str, str]]) -> Estimate:
    return cohen_kappa([mine for mine, _ in pairs], [its for _, its in pairs])
