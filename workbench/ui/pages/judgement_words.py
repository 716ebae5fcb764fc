"""How pages spell a judgement: what was said, by whom, how long it took."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

from workbench.app.feedback import STARS
from workbench.data.records import AnnotatorKind, Judgement, Strength, Verdict
from workbench.ui.pages.wording import MISSING


def _tr(text: str) -> str:
    return QCoreApplication.translate("judgements", text)


def verdict_words() -> dict[Verdict, str]:
    """How verdicts are called, strength left out."""
    return {
        "first": _tr("A better"),
        "second": _tr("B better"),
        "tie": _tr("Tie"),
        "both_bad": _tr("Both bad"),
        "skip": _tr("Skipped"),
    }


def verdict_text(judgement: Judgement) -> str:
    """What was said, with its strength where one was given."""
    stronger: dict[tuple[Verdict, Strength], str] = {
        ("first", 1): _tr("A slightly better"),
        ("first", 2): _tr("A clearly better"),
        ("second", 1): _tr("B slightly better"),
        ("second", 2): _tr("B clearly better"),
    }
    plain = verdict_words()[judgement.verdict]
    return stronger.get((judgement.verdict, judgement.strength), plain)


def kind_words() -> dict[AnnotatorKind, str]:
    """What annotators are."""
    return {
        "person": _tr("person"),
        "imported": _tr("imported"),
        "ai": _tr("AI"),
        "simulated": _tr("simulated"),
    }


def annotator_text(judgement: Judgement) -> str:
    """Who judged; anything but a person is marked in front, where a narrow column keeps it."""
    name, kind = judgement.annotator, kind_words()[judgement.annotator_kind]
    if judgement.annotator_kind == "person" or name == kind:
        return name
    return _tr("{kind}: {name}").format(name=name, kind=kind)


def seconds_text(judgement: Judgement) -> str:
    """How long it took; a dash where no person looked at it."""
    seconds = judgement.seconds
    return _tr("{n} s").format(n=f"{seconds:.1f}") if seconds > 0 else MISSING


def stars(n: int) -> str:
    """A rating as filled and empty stars."""
    return "★" * n + "☆" * (max(STARS) - n)
