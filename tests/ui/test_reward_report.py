"""The report card in the real window, on a tiny model: made, read, taken away, acted on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from tests import ready, tinymodels
from workbench.app import best_of_n, report_card, reward
from workbench.app.best_of_n import Figure, Point
from workbench.config.best_of_n import BestOfNSettings
from workbench.config.reward_model import RewardModelSettings
from workbench.evaluation.report_records import Calibration, Confidence, CurvePoint, LearningCurve
from workbench.evaluation.report_records import Figure as Share
from workbench.ui.main_window import MainWindow
from workbench.ui.pages.best_of_n_card import BestOfNChart
from workbench.ui.pages.report_charts import CalibrationChart, LearningChart
from workbench.ui.pages.reward import RewardPage
from workbench.ui.pages.reward_report import ReportTab
from workbench.ui.theme import theme

LONG = 60_000
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def page(qtbot: QtBot, tmp_path: Path):
    model = tinymodels.write(tmp_path / "random-llama", "llama")
    ws = ready.new_experiment(tmp_path / "experiment", str(model))
    ready.add_answers(ws)
    ready.add_judgements(ws)
    settings = RewardModelSettings(epochs=1, learning_rate=2e-3, heldout_share=0.4)
    ready.end(reward.train_reward(ws, settings))
    window = MainWindow(ws)
    qtbot.addWidget(window)
    window.resize(1440, 900)
    with qtbot.waitActive(window):
        window.show()
        window.activateWindow()
    window.show_page("reward")
    shown = window.page("reward")
    assert isinstance(shown, RewardPage)
    yield shown
    assert ws.close(60)


def test_a_report_is_made_read_and_acted_on(qtbot: QtBot, page: RewardPage, tmp_path: Path) -> None:
    tab, ws = page.parts[0], page.ws
    assert isinstance(tab, ReportTab)
    # No report yet: the page opens on the training, and the tab says what will be there.
    assert page.tabs.currentWidget() is not tab
    assert page.tabs.tabText(0) == "Report card"
    page.tabs.setCurrentIndex(0)
    assert tab.stack.currentWidget() is tab.empty
    page.tabs.setCurrentIndex(1)
    action = page.banner.action_button
    assert action is not None
    assert action.text() == "Make the report card"
    action.setFocus()
    qtbot.keyClick(action, Qt.Key.Key_Space)
    assert page.tabs.currentWidget() is tab
    assert tab.progress.isVisible()
    assert not tab.make_button.isVisible()
    qtbot.waitUntil(lambda: tab.card is not None, timeout=LONG)
    card = tab.card
    assert card is not None
    assert not tab.progress.isVisible()
    assert tab.banner.text() == card.verdict.sentence
    assert "95 % interval" in tab.banner.text()
    shown = tab.evidence
    assert "All pairs" in shown.slices.accessibleDescription()
    assert "sure to" in shown.calibration.accessibleDescription()
    assert "judgements" in shown.learning.accessibleDescription()
    assert "Base log-prob" in shown.bars.accessibleDescription()
    assert len(shown.reasons.sentences()) == len(card.verdict.reasons)
    # The same in a table, for who cannot see the charts.
    qtbot.mouseClick(tab.tables_button, LEFT)
    assert tab.stack.currentIndex() == 2
    assert {line.part for line in tab.tables.rows()} >= {"Accuracy", "Calibration"}
    qtbot.mouseClick(tab.tables_button, LEFT)
    # Taken away.
    qtbot.mouseClick(tab.copy_button, LEFT)
    assert QGuiApplication.clipboard().text().startswith("Reward model 1: ")
    tab.export(tmp_path / "out" / "card.json")
    assert json.loads((tmp_path / "out" / "card.json").read_text())["run_name"] == card.run_name
    # One key sends the worst pair back; it comes next, and the report is out of date once it is
    # judged the other way.
    table = shown.worst.table
    worst = table.rows()[0]
    table.selectRow(0)
    table.setFocus()
    qtbot.keyClick(table, Qt.Key.Key_J)
    assert table.rows_model.index(0, 3).data() == "sent back"
    panel = page.context.rank_panel()
    assert panel.item is not None
    assert panel.item.comparison.id == worst.comparison_id
    panel.judge("first" if panel.item.first.text == worst.rejected else "second")
    qtbot.waitUntil(tab.stale.isVisible, timeout=LONG)
    assert "Measure again" in tab.stale.text()
    # The banner's button does the next thing.
    qtbot.waitUntil(lambda: tab.banner.action_button is not None, timeout=LONG)
    assert tab.banner.action_button is not None
    assert tab.banner.action_button.text().startswith("Queue ")
    qtbot.mouseClick(tab.banner.action_button, LEFT)
    waiting = ws.experiment.comparisons.next_pending(ws.annotator)
    assert panel.item is not None
    assert waiting is not None
    assert panel.item.comparison.id == waiting.id
    # A cancel leaves the report that is there.
    qtbot.mouseClick(tab.again_button, LEFT)
    qtbot.mouseClick(tab.progress.cancel_button, LEFT)
    qtbot.waitUntil(lambda: not tab.progress.isVisible(), timeout=LONG)
    assert report_card.read(ws, 1) == tab.card
    # Best of n starts from here, and its curve stays here.
    shown.best_of_n.start(BestOfNSettings(n=4, max_new_tokens=8, n_prompts=3))
    qtbot.waitUntil(
        lambda: "best of 4" in shown.best_of_n.chart.accessibleDescription(), timeout=LONG
    )
    assert "KL" in shown.best_of_n.chart.accessibleDescription()
    assert "annotator" in shown.best_of_n.words.text()
    # Opened again, the page begins with the report.
    window = page.window()
    assert isinstance(window, MainWindow)
    fresh = RewardPage(ws, page.context)
    qtbot.addWidget(fresh)
    fresh.resize(700, 600)
    fresh.refresh()
    fresh.show()
    assert fresh.tabs.currentIndex() == 0
    assert not fresh.grab().isNull()


def figure(value: float) -> Share:
    return Share(value, value - 0.1, value + 0.1, 50)


def test_charts_in_both_themes_say_what_they_draw(qtbot: QtBot) -> None:
    calibration = CalibrationChart(theme(), "Calibration", "nothing")
    learning = LearningChart(theme(), "Learning", "nothing")
    best = BestOfNChart(theme(), "Best of n", "nothing")
    for chart in (calibration, learning, best):
        qtbot.addWidget(chart)
        chart.resize(320, 240)
    calibration.show_calibration(None)
    learning.show_curve(None, None, None)
    best.show_points([])
    for chart in (calibration, learning, best):
        chart.show()
        assert chart.accessibleDescription() == "nothing"
    bins = tuple(Confidence(p, figure(p - 0.05)) for p in (0.55, 0.75, 0.9))
    calibration.show_calibration(Calibration(bins, figure(0.1), 0.05, figure(1.5), 0.8))
    points = tuple(CurvePoint(n, figure(0.5 + n / 500)) for n in (20, 40, 80))
    learning.show_curve(LearningCurve(points, 50, figure(0.03), 0.9), figure(0.7), figure(0.76))
    assert "80 judgements: 66 %" in learning.accessibleDescription()
    assert "you repeat yourself in 76 %" in learning.accessibleDescription()
    wins = {1: 0.5, 4: 0.8, 16: 0.55}
    curve = [
        Point(n, 0.4 * i, Figure(i, i, i), Figure(9, 8, 10), Figure(w, w - 0.05, w + 0.05), None)
        for i, (n, w) in enumerate(wins.items())
    ]
    best.show_points(curve)
    turn = best_of_n.turning_point(curve)
    assert turn is not None
    assert (turn[0].n, turn[1]) == (4, True)
    assert best_of_n.turning_point(curve[:2]) is None
    for mode in ("light", "dark"):
        theme().set_mode(mode)
        for chart in (calibration, learning, best):
            assert not chart.grab().isNull()
            assert chart.accessibleDescription() != "nothing"
