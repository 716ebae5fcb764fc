"""Ratings, edits, comments, tags, rankings and the rest of the rank panel, by key and mouse."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QTextDocument
from pytestqt.qtbot import QtBot

from tests.ui.labelling.data import add_pair, add_pairs, answer, prompt
from workbench.app import feedback, labelling, quality
from workbench.app.settings import UserSettings
from workbench.app.workspace import Workspace
from workbench.config.quality import QualitySettings
from workbench.ui.annotator_choice import AnnotatorChoice
from workbench.ui.answer_editor import AnswerEditor
from workbench.ui.rank_panel import RankPanel
from workbench.ui.remark_dialog import RemarkDialog

Key = Qt.Key
CTRL, ALT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.AltModifier


def rows(folder: Path, sql: str) -> list[tuple[object, ...]]:
    """As another program reads the file."""
    connection = sqlite3.connect(f"file:{folder / 'experiment.db'}?mode=ro", uri=True)
    try:
        return [tuple(row) for row in connection.execute(sql)]
    finally:
        connection.close()


def add_four(ws: Workspace) -> int:
    """A prompt with four answers, all paired."""
    [prompt_id] = ws.experiment.prompts.add_many([prompt("Why is the sky blue?")])
    texts = ["light scatters", "the sea", "air scatters blue light", "nobody knows"]
    ws.experiment.completions.add_many([answer(prompt_id, t, i) for i, t in enumerate(texts)])
    labelling.make_comparisons(ws)
    return prompt_id


def editor_of(qtbot: QtBot, panel: RankPanel) -> AnswerEditor:
    qtbot.waitUntil(lambda: isinstance(panel.tools.dialog, AnswerEditor))
    dialog = panel.tools.dialog
    assert isinstance(dialog, AnswerEditor)
    return dialog


@pytest.mark.parametrize(
    ("key", "verdict", "strength"),
    [
        (Key.Key_1, "first", 2),
        (Key.Key_A, "first", 1),
        (Key.Key_B, "second", 1),
        (Key.Key_2, "second", 2),
        (Key.Key_Equal, "tie", 0),
    ],
)
def test_one_key_says_which_and_by_how_much(qtbot, ws, open_panel, key, verdict, strength) -> None:
    add_pairs(ws, 2)
    panel = open_panel()
    qtbot.keyClick(panel, key)
    stored = rows(ws.path, "SELECT verdict, strength FROM judgements")
    assert stored == [(verdict, strength)]


def test_stars_by_key_go_from_one_answer_to_the_other(qtbot, ws, open_panel) -> None:
    add_pairs(ws, 1)
    panel = open_panel()
    assert panel.item is not None
    first, second = panel.item.first.id, panel.item.second.id
    qtbot.keyClick(panel, Key.Key_R)
    assert panel.pane_a.stars.hasFocus()
    qtbot.keyClick(panel.pane_a.stars, Key.Key_4)
    assert panel.pane_b.stars.hasFocus()
    qtbot.keyClick(panel.pane_b.stars, Key.Key_2)
    assert panel.hasFocus()
    said = rows(ws.path, "SELECT completion_id, value FROM remarks ORDER BY id")
    assert said == [(first, "4"), (second, "2")]
    assert rows(ws.path, "SELECT * FROM judgements") == []
    qtbot.keyClick(panel, Key.Key_Z, CTRL)
    assert panel.pane_b.stars.value == 0
    assert panel.pane_a.stars.value == 4


def test_stars_by_mouse(qtbot, ws, open_panel) -> None:
    add_pairs(ws, 1)
    panel = open_panel()
    stars = panel.pane_b.stars
    qtbot.mouseClick(stars, Qt.MouseButton.LeftButton, pos=QPoint(stars.width() - 6, 8))
    assert stars.value == 5
    assert rows(ws.path, "SELECT value FROM remarks") == [("5",)]


def test_an_edit_is_preferred_and_shows_what_changed(qtbot, ws, open_panel) -> None:
    add_pair(ws, "天空是什么颜色？", "天空是红色的。", "不知道。")
    labelling.make_comparisons(ws)
    panel = open_panel()
    side = 0 if panel.item.first.text == "天空是红色的。" else 1
    qtbot.keyClick(panel, Key.Key_Right if side else Key.Key_Left)
    qtbot.keyClick(panel, Key.Key_E)
    editor = editor_of(qtbot, panel)
    editor.field.setPlainText("天空是蓝色的。")
    editor._keep()
    added = {m.cursor.selectedText() for m in editor.after.extraSelections()}
    gone = {m.cursor.selectedText() for m in editor.before.extraSelections()}
    assert (added, gone) == ({"蓝"}, {"红"})
    qtbot.keyClick(editor.field, Key.Key_Return, CTRL)
    qtbot.waitUntil(lambda: panel.tools.dialog is None)
    [preference] = ws.experiment.judgements.preferences()
    assert (preference.chosen, preference.rejected) == ("天空是蓝色的。", "天空是红色的。")
    assert preference.strength == 2
    assert feedback.drafts(ws) == []
    # The pair itself is still to be judged.
    assert panel.item is not None
    assert labelling.is_pending(ws, panel.item.comparison.id)


def test_an_unfinished_edit_is_a_draft_after_a_restart(qtbot, ws, open_panel) -> None:
    add_pairs(ws, 1)
    panel = open_panel()
    qtbot.keyClick(panel, Key.Key_E)
    editor = editor_of(qtbot, panel)
    editor.field.setPlainText("half a thou")
    qtbot.waitUntil(lambda: feedback.drafts(ws) != [])
    stored = rows(ws.path, "SELECT content FROM drafts")
    assert "half a thou" in str(stored)
    editor.close_button.click()
    qtbot.waitUntil(lambda: panel.tools.dialog is None)
    qtbot.keyClick(panel, Key.Key_E)
    again = editor_of(qtbot, panel)
    assert again.text() == "half a thou"
    again.discard.click()
    qtbot.waitUntil(lambda: panel.tools.dialog is None)
    assert feedback.drafts(ws) == []


def test_nothing_as_an_answer_is_refused_and_stays(qtbot, ws, open_panel) -> None:
    add_pairs(ws, 1)
    panel = open_panel()
    qtbot.keyClick(panel, Key.Key_W)
    editor = editor_of(qtbot, panel)
    editor.save.click()
    assert "empty" in editor.remark.text()
    assert editor.isVisible()
    editor.field.setPlainText("What it should have said.")
    editor.save.click()
    qtbot.waitUntil(lambda: panel.tools.dialog is None)
    assert {p.chosen for p in ws.experiment.judgements.preferences()} == {
        "What it should have said."
    }
    assert len(ws.experiment.judgements.preferences()) == 2


def test_comment_and_tags(qtbot, ws, open_panel) -> None:
    add_pairs(ws, 1)
    panel = open_panel()
    qtbot.keyClick(panel, Key.Key_T)
    dialog = panel.tools.dialog
    assert isinstance(dialog, RemarkDialog)
    dialog.comment.setPlainText("too short")
    dialog.tags.insert("facts, 语气，tone")
    qtbot.keyClick(dialog.tags, Key.Key_Return)
    qtbot.waitUntil(lambda: panel.tools.dialog is None)
    assert panel.pane_a.said.isVisible()
    for words in ("#facts", "#语气", "#tone", "“too short”"):
        assert words in panel.pane_a.said.text()
    assert panel.item is not None
    said = feedback.said(ws, panel.item.prompt.id)
    assert said.tags == {panel.item.first.id: ("facts", "语气", "tone")}


def test_asking_for_the_models_is_recorded(qtbot, ws, open_panel) -> None:
    add_pairs(ws, 2)
    panel = open_panel()
    assert not panel.pane_a.writer.isVisible()
    qtbot.keyClick(panel, Key.Key_M)
    assert "tiny" in panel.pane_a.writer.text()
    qtbot.keyClick(panel, Key.Key_1)
    assert not panel.pane_a.writer.isVisible()
    qtbot.keyClick(panel, Key.Key_1)
    assert rows(ws.path, "SELECT is_revealed FROM judgements ORDER BY id") == [(1,), (0,)]


def test_markdown_is_shown_without_html_and_without_fetching(qtbot, ws, open_panel) -> None:
    text = "**bold** <b>html</b> ![x](file:///etc/hostname)"
    add_pair(ws, "Question", text, "plain")
    labelling.make_comparisons(ws)
    panel = open_panel()
    pane = panel.pane_a if panel.item.first.text == text else panel.pane_b
    assert pane.text.toPlainText() == text
    qtbot.keyClick(panel, Key.Key_V)
    shown = pane.text.toPlainText()
    assert shown.startswith("bold <b>html</b>")
    kind = QTextDocument.ResourceType.ImageResource.value
    assert pane.text.loadResource(kind, "file:///etc/hostname") is None
    qtbot.keyClick(panel, Key.Key_V)
    assert pane.text.toPlainText() == text


def test_marks_can_be_hidden(qtbot, ws, open_panel) -> None:
    add_pairs(ws, 1)
    panel = open_panel()
    assert panel.pane_a.text.extraSelections()
    qtbot.keyClick(panel, Key.Key_D)
    assert not panel.pane_a.text.extraSelections()
    qtbot.keyClick(panel, Key.Key_D)
    assert panel.pane_a.text.extraSelections()


def test_long_answers_scroll_together(qtbot, ws, open_panel) -> None:
    add_pair(ws, "Question", "line\n" * 400, "other\n" * 200)
    labelling.make_comparisons(ws)
    panel = open_panel()
    a, b = panel.pane_a.text.verticalScrollBar(), panel.pane_b.text.verticalScrollBar()
    qtbot.waitUntil(lambda: a.maximum() > 0 and b.maximum() > 0)
    a.setValue(a.maximum())
    assert b.value() == b.maximum()
    b.setValue(b.maximum() // 2)
    assert a.value() == pytest.approx(a.maximum() / 2, abs=2)


def test_four_answers_are_ranked_by_digits_and_arrows(qtbot, ws, open_panel) -> None:
    add_four(ws)
    panel = open_panel()
    qtbot.keyClick(panel, Key.Key_G)
    strip = panel.ranking.strip
    assert strip.isVisible()
    assert not panel.buttons.isVisible()
    a, b, c, d = (i for place in strip.places for i in place)
    qtbot.keyClick(strip, Key.Key_3)  # b c a d
    assert strip.places == [[b], [c], [a], [d]]
    qtbot.keyClick(strip, Key.Key_Left)
    qtbot.keyClick(strip, Key.Key_Equal)  # b = c > a > d
    qtbot.keyClick(strip, Key.Key_Right)
    qtbot.keyClick(strip, Key.Key_Right)
    qtbot.keyClick(strip, Key.Key_Left, ALT)  # d before a
    assert strip.places == [[b, c], [d], [a]]
    assert strip.outcome() == (5, 1)
    # Killed here, it would go on here.
    assert str([[b, c], [d], [a]]) in str(rows(ws.path, "SELECT content FROM drafts"))
    qtbot.keyClick(strip, Key.Key_Return)
    [ranking] = ws.experiment.rankings.list()
    assert ranking.places == ((b, c), (d,), (a,))
    assert len(ws.experiment.judgements.preferences()) == 5
    assert feedback.drafts(ws) == []
    assert panel.item is None
    qtbot.keyClick(panel, Key.Key_Z, CTRL)
    assert ws.experiment.judgements.preferences() == []
    assert panel.item is not None


def test_cards_are_dragged(qtbot, ws, open_panel) -> None:
    add_four(ws)
    panel = open_panel()
    qtbot.keyClick(panel, Key.Key_G)
    strip = panel.ranking.strip
    a, b, c, d = (i for place in strip.places for i in place)
    cards = strip._cards()
    left = Qt.MouseButton.LeftButton
    qtbot.mousePress(strip, left, pos=cards[0].center())
    for card in cards[1:]:
        qtbot.mouseMove(strip, card.center())
    qtbot.mouseRelease(strip, left, pos=cards[3].center())
    assert strip.places == [[b], [c], [d], [a]]


def test_a_ranking_left_by_escape_goes_on(qtbot, ws, open_panel) -> None:
    add_four(ws)
    panel = open_panel()
    qtbot.keyClick(panel, Key.Key_G)
    strip = panel.ranking.strip
    qtbot.keyClick(strip, Key.Key_2)
    before = strip.places
    qtbot.keyClick(strip, Key.Key_Escape)
    assert not strip.isVisible()
    assert panel.buttons.isVisible()
    assert panel.hasFocus()
    qtbot.keyClick(panel, Key.Key_G)
    assert strip.places == before


def test_two_answers_need_no_ranking(qtbot, ws, open_panel) -> None:
    add_pairs(ws, 1)
    panel = open_panel()
    qtbot.keyClick(panel, Key.Key_G)
    assert not panel.ranking.isVisible()


def test_queues_in_reading_mode(qtbot, ws, open_panel) -> None:
    add_pairs(ws, 4)
    panel = open_panel()
    window = panel.window()
    judged = panel.item.comparison.id
    qtbot.keyClick(panel, Key.Key_1)
    skipped = panel.item.comparison.id
    qtbot.keyClick(panel, Key.Key_S)
    begun = panel.item.comparison.id
    feedback.save_draft(ws, begun, {"write": "so far"})
    qtbot.keyClick(window, Key.Key_F11)
    qtbot.waitUntil(lambda: panel.is_idle)
    tabs = panel.header.queues
    assert [tabs.tabText(i) for i in range(4)] == ["Pending 2", "Drafts 1", "Ranked 1", "Skipped 1"]

    def click(i: int) -> None:
        qtbot.mouseClick(tabs, Qt.MouseButton.LeftButton, pos=tabs.tabRect(i).center())

    for tab, pair in ((2, judged), (3, skipped), (1, begun)):
        click(tab)
        assert panel.item.comparison.id == pair
    click(2)
    qtbot.keyClick(panel, Key.Key_2)
    # A new verdict stands in place of the old one, and the queue is through.
    assert ws.experiment.judgements.latest(judged, ws.annotator).verdict == "second"
    assert panel.item is None
    click(0)
    assert panel.item is not None
    assert labelling.is_pending(ws, panel.item.comparison.id)


def test_undo_names_every_kind(qtbot, ws, open_panel) -> None:
    add_four(ws)
    panel = open_panel()
    item = panel.item
    feedback.rate(ws, item.first, 3)
    feedback.tag(ws, item.prompt.id, item.first.id, "tone")
    feedback.edit(ws, item.first, "better", 1.0)
    feedback.rank(ws, item.prompt.id, [[a.id] for a in feedback.rankable(ws, item)], 1.0)
    names = [labelling.undo(ws) for _ in range(4)]
    assert names == ["ranked 5 answers", "edited an answer", "tagged tone", "rated 3"]


def test_a_judged_pair_comes_again_with_its_sides_swapped(qtbot, ws, open_panel) -> None:
    quality.save_settings(ws, QualitySettings(repeat_rate=0.25, repeat_gap=3))
    add_pairs(ws, 60)
    panel = open_panel()
    seen: dict[int, str] = {}
    swapped = again = 0
    for _ in range(60):
        item = panel.item
        assert item is not None
        is_known = item.comparison.id in seen
        again += is_known
        if is_known and item.first.text != seen[item.comparison.id]:
            swapped += 1
        seen.setdefault(item.comparison.id, item.first.text)
        # Always the answer that is called "first" in its text, wherever it stands.
        key = Key.Key_1 if item.first.text.startswith("The first") else Key.Key_2
        qtbot.keyClick(panel, key)
    stored = ws.experiment.repeats.list()
    assert len(stored) == again
    assert again >= 8
    assert 0.3 < swapped / again < 0.7
    # In the comparison's own order every repeat says what was said before.
    for repeat in stored:
        before = ws.experiment.judgements.latest(repeat.comparison_id, ws.annotator)
        assert before is not None
        assert before.verdict == repeat.verdict
    assert len(ws.experiment.judgements.list()) == 60 - again


def test_another_key_judges_and_stands_on_the_button(qtbot, ws, open_panel) -> None:
    add_pairs(ws, 3)
    panel = open_panel()
    actions = panel._context.actions
    actions.set_key("rank.first", "F")
    qtbot.keyClick(panel, Key.Key_1)
    assert rows(ws.path, "SELECT * FROM judgements") == []
    qtbot.keyClick(panel, Key.Key_F)
    assert rows(ws.path, "SELECT verdict FROM judgements") == [("first",)]
    assert panel.buttons.by_verdict["first"]._key == "F"


def test_undoing_very_much_leaves_the_window_free(
    qtbot, ws, open_panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelling, "_AT_ONCE", 5)
    add_pairs(ws, 1)
    first = labelling.next_item(ws)
    ids = ws.experiment.prompts.add_many([prompt(f"Many {i}") for i in range(50)])
    panel = open_panel()
    qtbot.keyClick(panel, Key.Key_Z, CTRL)
    assert not panel.isEnabled()
    qtbot.waitUntil(panel.isEnabled, timeout=10_000)
    assert ws.experiment.prompts.count() == 1
    panel.setFocus()
    qtbot.keyClick(panel, Key.Key_Y, CTRL)
    qtbot.waitUntil(lambda: ws.experiment.prompts.count() == 1 + len(ids), timeout=10_000)
    qtbot.waitUntil(panel.isEnabled, timeout=10_000)
    assert panel.item.comparison.id == first.comparison.id


def test_a_second_annotator_has_a_queue_of_their_own(qtbot, ws, open_panel) -> None:
    add_pairs(ws, 2)
    panel = open_panel()
    first, me = panel.item.comparison.id, ws.annotator
    qtbot.keyClick(panel, Key.Key_1)
    qtbot.keyClick(panel, Key.Key_1)
    assert panel.item is None
    window = panel.window()
    window.actions_["rank.annotator"].trigger()
    choice = window.findChild(AnnotatorChoice)
    choice.name.setCurrentText("  ")
    choice._take()
    assert "must have a name" in choice.remark.text()
    choice.name.setCurrentText("Ada")
    choice._take()
    assert panel.item.comparison.id == first
    panel.setFocus()
    qtbot.keyClick(panel, Key.Key_2)
    said = rows(ws.path, "SELECT annotator, verdict FROM judgements ORDER BY id")
    assert said == [(me, "first"), (me, "first"), ("Ada", "second")]
    # The next window remembers who judges.
    assert UserSettings.load().annotator == "Ada"
