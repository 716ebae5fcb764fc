"""One judgement with its prompt, both answers and all that was said of them."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QHBoxLayout

from workbench.data.records import Judgement, Remark
from workbench.store.judgement_list import ListedJudgement
from workbench.ui.pages.judgement_words import annotator_text, seconds_text, stars, verdict_text
from workbench.ui.pages.wording import moment
from workbench.ui.rank_views import PromptView
from workbench.ui.reading import ReadingText
from workbench.ui.widgets import Card, button, label


class JudgementDetail(Card):
    """One judgement; the preferred answer is named, and remarks stand under what they are about."""

    def __init__(self) -> None:
        super().__init__(self.tr("Judgement"))
        self.facts = label("", "muted", wrap=True)
        self.prompt = PromptView()
        self._heads = (label("", "card-title"), label("", "card-title"))
        self.texts = (ReadingText(self.tr("Answer A")), ReadingText(self.tr("Answer B")))
        self.remarks = tuple(label("", "text-2", wrap=True) for _ in range(3))
        self.again = button(self.tr("Rank this pair again"), "outlined", icon="rank")
        self.body.addWidget(self.facts)
        self.body.addWidget(self.prompt)
        self.body.addWidget(self.remarks[0])
        for head, text, said in zip(self._heads, self.texts, self.remarks[1:], strict=True):
            self.body.addWidget(head)
            self.body.addWidget(text, 1)
            self.body.addWidget(said)
        foot = QHBoxLayout()
        foot.addWidget(self.again)
        foot.addStretch(1)
        self.body.addLayout(foot)

    def show_listed(self, listed: ListedJudgement | None) -> None:
        """Show a judgement; None clears the card."""
        self.setVisible(listed is not None)
        if listed is None:
            return
        judgement, comparison = listed.judgement, listed.comparison
        self.set_fact(verdict_text(judgement))
        self.facts.setText(self._facts(judgement))
        self.prompt.show_prompt(listed.prompt)
        names = (self.tr("Answer A"), self.tr("Answer B"))
        preferred = {"first": 0, "second": 1}.get(judgement.verdict)
        for i, text in enumerate((listed.first_text, listed.second_text)):
            self.texts[i].set_text(text if text.strip() else self.tr("(empty answer)"))
            is_preferred = i == preferred
            self._heads[i].setText(
                self.tr("{answer}, preferred").format(answer=names[i]) if is_preferred else names[i]
            )
        about = (None, comparison.first_id, comparison.second_id)
        for made, completion_id in zip(self.remarks, about, strict=True):
            said = self._said([r for r in listed.remarks if r.completion_id == completion_id])
            made.setText(said)
            made.setVisible(bool(said))

    def _facts(self, judgement: Judgement) -> str:
        parts = [annotator_text(judgement), moment(judgement.created_at)]
        if judgement.seconds > 0:
            parts.append(seconds_text(judgement))
        if judgement.annotator_kind == "person":
            shown, hidden = self.tr("models were revealed"), self.tr("models were hidden")
            parts.append(shown if judgement.is_revealed else hidden)
        if judgement.ranking_id is not None:
            parts.append(self.tr("from a ranking"))
        return " · ".join(parts)

    def _said(self, remarks: Sequence[Remark]) -> str:
        lines = []
        for remark in remarks:
            if remark.kind == "rating":
                lines.append(f"{stars(int(remark.value))}  {remark.annotator}")
            elif remark.kind == "comment":
                lines.append(
                    self.tr("{name}: {text}").format(name=remark.annotator, text=remark.value)
                )
        tags = dict.fromkeys(r.value for r in remarks if r.kind == "tag")
        if tags:
            lines.insert(0, self.tr("Tags: {tags}").format(tags=", ".join(tags)))
        return "\n".join(lines)
