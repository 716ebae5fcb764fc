"""The policy doctor of one run: what is wrong, why, and the button that changes the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from workbench.app import doctor
from workbench.app.doctor import Finding
from workbench.app.workspace import Workspace
from workbench.config.doctor import DoctorSettings
from workbench.data.records import Run
from workbench.errors import WorkbenchError
from workbench.ui.asking import Asking
from workbench.ui.forms.settings_dialog import SettingsDialog
from workbench.ui.pages.live_run import LiveRun
from workbench.ui.plural import counted
from workbench.ui.theme import bold, theme
from workbench.ui.timers import single_shot
from workbench.ui.widgets import Badge, Card, button, label, line
from workbench.ui.widgets.basics import Status

LOOK_EVERY_MS = 1000


class DoctorCard(Card):
    """Findings of the shown run, looked for beside the window once a second at most.

    Signals:
        wanted: A change of settings that the user wants for the next run.
        found: The findings, for marks in charts.
    """

    wanted = Signal(object)  # Mapping[str, object]
    found = Signal(object)  # Sequence[Finding]

    def __init__(self, ws: Workspace) -> None:
        super().__init__(self.tr("Policy doctor"))
        self._ws = ws
        self._run: Run | None = None
        self._live: LiveRun | None = None
        self._findings: tuple[Finding, ...] | None = None
        self._asking = Asking(ws, self)
        self._asking.answered.connect(self._on_found)
        self._asking.failed.connect(self._on_failed)
        self._soon = single_shot(self, self._look, LOOK_EVERY_MS)
        self.badge = Badge("neutral", "")
        self.thresholds = button(self.tr("Thresholds"), "link")
        self.thresholds.clicked.connect(self.change_thresholds)
        self.add_head(self.badge)
        self.add_head(self.thresholds)
        self.list = _Findings(self.tr("Findings of the policy doctor"))
        self.list.wanted.connect(self.wanted)
        self.body.addWidget(self.list, 1)
        self._say("neutral", self.tr("no run"), [])

    def follow(self, run: Run, live: LiveRun) -> None:
        """Examine another run, or the same one after it changed."""
        is_other = self._run is None or self._run.id != run.id
        self._run, self._live = run, live
        if is_other:
            self._findings = None
            self._say("neutral", self.tr("looking"), [])
        self._look()

    def catch_up_soon(self) -> None:
        """Look again, at most once a second however many updates come."""
        if not self._soon.isActive():
            self._soon.start()

    def findings(self) -> tuple[Finding, ...]:
        """What was found last."""
        return self._findings or ()

    def _look(self) -> None:
        run, live = self._run, self._live
        if run is None or live is None:
            return
        if self._asking.is_waiting:
            self.catch_up_soon()
            return
        n = max((len(steps) for steps, _ in live.series.values()), default=0)
        # A look takes 0.01 ms per update: a long run is looked at less often.
        self._soon.setInterval(max(LOOK_EVERY_MS, n // 5))
        ws = self._ws
        # Copied by the reader: the window only appends, and a copy is one step of the interpreter.
        self._asking.ask(
            lambda: (run.id, doctor.examine_curves(run, dict(live.series), doctor.saved(ws)))
        )

    def _on_found(self, answer: object) -> None:
        run_id, found = cast("tuple[int, list[Finding]]", answer)
        if self._run is None or run_id != self._run.id or tuple(found) == self._findings:
            return
        self._findings = tuple(found)
        self._show()
        self.found.emit(self._findings)

    def _show(self) -> None:
        found, run = self.findings(), self._run
        assert run is not None
        now = [f for f in found if f.until is None and f.level != "info"]
        if now:
            worst: Status = "bad" if any(f.level == "bad" for f in now) else "warn"
            words = counted(len(now), self.tr("1 to look at"), self.tr("{n} to look at"))
            self._say(worst, words, found)
        elif self._live is not None and not self._live.series:
            self._say("neutral", self.tr("nothing told yet"), found)
        else:
            self._say("ok", self.tr("healthy now"), found)

    def _say(self, status: Status, words: str, found: Sequence[Finding]) -> None:
        self.badge.set(status, words)
        self.list.set_findings(found, self._run)

    def _on_failed(self, sentence: str) -> None:
        self.badge.set("warn", self.tr("not examined"))
        self.badge.setToolTip(sentence)

    def change_thresholds(self) -> None:
        """Ask from where on a run is called ill."""
        dialog: SettingsDialog[DoctorSettings] = SettingsDialog(
            self.window(),
            doctor.saved(self._ws),
            self.tr("Thresholds of the policy doctor"),
            self.tr("From where on a run of this experiment is called ill."),
            self.tr("Keep thresholds"),
        )
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.accepted.connect(lambda: self._keep(dialog.settings()))
        dialog.open()

    def _keep(self, thresholds: DoctorSettings) -> None:
        try:
            doctor.save(self._ws, thresholds)
        except WorkbenchError as error:
            self._on_failed(f"{error.message} {error.hint}")
            return
        self._findings = None
        self._look()


class _Findings(QScrollArea):
    """One block per finding, read from top to bottom; the words can be selected."""

    wanted = Signal(object)

    def __init__(self, name: str) -> None:
        super().__init__()
        self._icons: list[tuple[QLabel, Status]] = []
        self.setAccessibleName(name)
        self.setProperty("plain", True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        theme().changed.connect(self._tint)

    def set_findings(self, found: Sequence[Finding], run: Run | None) -> None:
        """Show other findings; scrolled to where it was."""
        place = self.verticalScrollBar().value()
        self._icons = []
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 8, 0)
        column.setSpacing(8)
        for i, finding in enumerate(found):
            if i:
                column.addWidget(line())
            column.addLayout(self._block(finding, run))
        if not found:
            text = self.tr("Nothing to say. KL, entropy, length, steps and value head are watched.")
            column.addWidget(label(text, "muted", wrap=True))
        column.addStretch(1)
        self.setWidget(inner)
        self.setAccessibleDescription(" ".join(f.seen for f in found))
        self._tint()
        self.verticalScrollBar().setValue(place)

    def _block(self, finding: Finding, run: Run | None) -> QVBoxLayout:
        status: Status = finding.level if finding.until is None else "info"
        icon = QLabel()
        self._icons.append((icon, status))
        words = {"bad": self.tr("Bad"), "warn": self.tr("Look at this"), "info": self.tr("Note")}
        icon.setAccessibleName(words[status])
        icon.setToolTip(words[status])
        title = label(finding.title, wrap=True)
        bold(title)
        head = QHBoxLayout()
        head.setSpacing(8)
        head.addWidget(icon, 0, Qt.AlignmentFlag.AlignTop)
        head.addWidget(title, 1)
        block = QVBoxLayout()
        block.setSpacing(2)
        block.addLayout(head)
        if finding.change and run is not None:
            head.addWidget(self._apply_button(finding.change, run))
        causes = self.tr("Likely causes: {causes}").format(causes=" ".join(finding.causes))
        for text, role in ((finding.seen, ""), (causes, "muted"), (finding.advice, "text-2")):
            said = label(text, role, wrap=True)
            said.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            said.setContentsMargins(24, 0, 0, 0)
            block.addWidget(said)
        return block

    def _apply_button(self, change: Mapping[str, object], run: Run) -> QWidget:
        words = doctor.change_words(run, change)
        apply = button(self.tr("Apply to settings"))
        apply.setToolTip(self.tr("For the next run: {change}").format(change=words))
        apply.setAccessibleDescription(apply.toolTip())
        apply.clicked.connect(lambda: self.wanted.emit(change))
        return apply

    def _tint(self) -> None:
        for icon, status in self._icons:
            icon.setPixmap(theme().status_icon(status, 16).pixmap(16, 16))
