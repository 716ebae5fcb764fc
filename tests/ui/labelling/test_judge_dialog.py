"""The dialog of the AI judge in the real window, against a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import keyring
import pytest
from keyring.backends.fail import Keyring as NoKeyring
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton, QComboBox, QLineEdit, QPlainTextEdit
from pytestqt.qtbot import QtBot

from tests import chat_server
from tests.chat_server import Server
from workbench.app import judging, labelling
from workbench.app.workspace import Workspace
from workbench.config.judge import RUBRICS, JudgeSettings
from workbench.data.records import Message, NewCompletion, NewPrompt
from workbench.ui.pages.judge_dialog import JudgeDialog

WAIT_MS = 20_000


@pytest.fixture(autouse=True)
def _no_keyring() -> Iterator[None]:
    before = keyring.get_keyring()
    keyring.set_keyring(NoKeyring())
    yield
    keyring.set_keyring(before)


@pytest.fixture
def server() -> Iterator[Server]:
    with chat_server.serving() as state:
        yield state


@pytest.fixture
def labelled(ws: Workspace) -> Workspace:
    """Fourteen pairs, twelve of them judged by the person, who likes longer answers but once."""
    for i in range(14):
        [prompt] = ws.experiment.prompts.add_many([NewPrompt((Message("user", f"p{i}"),))])
        texts = ("long answer", "short") if i % 2 else ("brief", "lengthy answer")
        ids = ws.experiment.completions.add_many([NewCompletion(prompt, t) for t in texts])
        ws.experiment.comparisons.add_many([(prompt, *ids)])
    for n, i in enumerate(ws.experiment.comparisons.pending_ids("nobody")[:12]):
        labelling.judge(ws, i, "first" if n % 2 or n == 4 else "second", 1.0)
    return ws


@pytest.fixture
def open_dialog(qtbot: QtBot, labelled: Workspace, open_page) -> Callable[[], JudgeDialog]:
    def open_() -> JudgeDialog:
        page = open_page("preferences")
        qtbot.mouseClick(page.judge_button, Qt.MouseButton.LeftButton)
        (dialog,) = page.window().findChildren(JudgeDialog)
        return dialog

    return open_


def fill(dialog: JudgeDialog, server: Server) -> None:
    dialog.form.where.setCurrentIndex(dialog.form.where.findData("endpoint"))
    dialog.form.url.setText(server.url)
    dialog.form.model.setText(chat_server.MODEL)
    dialog.form.template.setPlainText(chat_server.TEMPLATE)
    dialog.form.numbers.fields["retries"].set_value(0)


def test_it_is_tried_on_labels_and_then_judges_the_rest(
    qtbot: QtBot, labelled: Workspace, server: Server, open_dialog
) -> None:
    dialog = open_dialog()
    assert not dialog.judge_button.isEnabled()
    fill(dialog, server)
    qtbot.waitUntil(dialog.try_button.isEnabled, timeout=WAIT_MS)
    assert dialog.try_button.text() == "Try on 10 of my labels"
    assert not dialog.judge_button.isEnabled()
    assert "Try it on 10" in dialog.judge_button.toolTip()
    assert "Not known yet" in dialog.found.text()
    qtbot.mouseClick(dialog.try_button, Qt.MouseButton.LeftButton)
    assert not dialog.try_button.isEnabled()
    qtbot.waitUntil(dialog.judge_button.isEnabled, timeout=WAIT_MS)
    assert "of 10 pairs" in dialog.found.text()
    assert "Kappa" in dialog.found.text()
    assert dialog.try_button.text() == "Try on 2 of my labels"
    qtbot.mouseClick(dialog.try_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "11 of 12 pairs" in dialog.found.text(), timeout=WAIT_MS)
    assert not dialog.try_button.isEnabled()
    (differing,) = dialog.differing.rows_model.rows
    dialog.differing.selectRow(0)
    dialog.differing.doubleClicked.emit(dialog.differing.rows_model.index(0, 0))
    assert dialog.parent().rank.item.comparison.id == differing.comparison_id
    assert dialog.judge_button.text().startswith("Judge the rest (2 pairs, about ")
    qtbot.mouseClick(dialog.judge_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(labelled.experiment.judgements.list()) == 26, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: dialog.judge_button.text() == "Judge the rest", timeout=WAIT_MS)
    assert not dialog.judge_button.isEnabled()
    dialog.close()


def test_suggestions_wait_until_they_are_asked_for(
    qtbot: QtBot, labelled: Workspace, server: Server, open_dialog
) -> None:
    dialog = open_dialog()
    fill(dialog, server)
    qtbot.waitUntil(dialog.try_button.isEnabled, timeout=WAIT_MS)
    qtbot.mouseClick(dialog.try_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(dialog.suggest_button.isEnabled, timeout=WAIT_MS)
    n_judged = len(labelled.experiment.judgements.list())
    qtbot.mouseClick(dialog.suggest_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(server.asked) == 24, timeout=WAIT_MS)
    qtbot.waitUntil(dialog.judge_button.isEnabled, timeout=WAIT_MS)
    assert len(labelled.experiment.judgements.list()) == n_judged
    dialog.close()
    window = dialog.parent()
    window.rank.show_comparison(labelled.experiment.comparisons.pending_ids("nobody")[12])
    window.actions_["preferences.suggest"].trigger()
    assert window.banner.text() == "The AI judge finds B better (100 %)."
    window.rank.show_comparison(labelled.experiment.comparisons.pending_ids("nobody")[0])
    window.actions_["preferences.suggest"].trigger()
    assert window.banner.text().startswith("There is no suggestion for this pair.")


def test_the_preview_is_what_the_judge_reads(
    qtbot: QtBot, labelled: Workspace, server: Server, open_dialog
) -> None:
    dialog = open_dialog()
    fill(dialog, server)
    dialog.form.rubric.setPlainText("Prefer rhymes.")
    wanted = judging.preview(labelled, JudgeSettings(template=chat_server.TEMPLATE))
    wanted = wanted.replace(RUBRICS["helpful"], "Prefer rhymes.")
    assert "|p12|brief|lengthy answer" in wanted
    qtbot.waitUntil(lambda: dialog.preview.toPlainText() == wanted, timeout=WAIT_MS)
    assert dialog.form.rubric_name.currentText() == "Own words"
    dialog.form.rubric_name.setCurrentIndex(2)
    dialog.form.rubric_name.activated.emit(2)
    qtbot.waitUntil(
        lambda: dialog.preview.toPlainText().startswith(RUBRICS["brief"]), timeout=WAIT_MS
    )
    assert dialog.form.settings().rubric == "brief"
    dialog.close()


def test_what_is_wrong_is_told_and_nothing_can_be_started(
    qtbot: QtBot, labelled: Workspace, server: Server, open_dialog
) -> None:
    dialog = open_dialog()
    # No model is chosen in this experiment.
    qtbot.waitUntil(lambda: "No model is chosen" in dialog.remark.text(), timeout=WAIT_MS)
    fill(dialog, server)
    dialog.form.url.setText("https://me:secret@server/v1")
    qtbot.waitUntil(lambda: "neither a key" in dialog.remark.text(), timeout=WAIT_MS)
    assert not dialog.try_button.isEnabled()
    server.key = "another"
    dialog.form.url.setText(server.url)
    dialog.form.key_edit.setText("sk-wrong")
    qtbot.waitUntil(dialog.try_button.isEnabled, timeout=WAIT_MS)
    qtbot.mouseClick(dialog.try_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "does not take this key" in dialog.remark.text(), timeout=WAIT_MS)
    assert "sk-wrong" not in dialog.remark.text()
    assert dialog.form.key_edit.echoMode() == QLineEdit.EchoMode.Password
    dialog.close()


def test_a_job_that_runs_can_be_cancelled_from_the_window(
    qtbot: QtBot, labelled: Workspace, server: Server, open_dialog
) -> None:
    dialog = open_dialog()
    fill(dialog, server)
    qtbot.waitUntil(dialog.try_button.isEnabled, timeout=WAIT_MS)
    server.script.append(lambda h: h.error(429, "Slow down", Retry_After="60"))
    dialog.form.numbers.fields["retries"].set_value(3)
    qtbot.waitUntil(dialog.try_button.isEnabled, timeout=WAIT_MS)
    qtbot.mouseClick(dialog.try_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(server.asked) == 1, timeout=WAIT_MS)
    assert not dialog.isModal()
    (job,) = dialog.parent().bridge.jobs
    labelled.runner.cancel(job)
    qtbot.waitUntil(dialog.try_button.isEnabled, timeout=5_000)
    assert job.outcome == "cancelled"
    dialog.close()


def test_the_last_judge_is_there_again(
    qtbot: QtBot, labelled: Workspace, server: Server, open_dialog
) -> None:
    how = JudgeSettings(
        where="endpoint",
        url=server.url,
        model=chat_server.MODEL,
        template=chat_server.TEMPLATE,
        weight=0.25,
        rubric="Prefer rhymes.",
    )
    job = judging.judge(labelled, how, "agree-check", limit=1)
    assert job.wait(20.0)
    dialog = open_dialog()
    assert dialog.form.settings() == how
    dialog.close()


def test_everything_has_a_name(qtbot: QtBot, labelled: Workspace, open_dialog) -> None:
    dialog = open_dialog()
    kinds = (QAbstractButton, QComboBox, QLineEdit, QPlainTextEdit)
    controls = [w for kind in kinds for w in dialog.findChildren(kind)]
    assert len(controls) > 15
    unnamed = [w for w in controls if not (w.accessibleName() or getattr(w, "text", str)())]
    assert [type(w).__name__ for w in unnamed if w.isVisible()] == []
    dialog.close()
