"""Probes: light reward models, measured while a person ranks and kept when they are good."""

from __future__ import annotations

from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QVBoxLayout

from workbench.app import probes
from workbench.app.probes import Report, Row, Share
from workbench.app.workspace import Workspace
from workbench.config.probe import ProbeSettings
from workbench.config.toml import SettingsError
from workbench.data.records import Run
from workbench.errors import WorkbenchError
from workbench.jobs.runner import Job
from workbench.ui.forms.settings_form import SettingsForm
from workbench.ui.pages.interval_plot import IntervalPlot
from workbench.ui.pages.interval_plot import Share as Bar
from workbench.ui.pages.page import UiContext
from workbench.ui.pages.reward_tab import RewardTab
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.pages.settings_column import SettingsColumn
from workbench.ui.pages.wording import number, percent_interval
from workbench.ui.widgets import Card, button, label
from workbench.ui.widgets.remark import Remark

_MOST_SIZES = 6


class ProbesTab(RewardTab):
    """Kinds of probes with their held-out accuracy, by layer and by number of labels.

    Calls app.probes.
    """

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(ws, context)
        self._job: Job | None = None
        self._build()
        self._lay_out()
        context.bridge.finished.connect(self._end)

    def title(self) -> str:  # noqa: D102
        return self.tr("Probes")

    def show_run(self, _run: Run | None) -> None:
        """Whichever reward is shown: these are about the labels."""
        self.automatic.setChecked(probes.is_on(self.ws))
        self._show(probes.report(self.ws))

    def _build(self) -> None:
        theme = self.context.theme
        self.form = SettingsForm(ProbeSettings)
        self.form.set_values(probes.saved(self.ws).model_dump())
        self.form.problems_changed.connect(self._enable)
        self.column = SettingsColumn(self.form)
        self.facts = label("", "text-2", wrap=True)
        self.automatic = QCheckBox(self.tr("Measure again while I rank"))
        self.automatic.setToolTip(
            self.tr("In the background, a moment after the last label; nothing waits for it")
        )
        self.automatic.setEnabled(not self.ws.is_read_only)
        self.automatic.clicked.connect(self._switch)
        self.measure_button = button(self.tr("Measure all kinds"), "outlined")
        self.measure_button.clicked.connect(self.measure)
        self.keep_button = button(self.tr("Keep as reward model"), "filled", icon="reward")
        self.keep_button.clicked.connect(self.keep)
        self.remark = Remark()
        self.table: RowsView[Row] = RowsView(
            [
                Column(self.tr("Kind"), lambda r: self._word(r.kind)),
                Column(self.tr("Layer"), lambda r: str(r.layer), "0000", True),
                Column(self.tr("Pooling"), lambda r: r.pooling, "mean"),
                Column(
                    self.tr("Held-out accuracy"),
                    lambda r: percent_interval(r.accuracy.value, r.accuracy.low, r.accuracy.high),
                    "100 % [100, 100]",
                    True,
                ),
                Column(self.tr("Labels"), lambda r: str(r.accuracy.n), "00000", True),
                Column(self.tr("Time"), lambda r: f"{number(r.seconds, 1)} s", "000.0 s", True),
            ],
            self.tr("Probes"),
        )
        self.table.show_whole(len(probes.KINDS))
        self.table.chosen.connect(self._choose)
        self.by_layer = IntervalPlot(theme, self.tr("Held-out accuracy, % (95 % interval)"))
        self.by_size = IntervalPlot(theme, self.tr("Held-out accuracy, % (95 % interval)"))

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.addStretch(1)
        for widget in (self.column.button, self.measure_button, self.keep_button):
            head.addWidget(widget)
        kinds = Card(self.tr("Kinds"))
        kinds.set_fact(self.tr("measured on prompts that took no part in any choice"))
        kinds.body.addWidget(self.table)
        layers = Card(self.tr("By layer"))
        layers.set_fact(self.tr("the best one is a little flattered"))
        layers.body.addWidget(self.by_layer)
        sizes = Card(self.tr("With so many labels"))
        sizes.body.addWidget(self.by_size)
        plots = QHBoxLayout()
        plots.setSpacing(8)
        plots.addWidget(layers, 1)
        plots.addWidget(sizes, 1)
        content = QVBoxLayout()
        content.setSpacing(12)
        content.addLayout(head)
        content.addWidget(self.automatic)
        content.addWidget(self.facts)
        content.addWidget(self.remark)
        content.addWidget(kinds)
        content.addLayout(plots, 1)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 12, 0, 0)
        layout.setSpacing(16)
        layout.addWidget(self.column)
        layout.addLayout(content, 1)

    def measure(self) -> None:
        """Measure all kinds on all labels, in a job."""
        settings = self._settings()
        if settings is not None:
            self._submit(lambda: probes.try_out(self.ws, settings))

    def keep(self) -> None:
        """Fit the kind that the form says and keep it as a run."""
        settings = self._settings()
        if settings is not None:
            self._submit(lambda: probes.keep(self.ws, settings))

    def _settings(self) -> ProbeSettings | None:
        try:
            return self.form.settings()
        except SettingsError:
            self.form.go_to_first_problem()
            return None

    def _submit(self, start: object) -> None:
        assert callable(start)
        self.remark.tell("")
        try:
            self._job = self.context.bridge.watch(start())
        except WorkbenchError as error:
            self.remark.tell(f"{error.message} {error.hint}".strip())
        self._enable()

    def _end(self, job: Job) -> None:
        if job is not self._job:
            return
        self._job = None
        error = job.finished.error if job.finished else None
        if error is not None:
            self.remark.tell(f"{error.message} {error.hint}".strip())
        self._enable()

    def _switch(self) -> None:
        probes.switch(self.ws, self.automatic.isChecked())
        self.context.bridge.experiment_changed.emit()

    def _choose(self, row: Row | None) -> None:
        if row is not None:
            self.form.set_values({"kind": row.kind})

    def _show(self, found: Report | None) -> None:
        self._enable()
        if found is None:
            self.facts.setText(
                self.tr(
                    "Small models on what the base makes of answers. Nothing has been measured "
                    "yet: rank 8 pairs, or press Measure."
                )
            )
            self.table.set_rows([])
            self.by_layer.set_shares([])
            self.by_size.set_shares([])
            return
        text = self.tr("{n} labels, measured in {seconds} s.")
        facts = text.format(n=found.n_labels, seconds=number(found.seconds, 1))
        self.facts.setText(" ".join([facts, *found.doubts]))
        self.table.set_rows(found.rows, key=lambda row: row.kind)
        best: dict[int, tuple[str, Share]] = {}
        for layer, pooling, share in found.by_layer:
            if layer not in best or share.value > best[layer][1].value:
                best[layer] = (pooling, share)
        self.by_layer.set_shares(
            [
                _bar(self.tr("Layer {n}, {pooling}").format(n=layer, pooling=pooling), share)
                for layer, (pooling, share) in best.items()
            ]
        )
        self.by_size.set_shares(
            [
                _bar(self.tr("{n} labels").format(n=n), share)
                for n, share in found.by_size[-_MOST_SIZES:]
            ]
        )

    def _enable(self) -> None:
        why = ""
        if self.ws.is_read_only:
            why = self.tr("Not while the experiment is open read-only.")
        elif self._job is not None:
            why = self.tr("Wait until this is done.")
        for one in (self.measure_button, self.keep_button):
            one.setEnabled(not why)
            one.setToolTip(why)

    def _word(self, kind: str) -> str:
        words = {
            "logistic": self.tr("Logistic (Bradley-Terry)"),
            "ridge": self.tr("Ridge regression"),
            "svm": self.tr("Support vector machine"),
            "mlp": self.tr("Small network"),
        }
        return words[kind]


def _bar(name: str, share: Share) -> Bar:
    return Bar(name, share.value, share.low, share.high, share.n)
