"""The rank panel, driven by keys and mouse; what it stored is read by a second connection."""

from __future__ import annotations

import time

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QFont, QTextCharFormat
from PySide6.QtWidgets import QLineEdit

from tests.ui.labelling.data import SKY, add_pair, add_pairs, stored_verdicts
from workbench.app import labelling, quality
from workbench.app.workspace import Workspace
from workbench.config.quality import QualitySettings
from workbench.data.records import Message, NewPrompt
from workbench.ui.main_window import MainWindow
from workbench.ui.rank_panel import RankPanel
from workbench.ui.theme import theme

KEYS = {
    Qt.Key.Key_1: "first",
    Qt.Key.Key_2: "second",
    Qt.Key.Key_Equal: "tie",
    Qt.Key.Key_0: "both_bad",
    Qt.Key.Key_S: "skip",
}
CTRL = Qt.KeyboardModifier.ControlModifier


def shown(panel: RankPanel) -> int:
    assert panel.item is not None
    return panel.item.comparison.id


def slowness() -> float:
    """How many times slower this machine is just now than a quiet slow core (8 ms)."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        sum(range(400_000))
        times.append(time.perf_counter() - start)
    return max(1.0, min(times) / 0.008)


def test_each_key_stores_its_verdict_before_it_returns(qtbot, ws, open_panel) -> None:
    add_pairs(ws, 6)
    panel = open_panel()
    wanted = []
    for key, verdict in KEYS.items():
        wanted.append((shown(panel), verdict))
        qtbot.keyClick(panel, key)
        assert stored_verdicts(ws.path) == wanted
    assert len({comparison for comparison, _ in wanted}) == 5
    assert shown(panel) not in dict(wanted)


def test_next_pair_is_painted_within_50_ms(qtbot, ws, open_panel) -> None:
    long = "Every sentence of this long answer has about ten words in it. " * 12
    for i in range(12):
        add_pair(ws, f"Question {i}", f"{long} {i}", f"{long.replace('long', 'short')} {i}")
    labelling.make_comparisons(ws)
    panel = open_panel()
    times = []
    for _ in range(10):
        qtbot.waitUntil(lambda: panel.is_idle)
        before = shown(panel)
        start = time.perf_counter()
        qtbot.keyClick(panel, Qt.Key.Key_1)
        panel.repaint()
        times.append(time.perf_counter() - start)
        assert shown(panel) != before
    assert min(times) < 0.05 * slowness()


def test_undo_shows_the_pair_again_and_redo_goes_on(qtbot, ws, open_panel) -> None:
    add_pairs(ws, 4)
    panel = open_panel()
    first = shown(panel)
    qtbot.keyClick(panel, Qt.Key.Key_1)
    second = shown(panel)
    qtbot.keyClick(panel, Qt.Key.Key_2)
    qtbot.keyClick(panel, Qt.Key.Key_Z, CTRL)
    assert shown(panel) == second
    assert stored_verdicts(ws.path) == [(first, "first")]
    qtbot.keyClick(panel, Qt.Key.Key_Z, CTRL)
    assert shown(panel) == first
    assert stored_verdicts(ws.path) == []
    qtbot.keyClick(panel, Qt.Key.Key_Y, CTRL)
    qtbot.keyClick(panel, Qt.Key.Key_Y, CTRL)
    assert stored_verdicts(ws.path) == [(first, "first"), (second, "second")]
    assert shown(panel) not in (first, second)


def test_keys_do_nothing_while_a_text_field_has_the_focus(qtbot, ws, open_panel) -> None:
    add_pairs(ws, 3)
    panel = open_panel()
    window = panel.window()
    field = QLineEdit(window)
    field.show()
    field.setFocus()
    qtbot.waitUntil(field.hasFocus)
    assert not panel.head.has_keys
    for key in KEYS:
        qtbot.keyClick(field, key)
    assert field.text() == "12=0s"
    assert stored_verdicts(ws.path) == []
    inside = QLineEdit(panel)
    inside.show()
    inside.setFocus()
    qtbot.keyClicks(inside, "120")
    assert stored_verdicts(ws.path) == []


def test_ring_follows_the_focus(qtbot, ws, open_panel) -> None:
    add_pairs(ws, 2)
    panel = open_panel()
    assert panel.head.has_keys
    panel.pane_a.text.setFocus()
    qtbot.waitUntil(panel.pane_a.text.hasFocus)
    assert panel.head.has_keys
    qtbot.keyClick(panel.pane_a.text, Qt.Key.Key_2)
    assert [verdict for _, verdict in stored_verdicts(ws.path)] == ["second"]


def test_click_judges_and_the_keys_go_on_working(qtbot, ws, open_panel) -> None:
    add_pairs(ws, 3)
    panel = open_panel()
    made = panel.buttons.by_verdict["second"]
    qtbot.mouseClick(made, Qt.MouseButton.LeftButton)
    assert made.property("flash") is True
    qtbot.keyClick(panel, Qt.Key.Key_1)
    assert [verdict for _, verdict in stored_verdicts(ws.path)] == ["second", "first"]
    qtbot.waitUntil(lambda: made.property("flash") is False)


@pytest.mark.parametrize("keys", [(), (Qt.Key.Key_1, Qt.Key.Key_A, Qt.Key.Key_2)])
def test_judgement_buttons_are_equal(qtbot, ws, open_panel, keys) -> None:
    add_pairs(ws, 5)
    panel = open_panel()
    made = [made for name, made in panel.buttons.by_verdict.items() if name != "skip"]
    for key in keys:
        qtbot.keyClick(panel, key)
    qtbot.waitUntil(lambda: not any(button.property("flash") for button in made))
    qtbot.waitUntil(lambda: panel.is_idle)
    assert len({b.height() for b in made}) == 1
    # The grid shares out a last pixel.
    assert max(b.width() for b in made) - min(b.width() for b in made) <= 1
    assert len({b.property("kind") for b in made}) == 1


def test_200_fast_keys_lose_nothing(qtbot, ws, open_panel) -> None:
    quality.save_settings(ws, QualitySettings(repeat_rate=0.0))
    add_pairs(ws, 210)
    panel = open_panel()
    keys = list(KEYS)
    wanted = []
    for i in range(200):
        wanted.append((shown(panel), KEYS[keys[i % 5]]))
        qtbot.keyClick(panel, keys[i % 5])
    assert stored_verdicts(ws.path) == wanted
    assert labelling.progress(ws).n_left == 10


def test_a_held_key_judges_once(qtbot, ws, open_panel) -> None:
    from PySide6.QtCore import QEvent
    from PySide6.QtGui import QKeyEvent
    from PySide6.QtWidgets import QApplication

    add_pairs(ws, 5)
    panel = open_panel()
    qtbot.keyClick(panel, Qt.Key.Key_1)
    for _ in range(10):
        held = QKeyEvent(
            QEvent.Type.KeyPress, Qt.Key.Key_1, Qt.KeyboardModifier.NoModifier, "1", True
        )
        QApplication.sendEvent(panel, held)
    assert len(stored_verdicts(ws.path)) == 1


def test_identical_answers_are_offered_as_a_tie(qtbot, ws, open_panel) -> None:
    add_pair(ws, "Say hello.", "Hello there.", "Hello there. ")
    labelling.make_comparisons(ws)
    panel = open_panel()
    assert "tie" in panel.legend.note.text()
    assert panel.legend.note.isVisible()
    qtbot.keyClick(panel, Qt.Key.Key_Equal)
    assert [verdict for _, verdict in stored_verdicts(ws.path)] == ["tie"]


def test_empty_answer_is_called_so(ws, open_panel) -> None:
    add_pair(ws, "Say nothing.", "", "Something.")
    labelling.make_comparisons(ws)
    panel = open_panel()
    texts = {panel.pane_a.text.toPlainText(), panel.pane_b.text.toPlainText()}
    assert texts == {"(empty answer)", "Something."}


def test_model_output_is_never_html(ws, open_panel) -> None:
    evil = '<b>bold</b> <img src="file:///etc/passwd"> &amp; <script>1</script>'
    add_pair(ws, "<i>Prompt</i>", evil, "plain")
    labelling.make_comparisons(ws)
    panel = open_panel()
    texts = {panel.pane_a.text.toPlainText(), panel.pane_b.text.toPlainText()}
    assert texts == {evil, "plain"}
    assert panel.prompt.text.toPlainText() == "<i>Prompt</i>"


def test_chinese_and_emoji_are_marked_at_the_right_place(ws, open_panel) -> None:
    add_pair(ws, "天空是什么颜色？", "🙂天空是蓝色的。", "🙂天空是红色的。")
    labelling.make_comparisons(ws)
    panel = open_panel()
    marks = {
        mark.cursor.selectedText()
        for pane in (panel.pane_a, panel.pane_b)
        for mark in pane.text.extraSelections()
    }
    assert marks == {"蓝", "红"}


def test_differences_are_told_apart_without_colour(ws, open_panel) -> None:
    add_pair(ws, "Why is the sky blue?", *SKY)
    labelling.make_comparisons(ws)
    panel = open_panel()
    styles = [
        {mark.format.underlineStyle() for mark in pane.text.extraSelections()}
        for pane in (panel.pane_a, panel.pane_b)
    ]
    assert styles == [
        {QTextCharFormat.UnderlineStyle.SingleUnderline},
        {QTextCharFormat.UnderlineStyle.DashUnderline},
    ]


def test_dialogue_shows_its_turns(ws, open_panel) -> None:
    (prompt_id,) = ws.experiment.prompts.add_many(
        [
            NewPrompt(
                (
                    Message("system", "Be kind."),
                    Message("user", "Hi"),
                    Message("assistant", "Hello"),
                    Message("user", "Who are you?"),
                )
            )
        ]
    )
    from tests.ui.labelling.data import answer

    ws.experiment.completions.add_many([answer(prompt_id, "A"), answer(prompt_id, "B", 1)])
    labelling.make_comparisons(ws)
    panel = open_panel()
    assert panel.prompt.text.toPlainText().splitlines() == [
        "System: Be kind.",
        "User: Hi",
        "Assistant: Hello",
        "User: Who are you?",
    ]


def test_side_by_side_from_560_pixels(qtbot, ws, open_panel) -> None:
    add_pairs(ws, 1)
    panel = open_panel()
    panel.setParent(None)
    qtbot.addWidget(panel)
    panel.resize(340, 800)
    panel.show()
    qtbot.waitUntil(lambda: panel.pane_b.y() > panel.pane_a.y())
    panel.resize(700, 800)
    qtbot.waitUntil(lambda: panel.pane_b.y() == panel.pane_a.y())
    assert panel.pane_b.x() > panel.pane_a.x()


def test_nothing_to_rank_leads_to_the_answers(qtbot, ws, open_panel) -> None:
    panel = open_panel()
    assert panel.item is None
    assert panel.empty.isVisible()
    qtbot.keyClick(panel, Qt.Key.Key_1)
    assert stored_verdicts(ws.path) == []
    assert not panel.buttons.by_verdict["first"].isEnabled()


def test_new_pairs_appear_while_the_panel_is_empty(qtbot, ws, open_panel) -> None:
    panel = open_panel()
    add_pairs(ws, 2)
    panel.refresh()
    assert panel.item is not None
    qtbot.keyClick(panel, Qt.Key.Key_1)
    qtbot.keyClick(panel, Qt.Key.Key_1)
    assert panel.item is None
    qtbot.keyClick(panel, Qt.Key.Key_Z, CTRL)
    assert panel.item is not None


def test_a_refresh_keeps_the_pair_that_is_read(ws, open_panel) -> None:
    add_pairs(ws, 3)
    panel = open_panel()
    before = panel.item
    add_pairs(ws, 5)
    panel.refresh()
    assert panel.item is before
    assert before is not None
    ws.experiment.prompts.delete([before.prompt.id])
    panel.refresh()
    assert shown(panel) != before.comparison.id


def test_reading_time_is_stored(qtbot, ws, open_panel) -> None:
    add_pairs(ws, 2)
    panel = open_panel()
    start = time.monotonic()
    qtbot.waitUntil(lambda: time.monotonic() - start > 0.06)
    qtbot.keyClick(panel, Qt.Key.Key_1)
    (pair,) = labelling.judgements(ws)
    assert 0.05 < pair.judgement.seconds < 5
    assert pair.judgement.annotator_kind == "person"


def test_read_only_says_why_nothing_can_be_ranked(qtbot, ws, tmp_path) -> None:
    add_pairs(ws, 2)
    reader = Workspace.open(ws.path, is_read_only=True)
    window = MainWindow(reader)
    qtbot.addWidget(window)
    window.show()
    panel = window.rank
    qtbot.keyClick(panel, Qt.Key.Key_1)
    assert stored_verdicts(ws.path) == []
    assert "read-only" in panel.buttons.by_verdict["first"].toolTip()
    window.close()
    reader.close()


def test_progress_is_told_in_words(qtbot, ws, open_panel) -> None:
    add_pairs(ws, 5)
    panel = open_panel()
    for _ in range(3):
        qtbot.keyClick(panel, Qt.Key.Key_1)
    qtbot.waitUntil(lambda: panel.progress.done_text() == "3 of 5 ranked")
    assert panel.progress.left_text() == "2 left, under 1 min"


def test_the_prompt_stays_semibold_when_the_theme_changes(ws, open_panel) -> None:
    add_pairs(ws, 1)
    text = open_panel().prompt.text
    before = theme().mode
    for mode in ("dark", "light", before):
        theme().set_mode(mode)
        assert text.font().weight() == QFont.Weight.DemiBold
