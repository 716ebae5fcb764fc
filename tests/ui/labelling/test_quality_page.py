"""The page on label quality in the real window: what it says, and that it leads to the pairs."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from tests.unit.app.test_quality import fair, fill, for_first, judge, repeat
from workbench.app import aggregate, labelling, quality
from workbench.app.workspace import Workspace
from workbench.config.aggregation import AggregationSettings
from workbench.store.labels import Label
from workbench.ui.forms.settings_dialog import SettingsDialog
from workbench.ui.main_window import MainWindow
from workbench.ui.pages.page import Page
from workbench.ui.pages.quality import QualityPage

OpenPage = Callable[[str], Page]
LONG = 20_000


def opened(qtbot: QtBot, open_page: OpenPage) -> QualityPage:
    page = open_page("quality")
    assert isinstance(page, QualityPage)
    qtbot.waitUntil(lambda: page.report is not None, timeout=LONG)
    return page


def test_without_labels_it_says_what_will_be_here(qtbot: QtBot, open_page: OpenPage) -> None:
    page = opened(qtbot, open_page)
    assert page.stack.currentIndex() == 0
    assert not page.banner.isVisible()
    assert not page.annotators.isVisible()


def test_a_habit_is_the_verdict_and_stands_in_sentence_and_plot(
    qtbot: QtBot, ws: Workspace, open_page: OpenPage
) -> None:
    ids = fill(ws, 120)
    judge(ws, ids, for_first(0.9))
    repeat(ws, ids[:30], same=0.9, swapped=[i % 2 == 0 for i in range(30)])
    page = opened(qtbot, open_page)
    assert page.stack.currentIndex() == 1
    assert page.banner.isVisible()
    assert "the answer shown first is favoured" in page.banner.text()
    said = page.findings.sentences()
    assert page.banner.text() in said
    assert any("hidden repeats" in sentence for sentence in said)
    told = page.plot.accessibleDescription()
    for name in ("Same again", "First answer chosen", "Longer answer chosen"):
        assert name in told
    assert page.drift.isVisible()
    assert page.drift.accessibleDescription().startswith("First answer: ")
    assert f"120 labels of {ws.annotator}" in page.header.facts()


def test_the_window_does_not_wait_for_the_labels(
    qtbot: QtBot, ws: Workspace, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading blocks until the test lets it go on; meanwhile the page answers."""
    judge(ws, fill(ws, 12), fair)
    may_read, readers = threading.Event(), []
    real = ws.experiment.labels.list

    def slow(check: Callable[[], object] = lambda: None) -> list[Label]:
        readers.append(threading.current_thread())
        assert may_read.wait(20)
        return real(check)

    monkeypatch.setattr(ws.experiment.labels, "list", slow)
    page = open_page("quality")
    assert isinstance(page, QualityPage)
    qtbot.waitUntil(lambda: bool(readers), timeout=LONG)
    assert readers[0] is not threading.main_thread()
    assert page.report is None
    assert page.header.facts() == "Reading the labels"
    may_read.set()
    qtbot.waitUntil(lambda: page.report is not None, timeout=LONG)


def test_a_fair_annotator_gets_a_fair_verdict(
    qtbot: QtBot, ws: Workspace, open_page: OpenPage
) -> None:
    ids = fill(ws, 400)
    judge(ws, ids, fair)
    repeat(ws, ids[:60], same=0.95, swapped=[i % 2 == 0 for i in range(60)])
    page = opened(qtbot, open_page)
    assert page.banner.text() == "Nothing here speaks against these labels."


@pytest.mark.parametrize("how", ["key", "mouse"])
def test_a_pair_judged_too_fast_is_shown_in_the_rank_panel(
    qtbot: QtBot, ws: Workspace, open_page: OpenPage, how: str
) -> None:
    ids = fill(ws, 20)
    judge(ws, ids[:10], fair)
    judge(ws, ids[10:12], fair, seconds=0.2)
    page = opened(qtbot, open_page)
    assert [f.comparison_id for f in page.fast.rows()] == ids[10:12]
    assert page.fast.model().index(0, 1).data() == "0.2 s"
    page.fast.selectRow(1)
    if how == "key":
        page.fast.setFocus()
        qtbot.keyClick(page.fast, Qt.Key.Key_Return)
    else:
        page.fast.doubleClicked.emit(page.fast.currentIndex())
    panel = page.context.rank_panel()
    assert panel.item is not None
    assert panel.item.comparison.id == ids[11]


