"""What a training run works on: algorithm, model, where to start, reward, data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QFormLayout, QLabel, QVBoxLayout, QWidget

from workbench.app import second_judge
from workbench.app.planning import Problem
from workbench.app.reward import reward_runs
from workbench.app.runs import runs
from workbench.app.training_data import amount
from workbench.app.workspace import Workspace
from workbench.config.algorithms import ALGORITHMS, Algorithm
from workbench.data.records import Run
from workbench.ui.pages.run_facts import heldout
from workbench.ui.pages.wording import percent
from workbench.ui.theme import bold
from workbench.ui.widgets import ElidedLabel
from workbench.ui.widgets.remark import Remark

_USABLE = ("done", "stopped")
_IN_DOUBT = "ppo"
_TOOLTIP = Qt.ItemDataRole.ToolTipRole


class TrainInputs(QWidget):
    """Rows over the form. Data has its own pages; what is chosen among is chosen here."""

    changed = Signal()

    def __init__(self, ws: Workspace) -> None:
        super().__init__()
        self._ws = ws
        heading = QLabel(self.tr("Model and data"))
        bold(heading)
        self.method = QComboBox()
        self.method.setAccessibleName(self.tr("Algorithm"))
        for how in ALGORITHMS.values():
            self.method.addItem(how.title, how.name)
            self.method.setItemData(self.method.count() - 1, how.when, _TOOLTIP)
        self.method.setCurrentIndex(self.method.findData(_IN_DOUBT))
        self.method.currentIndexChanged.connect(self._on_method)
        self.when = QLabel()
        self.when.setWordWrap(True)
        self.when.setProperty("role", "help")
        self.policy = ElidedLabel("")
        self.start = QComboBox()
        self.start.setAccessibleName(self.tr("Start from"))
        self.start.setToolTip(
            self.tr("What training starts from and is held near to: the base, or a trained policy")
        )
        self.reward = QComboBox()
        self.reward.setAccessibleName(self.tr("Reward model"))
        self.reward.setToolTip(self.tr("Which reward model scores the answers"))
        self.reward.setPlaceholderText(self.tr("none trained"))
        self.held_back = QComboBox()
        self.held_back.setAccessibleName(self.tr("Held-back judge"))
        self.held_back.setToolTip(
            self.tr(
                "Gives its opinion of the answers now and then and is never learned from. When it "
                "falls while the reward rises, the reward is being exploited."
            )
        )
        for box in (self.start, self.reward, self.held_back):
            box.setEnabled(False)
            box.currentIndexChanged.connect(self.changed)
        self.data = ElidedLabel("")
        self._form = QFormLayout()
        self._form.setVerticalSpacing(8)
        self._form.setHorizontalSpacing(12)
        self._form.addRow(self.tr("Algorithm"), self.method)
        self._form.addRow(self.when)
        self.remarks = {where: Remark() for where in ("model", "start", "reward", "judge", "data")}
        rows = {
            "model": (self.tr("Policy"), self.policy),
            "start": (self.tr("Start from"), self.start),
            "reward": (self.tr("Reward"), self.reward),
            "judge": (self.tr("Held-back judge"), self.held_back),
            "data": (self.tr("Data"), self.data),
        }
        for where, (title, control) in rows.items():
            self._form.addRow(title, control)
            self._form.addRow(self.remarks[where])
            self.remarks[where].tell("")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 8, 0, 8)
        layout.setSpacing(8)
        layout.addWidget(heading)
        layout.addLayout(self._form)
        self._describe()

    def algorithm(self) -> Algorithm:
        """The chosen algorithm."""
        return ALGORITHMS[self.method.currentData()]

    def chosen(self) -> dict[str, int | None]:
        """Runs to build on, as `app.runs.train` takes them."""
        return {"reward_run": self.reward.currentData(), "start_run": self.start.currentData()}

    def judge(self) -> str:
        """Who is held back, as `app.runs.train` takes it."""
        return str(self.held_back.currentData() or "") if self._asks_judges() else ""

    def _asks_judges(self) -> bool:
        return {"prompts", "reward"} <= self.algorithm().needs

    def show_run(self, run: Run) -> None:
        """Show what a run was made with."""
        self.method.setCurrentIndex(self.method.findData(run.algorithm))
        for box, wanted in self._inputs_of(run):
            # A null does not find itself: the first choice stands for no run.
            index = 0 if wanted is None else box.findData(wanted)
            if index >= 0 and (wanted is not None or box is self.start):
                box.setCurrentIndex(index)

    def missing(self, run: Run) -> list[str]:
        """Names of the choices of a run that cannot be made any more."""
        return [
            box.accessibleName()
            for box, wanted in self._inputs_of(run)
            if wanted and box.findData(wanted) < 0
        ]

    def _inputs_of(self, run: Run) -> list[tuple[QComboBox, object]]:
        return [
            (self.start, run.inputs.get("start_run")),
            (self.reward, run.inputs.get("reward_run")),
            (self.held_back, run.inputs.get("judge", "")),
        ]

    def refresh(self) -> None:
        """Read the choices again; what is chosen stays when it is still there."""
        self.policy.setText(Path(self._ws.selected_model).name or self.tr("none chosen"))
        scorers = [r for r in reward_runs(self._ws) if r.status in _USABLE]
        if [r.id for r in scorers] != [self.reward.itemData(i) for i in range(self.reward.count())]:
            self._fill_rewards(scorers)
        policies = [r for r in runs(self._ws, "policy") if r.status in _USABLE]
        shown = [self.start.itemData(i) for i in range(1, self.start.count())]
        if not self.start.count() or [r.id for r in policies] != shown:
            self._fill_starts(policies)
        self._fill_judges()
        self._describe()

    def _fill_judges(self) -> None:
        known = {"": self.tr("nobody"), **second_judge.choices(self._ws)}
        box = self.held_back
        if list(known) == [box.itemData(i) for i in range(box.count())]:
            return
        chosen = box.currentData()
        box.blockSignals(True)
        box.clear()
        for key, title in known.items():
            box.addItem(title, key)
        box.setCurrentIndex(max(0, box.findData(chosen)))
        box.setEnabled(True)
        box.blockSignals(False)

    def _fill_rewards(self, scorers: list[Run]) -> None:
        newest_before = self.reward.itemData(0)
        chosen = self.reward.currentData()
        self.reward.blockSignals(True)
        self.reward.clear()
        for run in scorers:
            held = heldout(run)
            share = f" ({percent(held.accuracy)})" if held else ""
            self.reward.addItem(run.name + share, run.id)
        # A newer reward model takes the place of the newest, not of one chosen on purpose.
        keeps = chosen is not None and chosen != newest_before
        self.reward.setCurrentIndex(max(0, self.reward.findData(chosen)) if keeps else 0)
        self.reward.setEnabled(bool(scorers))
        self.reward.blockSignals(False)
        self.changed.emit()

    def _fill_starts(self, policies: list[Run]) -> None:
        chosen = self.start.currentData()
        self.start.blockSignals(True)
        self.start.clear()
        self.start.addItem(self.tr("the base model"), None)
        for run in policies:
            self.start.addItem(run.name, run.id)
        self.start.setCurrentIndex(max(0, self.start.findData(chosen)))
        self.start.setEnabled(bool(policies))
        self.start.blockSignals(False)
        self.changed.emit()

    def set_problems(self, problems: Sequence[Problem]) -> None:
        """Say beside each choice what is wrong with it."""
        for where, remark in self.remarks.items():
            remark.tell(" ".join(p.message for p in problems if p.where == where))

    def _on_method(self) -> None:
        self._describe()
        self.changed.emit()

    def _describe(self) -> None:
        how = self.algorithm()
        self.when.setText(how.when)
        self.data.setText(amount(self._ws, how))
        self._form.setRowVisible(self.reward, "reward" in how.needs)
        self._form.setRowVisible(self.held_back, self._asks_judges())
