"""Design a reward out of parts, and see at once what each weight does to answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PySide6.QtCore import QEvent, QObject
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import QLineEdit, QMenu, QPlainTextEdit, QWidget

from workbench.app import design_draft, design_numbers, designs, score_text, user_functions
from workbench.app.design_draft import Draft, Edits, part_of
from workbench.app.workspace import Workspace
from workbench.config.algorithms import DESIGN
from workbench.config.reward_parts.design import DesignError, Problem, RewardDesign, read
from workbench.data.records import Run
from workbench.errors import WorkbenchError
from workbench.ui.asking import Asking
from workbench.ui.pages.design_add import AddPartDialog
from workbench.ui.pages.design_allow import AllowDialog
from workbench.ui.pages.design_compare import CompareDialog
from workbench.ui.pages.design_layout import DesignLayout
from workbench.ui.pages.design_measuring import Measuring
from workbench.ui.pages.page import Page, UiContext
from workbench.ui.pages.wording import moment
from workbench.ui.timers import single_shot

_PAUSE_MS = 250
_UNDO, _REDO = QKeySequence.StandardKey.Undo, QKeySequence.StandardKey.Redo


class DesignPage(Page):
    """Calls app.designs; the draft is on the disk before a key press returns."""

    key = "design"

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(ws, context)
        self.edits = Edits(design_draft.load(ws))
        self._problems: list[Problem] = []
        self._saved: tuple[int | None, RewardDesign | None, str] = (None, None, "")
        self._titles: tuple[str, ...] = ()
        self._shown_rows: object = None
        self.measuring = Measuring(ws, context, self)
        self._asking = Asking(ws, self)
        self._asking.answered.connect(self._take_problems)
        self._soon = single_shot(self, self._check, _PAUSE_MS)
        self.view = DesignLayout(self)
        self._connect()
        self._show_draft()

    def _connect(self) -> None:
        view = self.view
        view.parts.edited.connect(self._on_edited)
        view.parts.moved.connect(self._on_moved)
        view.parts.removed.connect(self._on_removed)
        view.parts.normalised.connect(self._on_normalised)
        view.parts.allowed.connect(self._ask_to_allow)
        view.parts.kl_edited.connect(
            lambda weight: self._edit(replace(self.edits.now, kl_weight=weight), "kl")
        )
        view.name.textEdited.connect(
            lambda text: self._edit(replace(self.edits.now, name=text), "name")
        )
        for made in view.add_buttons:
            made.clicked.connect(self.add_part)
        view.undo.clicked.connect(self.undo)
        view.redo.clicked.connect(self.redo)
        view.save.clicked.connect(self.save)
        view.compare.clicked.connect(self.compare)
        view.versions_menu.aboutToShow.connect(lambda: self._fill_versions(view.versions_menu))
        view.measure.clicked.connect(self.measure)
        view.shown.activated.connect(self._show_numbers)
        self.measuring.changed.connect(self._on_measured)
        self.measuring.told.connect(view.told.tell)
        self.context.actions.on("design.save", self._save_or_show)
        self.context.actions.show_key(view.save, "design.save")
        self._watch(view.name)
        view.parts.set_locked(self.ws.is_read_only)

    def refresh(self) -> None:
        """Look again at what the draft needs, and at the versions."""
        self._saved = (None, None, "")
        for row in self.view.parts.rows:
            row.show_runs([(run.name, run.id) for run in self._runs()])
        self._update()
        self._soon.start()

    # Edits

    def _edit(self, draft: Draft, subject: object = None, *, goes_on: bool = False) -> None:
        """Go on from another draft: kept at once, shown at once, checked soon.

        An edit with a subject was made in a row, which shows it already.
        """
        if self.edits.change(draft, subject):
            if subject is None:
                self._show_draft()
            else:
                self._show_numbers()
        if not goes_on:
            self._keep()

    def _keep(self) -> None:
        design_draft.keep(self.ws, self.edits.now)
        self._soon.start()
        self._update()

    def _on_edited(self, index: int, changes: dict[str, object], goes_on: bool) -> None:
        if not changes:
            self.edits.settle()
        names = tuple(sorted(changes))
        self._edit(self.edits.now.with_part(index, **changes), (index, names), goes_on=goes_on)

    def _on_moved(self, index: int, by: int) -> None:
        self._edit(self.edits.now.moved(index, by))
        self.view.parts.focus_row(index + by, "up" if by < 0 else "down")

    def _on_removed(self, index: int) -> None:
        self._edit(self.edits.now.without(index))
        self.view.parts.focus_row(index, "remove")

    def _on_normalised(self, index: int) -> None:
        part = part_of(self.edits.now.parts[index])
        try:
            if part is None:
                return
            found = self.measuring.columns.normalised(part)  # type: ignore[arg-type]
        except WorkbenchError as error:
            self.view.parts.rows[index].note.tell(f"{error.message} {error.hint}".strip(), "warn")
            return
        self._edit(self.edits.now.with_part(index, shift=found.shift, scale=found.scale))

    def add_part(self) -> None:
        """Ask which part to add."""
        dialog = AddPartDialog(self.window(), self._runs())
        dialog.accepted.connect(lambda: self._add(dialog))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def _runs(self) -> list[Run]:
        """Rewards that can be a part: a design is none, for it would hold itself in the end."""
        return [run for run in score_text.rewards(self.ws) if run.algorithm != DESIGN.name]

    def _add(self, dialog: AddPartDialog) -> None:
        self._edit(self.edits.now.added(dialog.values()))
        self.view.parts.focus_row(len(self.edits.now.parts) - 1)

    def undo(self) -> None:
        """Take the last edit back."""
        if self.edits.undo():
            self._show_draft()
            self._keep()

    def redo(self) -> None:
        """Do it again."""
        if self.edits.redo():
            self._show_draft()
            self._keep()

    # Undo belongs to the design while the page has the keyboard, in its text fields too.

    def _watch(self, widget: QWidget) -> None:
        fields = [*widget.findChildren(QLineEdit), *widget.findChildren(QPlainTextEdit)]
        for field in (*fields, widget):
            field.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: D102
        if isinstance(event, QKeyEvent) and self._takes(event):
            return True
        return super().eventFilter(watched, event)

    def event(self, event: QEvent) -> bool:  # noqa: D102
        if isinstance(event, QKeyEvent) and self._takes(event):
            return True
        return super().event(event)

    def _takes(self, event: QKeyEvent) -> bool:
        do: Callable[[], None] | None = None
        if event.matches(_UNDO):
            do = self.undo
        elif event.matches(_REDO):
            do = self.redo
        if do is None or event.type() == QEvent.Type.KeyRelease:
            return False
        event.accept()
        if event.type() == QEvent.Type.KeyPress:
            do()
        return True

    # Versions

    def _save_or_show(self) -> None:
        if self.isVisible():
            self.save()
        else:
            self.context.show_page(self.key)

    def save(self) -> None:
        """Save the draft as the next version of its name, or say what hinders it."""
        try:
            job = designs.save(self.ws, read(self.edits.now.values()))
        except DesignError as error:
            self._take_problems(error.problems)
            self._go_to_problem()
            return
        except WorkbenchError as error:
            self.view.told.tell(f"{error.message} {error.hint}".strip(), "bad")
            return
        self.context.bridge.watch(job)
        self.edits.amend(replace(self.edits.now, run_id=job.run_id))
        self._keep()

    def _go_to_problem(self) -> None:
        first = next((p.part for p in self._problems if p.part is not None), None)
        if first is not None:
            self.view.parts.focus_row(first)

    def open_version(self, run_id: int) -> None:
        """Go on from a version that was saved; undo brings the draft back."""
        try:
            design = designs.design_of(self.ws, run_id)
        except WorkbenchError as error:
            self.view.told.tell(f"{error.message} {error.hint}".strip(), "bad")
            return
        self._edit(Draft.of(design, run_id, self.edits.now.kl_weight))

    def show_run(self, run_id: int) -> None:
        """Open the version that a run saved."""
        self.open_version(run_id)

    def _fill_versions(self, menu: QMenu) -> None:
        menu.clear()
        new = menu.addAction(self.tr("New design"))
        new.triggered.connect(self._start_anew)
        menu.addSeparator()
        for run in designs.designs(self.ws):
            action = menu.addAction(f"{run.name}  ({moment(run.created_at)})")
            action.triggered.connect(lambda _on=False, run_id=run.id: self.open_version(run_id))
        if not designs.designs(self.ws):
            menu.addAction(self.tr("No version is saved yet")).setEnabled(False)

    def _start_anew(self) -> None:
        self._edit(Draft(kl_weight=self.edits.now.kl_weight))

    def compare(self) -> None:
        """Compare what two versions make of the answers."""
        dialog = CompareDialog(self.window(), self.ws, self.measuring, self.edits.now)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    # The user's own files

    def _ask_to_allow(self, name: str) -> None:
        dialog = AllowDialog(self.window(), Path(name).expanduser())
        dialog.accepted.connect(lambda: self._allow(Path(name).expanduser()))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def _allow(self, path: Path) -> None:
        try:
            user_functions.allow(path)
        except WorkbenchError as error:
            self.view.told.tell(f"{error.message} {error.hint}".strip(), "bad")
            return
        mine = [p for p in self.edits.now.parts if p.get("file")]
        self.measuring.columns.forget(mine)
        self._soon.start()

    # What is wrong

    def _check(self) -> None:
        values = self.edits.now.values()
        self._asking.ask(lambda: designs.check(self.ws, values))

    def _take_problems(self, found: object) -> None:
        assert isinstance(found, list)
        self._problems = found
        self.view.parts.show_problems(found)
        self._update()
        if self.isVisible():
            self.measuring.add(self._sound_parts())

    def _sound_parts(self) -> list[design_draft.Values]:
        wrong = {p.part for p in self._problems}
        return [values for i, values in enumerate(self.edits.now.parts) if i not in wrong]

    def measure(self) -> None:
        """Measure the parts on the newest answers, or stop measuring."""
        if self.measuring.is_busy:
            self.measuring.cancel()
            return
        self.measuring.measure(self._sound_parts(), self.view.n_answers.currentData())

    def _on_measured(self) -> None:
        self._show_numbers()
        self._update()
        if not self.measuring.is_busy:
            self._soon.start()

    # Showing

    def _show_draft(self) -> None:
        now = self.edits.now
        self.view.parts.show_draft(now, [(r.name, r.id) for r in self._runs()], self._watch)
        if self.view.name.text() != now.name:
            self.view.name.setText(now.name)
        self.view.parts.show_problems(self._problems)
        self._show_numbers()
        self._update()

    def _show_numbers(self) -> None:
        """Work out what the weights make of the answers; nothing is measured for it."""
        now, columns = self.edits.now, self.measuring.columns
        parts = [part_of(values) for values in now.parts]
        found = columns.find(now.parts)
        raw = columns.raw(found)
        paid = design_numbers.contributions(raw, parts)
        penalty = -now.kl_weight * columns.kl
        every = np.column_stack([paid, penalty])
        totals = design_numbers.totals(every)
        titles = (*(row.name.text() for row in self.view.parts.rows), self.tr("KL"))
        if titles != self._titles or columns.rows is not self._shown_rows:
            self._titles, self._shown_rows = titles, columns.rows
            self.view.table.set_rows(columns.rows, titles)
        is_weighted = self.view.shown.currentIndex() == 0
        numbers = every if is_weighted else np.column_stack([raw, columns.kl])
        self.view.table.totals.set_numbers(numbers, totals, is_weighted=is_weighted)
        names = (self.tr("Total"), *titles) if columns.rows else ()
        self.view.plots.set_values(names, np.column_stack([totals, every]))
        self.view.show_shares(parts, found, paid, design_numbers.shares(every))

    def _update(self) -> None:
        """Everything that says where the design stands."""
        now = self.edits.now
        general = next((p.message for p in self._problems if p.part is None), "")
        self.view.show_state(
            is_read_only=self.ws.is_read_only,
            n_parts=len(now.parts),
            problem=general if now.parts else "",
            n_wrong=len({p.part for p in self._problems}),
            has_answers=self.ws.experiment.completions.count() > 0,
            is_measured=bool(self.measuring.columns.rows),
            is_busy=self.measuring.is_busy,
            version=self._version(),
        )
        self.view.undo.setEnabled(self.edits.can_undo and not self.ws.is_read_only)
        self.view.redo.setEnabled(self.edits.can_redo and not self.ws.is_read_only)

    def _version(self) -> tuple[str, bool]:
        """The version that the draft comes from, and whether it is still the same."""
        run_id = self.edits.now.run_id
        if run_id is None:
            return "", False
        if self._saved[0] != run_id:
            try:
                design = designs.design_of(self.ws, run_id)
                self._saved = (run_id, design, self.ws.run(run_id).name)
            except WorkbenchError:
                self._saved = (run_id, None, "")
        _, saved, name = self._saved
        return name, saved is not None and Draft.of(
            saved, run_id
        ).values() == self.edits.now.values()