def test_annotators_are_chosen_and_their_disagreements_opened(
    qtbot: QtBot, ws: Workspace, open_page: OpenPage
) -> None:
    ids = fill(ws, 40)
    judge(ws, ids, fair, annotator="ada", seed=1)
    judge(ws, ids, fair, annotator="bob", seed=2)
    page = opened(qtbot, open_page)
    assert page.annotators.isVisible()
    assert page.report is not None
    other = "bob" if page.report.annotator == "ada" else "ada"
    page.annotators.setCurrentIndex(page.annotators.findData(other))
    page.annotators.activated.emit(page.annotators.currentIndex())
    qtbot.waitUntil(lambda: page.report.annotator == other, timeout=LONG)
    assert any(s.startswith("ada and bob agree on") for s in page.findings.sentences())
    rows = page.differing.rows()
    assert len(rows) == page.report.n_disagreements > 5
    assert "ada: " in page.differing.model().index(0, 1).data()
    page.differing.selectRow(2)
    page.differing.setFocus()
    qtbot.keyClick(page.differing, Qt.Key.Key_Enter)
    panel = page.context.rank_panel()
    assert panel.item is not None
    assert panel.item.comparison.id == rows[2].comparison_id


def test_new_judgements_are_read_and_old_news_is_not(
    qtbot: QtBot, ws: Workspace, open_page: OpenPage
) -> None:
    ids = fill(ws, 30)
    judge(ws, ids[:20], fair)
    page = opened(qtbot, open_page)
    qtbot.waitUntil(lambda: not page.is_measuring, timeout=LONG)
    before = page.report
    page.refresh()
    qtbot.waitUntil(lambda: not page.is_measuring, timeout=LONG)
    assert page.report is before
    labelling.judge(ws, ids[20], "tie", 4.0)
    page.refresh()
    qtbot.waitUntil(lambda: page.report is not before, timeout=LONG)
    assert page.report is not None
    assert page.report.n_judged == 21


def test_the_rate_of_repeats_is_kept_in_the_experiment(
    qtbot: QtBot, ws: Workspace, open_page: OpenPage
) -> None:
    page = opened(qtbot, open_page)
    assert page.rate.currentText() == "5 %"
    page.rate.setCurrentIndex(page.rate.findText("20 %"))
    page.rate.activated.emit(page.rate.currentIndex())
    assert quality.settings(ws).repeat_rate == pytest.approx(0.2)


def test_the_rule_for_preferences_is_chosen_in_a_dialog(
    qtbot: QtBot, ws: Workspace, open_page: OpenPage
) -> None:
    page = opened(qtbot, open_page)
    qtbot.mouseClick(page.rule_button, Qt.MouseButton.LeftButton)
    dialog = page.window().findChild(SettingsDialog)
    assert dialog is not None
    assert dialog.settings() == AggregationSettings()
    dialog.form.set_values({"several": "majority", "stars_apart": 2})
    qtbot.mouseClick(dialog.start, Qt.MouseButton.LeftButton)
    assert aggregate.rule_of(ws) == AggregationSettings(several="majority", stars_apart=2)


def test_reading_goes_on_beside_the_window_and_ends_with_it(
    qtbot: QtBot, ws: Workspace, open_window: Callable[[], MainWindow]
) -> None:
    """Closed while the labels are read: no thread is left, and the folder is let go."""
    judge(ws, fill(ws, 200), fair)
    window = open_window()
    window.show_page("quality")
    with qtbot.waitSignal(window.closed, timeout=LONG) as closing:
        window.finish()
    assert closing.args == [True]
