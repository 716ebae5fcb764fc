"""A run that has stopped to ask about its own answers: how many labels are there, and what next."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout

from workbench.app import label_rounds
from workbench.app.workspace import Workspace
from workbench.data.records import Run
from workbench.ui.widgets import Card, Meter, button, label


class RoundCard(Card):
    """Hidden unless the shown run waits for labels. Calls app.label_rounds."""

    rank_wanted = Signal()
    go_on_wanted = Signal()

    def __init__(self, ws: Workspace) -> None:
        super().__init__(self.tr("The run asks for labels"))
        self._ws = ws
        self.text = label(wrap=True)
        self.meter = Meter()
        self.meter.setAccessibleName(self.tr("Labels given"))
        self.rank = button(self.tr("Rank its answers"), "outlined", icon="preferences")
        self.rank.clicked.connect(self.rank_wanted)
        self.go_on = button(self.tr("Train on the labels there are"), "outlined", icon="play")
        self.go_on.clicked.connect(self.go_on_wanted)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self.meter, 1)
        row.addWidget(self.rank)
        row.addWidget(self.go_on)
        self.body.addWidget(self.text)
        self.body.addLayout(row)
        self.hide()

    def show_run(self, run: Run | None) -> None:
        """Show how far the labels of a run are, if it waits for any."""
        found = None if run is None else label_rounds.waiting_of(self._ws, run.id)
        is_training = found is not None and found.round.reward_run_trained is not None
        self.setVisible(found is not None)
        if found is None:
            return
        n, wanted = found.n_judged, found.n_wanted
        self.set_fact(self.tr("{n} of {wanted} judged").format(n=n, wanted=wanted))
        self.meter.set_value(n, wanted)
        if is_training:
            text = self.tr("The reward model learns from the labels; then the run goes on.")
        else:
            text = self.tr(
                "{run} stopped after update {step}. Pairs of its own answers come first in the "
                "ranking queue. When all are judged, the reward model is trained again; the new "
                "one scores if it orders no fewer held-out pairs right, and the run goes on by "
                "itself."
            ).format(run=found.run.name, step=found.round.step)
        self.text.setText(text)
        self.rank.setEnabled(not is_training and n < wanted)
        self.go_on.setEnabled(not is_training and n > 0)
        self.go_on.setToolTip(
            "" if n else self.tr("Judge at least one pair first, or resume the run without labels.")
        )
