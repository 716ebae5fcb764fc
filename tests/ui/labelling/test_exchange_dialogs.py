"""Importing with a preview and exporting with counts, in the real window."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from tests.ui.labelling.data import add_pairs
from workbench.app import labelling
from workbench.ui.pages.export_preferences_dialog import ExportPreferencesDialog
from workbench.ui.pages.import_dialog import ImportDialog

LONG = 20_000
LEFT = Qt.MouseButton.LeftButton
HH = [
    {
        "chosen": f"\n\nHuman: Question {i}?\n\nAssistant: A kind answer to {i}.",
        "rejected": f"\n\nHuman: Question {i}?\n\nAssistant: A rude one, {i}.",
    }
    for i in range(20)
]


def lines(path: Path, rows: list[object]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def import_dialog(qtbot: QtBot, page, path: Path) -> ImportDialog:
    page.look_at_file(path)
    dialog = page.window().findChild(ImportDialog)
    assert dialog is not None
    qtbot.waitUntil(lambda: not dialog._asking.is_waiting, timeout=LONG)
    return dialog


def test_a_file_is_shown_before_it_is_imported(qtbot, ws, open_page, tmp_path) -> None:
    page = open_page("preferences")
    file = lines(tmp_path / "hh.jsonl", [*HH, {"chosen": "no turns", "rejected": 3}, HH[0]])
    dialog = import_dialog(qtbot, page, file)
    assert "HH-RLHF" in dialog.facts.text()
    assert "20 pairs" in dialog.facts.text()
    assert "Line 21" in dialog.remark.text()
    assert "repeats an earlier one" in dialog.remark.text()
    row = dialog.table.rows_model.rows[0]
    assert (row.first, row.second) == ("A kind answer to 0.", "A rude one, 0.")
    assert ws.experiment.judgements.count() == 0
    qtbot.mouseClick(dialog.take, LEFT)
    qtbot.waitUntil(lambda: ws.experiment.judgements.count() == 20, timeout=LONG)
    qtbot.waitUntil(lambda: not page.context.bridge.jobs, timeout=LONG)
    assert labelling.undo_name(ws) == "imported 20 judgements"
    labelling.undo(ws)
    assert ws.experiment.judgements.count() == 0


def test_columns_with_other_names_are_chosen(qtbot, ws, open_page, tmp_path) -> None:
    file = tmp_path / "sheet.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["frage", "gut", "schlecht"])
        writer.writerows([[f"Frage {i}", f"gut {i}", f"schlecht {i}"] for i in range(9)])
    dialog = import_dialog(qtbot, open_page("preferences"), file)
    assert not dialog.take.isEnabled()
    assert dialog.remark.text()
    qtbot.waitUntil(lambda: bool(dialog._columns), timeout=LONG)
    for ours, name in (("prompt", "frage"), ("chosen", "gut"), ("rejected", "schlecht")):
        box = dialog._columns[ours]
        box.setCurrentIndex(box.findData(name))
    qtbot.waitUntil(dialog.take.isEnabled, timeout=LONG)
    assert "9 pairs" in dialog.facts.text()
    qtbot.mouseClick(dialog.take, LEFT)
    qtbot.waitUntil(lambda: ws.experiment.judgements.count() == 9, timeout=LONG)
    assert {p.chosen for p in ws.experiment.judgements.preferences()} == {
        f"gut {i}" for i in range(9)
    }


def test_what_is_no_preference_file_is_said_and_nothing_is_imported(
    qtbot, ws, open_page, tmp_path
) -> None:
    file = tmp_path / "picture.jsonl"
    file.write_bytes(b"\x89PNG\0\0\0")
    dialog = import_dialog(qtbot, open_page("preferences"), file)
    assert not dialog.take.isEnabled()
    assert "not a text file" in dialog.remark.text()
    qtbot.mouseClick(dialog.close_button, LEFT)
    assert ws.experiment.judgements.count() == 0


def export_dialog(qtbot: QtBot, page) -> ExportPreferencesDialog:
    qtbot.mouseClick(page.export_button, LEFT)
    dialog = page.window().findChild(ExportPreferencesDialog)
    assert dialog is not None
    counted_(qtbot, dialog)
    return dialog


def counted_(qtbot: QtBot, dialog: ExportPreferencesDialog) -> None:
    qtbot.waitUntil(lambda: not dialog._asking.is_waiting, timeout=LONG)


def test_an_export_is_counted_before_it_is_written(qtbot, ws, open_page, tmp_path) -> None:
    add_pairs(ws, 6)
    ids = [labelling.next_item(ws, i).comparison.id for i in range(6)]
    for n, i in enumerate(ids):
        verdict = "tie" if n == 5 else "first"
        labelling.judge(ws, i, verdict, 1.0, strength=0 if n == 5 else 1 + n % 2)
    page = open_page("preferences")
    dialog = export_dialog(qtbot, page)
    assert dialog.counts.text().startswith("5 pairs, 1 ties and skips, 6 prompts")
    dialog.strength.setCurrentIndex(2)
    counted_(qtbot, dialog)
    assert dialog.counts.text().startswith("2 pairs, 0 ties")
    for name, box in dialog.forms.items():
        box.setChecked(name in ("trl", "llama-factory"))
    dialog.path.setText(str(tmp_path / "out"))
    qtbot.mouseClick(dialog.take, LEFT)
    qtbot.waitUntil((tmp_path / "out" / "README.md").exists, timeout=LONG)
    rows = (tmp_path / "out" / "preferences.jsonl").read_text("utf-8").splitlines()
    assert len(rows) == 2
    assert {json.loads(row)["strength"] for row in rows} == {2}
    assert (tmp_path / "out" / "llama_factory" / "dataset_info.json").exists()
    qtbot.waitUntil(lambda: not page.context.bridge.jobs, timeout=LONG)


def test_a_folder_that_exists_or_no_form_is_refused_at_once(qtbot, ws, open_page, tmp_path) -> None:
    add_pairs(ws, 1)
    labelling.judge(ws, labelling.next_item(ws).comparison.id, "first", 1.0)
    dialog = export_dialog(qtbot, open_page("preferences"))
    assert dialog.take.isEnabled()
    dialog.path.setText(str(tmp_path))
    assert "exists already" in dialog.remark.text()
    assert not dialog.take.isEnabled()
    dialog.path.setText(str(tmp_path / "new"))
    for box in dialog.forms.values():
        box.setChecked(False)
    assert "Choose a form" in dialog.remark.text()
    assert not dialog.take.isEnabled()
    dialog.reject()
