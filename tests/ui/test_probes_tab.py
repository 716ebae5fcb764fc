"""Probes in the real window: measured again when labels come, shown, kept as a reward."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from tests import ready, tinymodels
from workbench.app import labelling, probes
from workbench.app.workspace import Workspace
from workbench.ui import probe_keeper
from workbench.ui.main_window import MainWindow
from workbench.ui.pages.probes import ProbesTab
from workbench.ui.pages.reward import RewardPage

LONG = 60_000


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setattr(probe_keeper, "_AFTER_MS", 1)
    monkeypatch.setattr(probes, "KINDS", probes.QUICK)
    model = tinymodels.write(tmp_path / "random-llama", "llama")
    ws = ready.new_experiment(tmp_path / "experiment", str(model))
    ready.add_answers(ws)
    ready.add_judgements(ws)
    yield ws
    assert ws.close(60)


def test_labels_are_learned_from_while_they_come_and_a_probe_is_kept(
    judged: Workspace, qtbot: QtBot
) -> None:
    window = MainWindow(judged)
    qtbot.addWidget(window)
    window.show_page("reward")
    page = window.page("reward")
    assert isinstance(page, RewardPage)
    tab = next(part for part in page.parts if isinstance(part, ProbesTab))
    page.tabs.setCurrentWidget(tab)
    # What was there before the window is left alone until a label comes.
    assert not window.bridge.jobs
    assert window.dock._note.text() == ""
    assert tab.table.rows() == []
    labelling.judge(judged, 1, "first", 1.0)
    window.bridge.experiment_changed.emit()
    # The model reads, then the fit runs beside it, and everybody is told.
    qtbot.waitUntil(lambda: window.dock._note.text().startswith("Probe "), timeout=LONG)
    assert [row.kind for row in tab.table.rows()] == ["logistic", "ridge"]
    found = probes.report(judged)
    assert found is not None
    assert f"{found.n_labels} labels" in tab.facts.text()
    assert "Layer 2" in tab.by_layer.accessibleDescription()
    assert f"{found.by_size[-1][0]} labels" in tab.by_size.accessibleDescription()
    assert not probes.is_due(judged)

    tab.table.selectRow(1)
    assert tab.form.settings().kind == "ridge"
    with qtbot.waitSignal(window.bridge.finished, timeout=LONG):
        tab.keep_button.click()
        assert not tab.keep_button.isEnabled()
    (run,) = judged.experiment.runs.list("reward")
    assert (run.algorithm, run.status) == ("probe", "done")
    assert run.settings["kind"] == "ridge"
    assert tab.keep_button.isEnabled()
    assert page.table.rows()[0].name == "Probe 1"

    tab.automatic.click()
    assert not probes.is_on(judged)
    assert window.dock._note.text() == ""
    # A sentence beside it says what is wrong.
    tab.form.set_values({"kind": "logistic", "learn_from": "ratings"})
    tab.measure()
    assert "rated answers" in tab.remark.text()
