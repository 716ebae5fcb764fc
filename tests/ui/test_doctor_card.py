"""Findings beside the charts, their marks, and the button that sets what the doctor proposes."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot

from tests.ill_runs import add_run
from workbench.app import doctor
from workbench.config.doctor import DoctorSettings
from workbench.ui.forms.settings_dialog import SettingsDialog
from workbench.ui.main_window import MainWindow
from workbench.ui.pages.runs import RunsPage
from workbench.ui.pages.samples_browser import SamplesBrowser
from workbench.ui.pages.train import TrainPage
from workbench.ui.theme import theme


@pytest.fixture
def page(qtbot: QtBot, window: MainWindow) -> TrainPage:
    window.resize(1440, 900)
    add_run(window.ws, "healthy")
    add_run(window.ws, "wild")
    window.show_page("train")
    found = window.page("train")
    assert isinstance(found, TrainPage)
    qtbot.waitUntil(lambda: found.view.doctor.badge.text() == "4 to look at")
    return found


def test_findings_are_shown_marked_and_applied(qtbot: QtBot, page: TrainPage) -> None:
    card = page.view.doctor
    assert [f.detector for f in card.findings()] == [
        "kl_blow_up",
        "reward_hacking",
        "eos_loss",
        "repetition",
    ]
    said = card.list.accessibleDescription()
    assert "KL to the reference is above 15 nats per answer since update 13" in said
    charts = page.view.charts.charts
    assert charts["objective/kl"].finding() == "KL above 15 nats"
    assert "KL above 15 nats" in charts["objective/kl"].toolTip()
    assert charts["objective/scores"].finding() == "Reward rises, judge falls"
    assert charts["loss/policy"].finding() == ""

    before = page.form.settings().model_dump()
    buttons = [b for b in card.list.findChildren(type(card.thresholds)) if b.isVisible()]
    assert len(buttons) == 4
    assert "Learning rate 0.005" in buttons[0].toolTip()
    buttons[0].click()
    after = page.form.settings().model_dump()
    assert {n for n in before if before[n] != after[n]} == {"kl_coef", "learning_rate"}
    assert (after["kl_coef"], after["learning_rate"]) == (0.05, 0.005)
    assert page.ws.run(page.shown or 0).settings["learning_rate"] == 0.01, "the run keeps its own"

    # Other thresholds, other findings; a healthy run has none, and its charts no marks.
    card.change_thresholds()
    [dialog] = page.window().findChildren(SettingsDialog)
    dialog.form.set_values({"kl_limit": 100.0, "eos_floor": 0.0})
    dialog.start.click()
    assert doctor.saved(page.ws) == DoctorSettings(kl_limit=100.0, eos_floor=0.0)
    qtbot.waitUntil(lambda: card.badge.text() == "2 to look at")
    page.show_run(1)
    qtbot.waitUntil(lambda: card.badge.text() == "healthy now")
    assert {chart.finding() for chart in page.view.charts.charts.values()} == {""}
    assert "Nothing to say" in " ".join(
        w.text() for w in card.list.findChildren(type(page.view.doctor._title))
    )


def test_one_prompt_is_read_through_the_steps(
    qtbot: QtBot, window: MainWindow, page: TrainPage
) -> None:
    page.view.samples.all_button.click()
    [browser] = window.findChildren(SamplesBrowser)
    qtbot.waitUntil(lambda: bool(browser.table.rows()))
    n = len(window.ws.experiment.prompts.list(split="heldout"))
    assert len(browser.table.rows()) == 3 * n
    browser.prompt.setCurrentIndex(1)
    assert [k.sample.step for k in browser.table.rows()] == [0, 10, 20]
    assert not browser.earlier.isEnabled()
    assert browser.diff.note.text() == "The same words as the base."
    browser.later.click()
    current = browser.table.current()
    assert current is not None
    assert current.sample.step == 10
    assert browser.diff.base.toPlainText() == "the sea is blue 0"
    assert [s.cursor.selectedText() for s in browser.diff.answer.extraSelections()] == ["green"]
    assert [s.cursor.selectedText() for s in browser.diff.base.extraSelections()] == ["blue"]

    # Sorting, filtering, the other kind.
    browser.order.setCurrentIndex(browser.order.findData("change"))
    assert [k.sample.step for k in browser.table.rows()] == [20, 10, 0]
    browser.order.setCurrentIndex(browser.order.findData("best"))
    assert [k.sample.step for k in browser.table.rows()] == [20, 10, 0]
    browser.go(-1)
    assert browser.table.current() is not None
    browser.text.setText("green")
    assert [k.sample.step for k in browser.table.rows()] == [10]
    browser.text.clear()
    browser.kind.setCurrentIndex(1)
    assert [k.sample.text for k in browser.table.rows()] == ["old"]
    assert "luck of its own" in browser.diff.note.text()

    # Token by token.
    browser.tabs.setCurrentWidget(browser.tokens)
    qtbot.waitUntil(browser.tokens.empty.isVisible)
    browser.kind.setCurrentIndex(0)
    browser.table.selectRow(0)
    qtbot.waitUntil(browser.tokens.view.isVisible)
    sheet = browser.tokens
    assert sheet.shade() == "log_ratio"
    assert "Log-probability change +2 nats" in sheet.numbers.text()
    assert sheet.view.scale == 2.0
    assert not sheet.buttons["advantage"].isEnabled()
    sheet.buttons["value"].click()
    assert sheet.view.accessibleDescription().startswith("“the”  +0.5")
    sheet.view.select(4)
    assert "Token 5 of 5" in sheet.numbers.text()
    assert "likelier" not in sheet.legend.accessibleName()
    for mode in ("light", "dark"):
        theme().set_mode(mode)
        browser.grab()
    browser.close()

    # The same from the Runs page, with what the doctor says of a run in one line.
    window.show_page("runs")
    runs = window.page("runs")
    assert isinstance(runs, RunsPage)
    note = runs.doctor
    qtbot.waitUntil(lambda: note.sentence().startswith("4 findings: KL above 15 nats"))
    runs.table.selectRow(1)
    qtbot.waitUntil(lambda: note.sentence() == "The policy doctor has found nothing.")
    note.samples_button.click()
    other = next(b for b in window.findChildren(SamplesBrowser) if b.isVisible())
    qtbot.waitUntil(lambda: bool(other.table.rows()))
    assert other.windowTitle() == "Samples of healthy"
    other.close()
