"""What a run would take of memory against what there is, before it starts and while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from PySide6.QtCore import Signal

from workbench.app import planning
from workbench.app.memory import memory
from workbench.app.planning import Fitted, Measured, Plan
from workbench.app.workspace import Workspace
from workbench.config.algorithms import Algorithm
from workbench.config.training import TrainingSettings
from workbench.errors import UserError
from workbench.ui.asking import Asking
from workbench.ui.pages.wording import size
from workbench.ui.theme import bold
from workbench.ui.timers import every, single_shot
from workbench.ui.widgets import Card, ElidedLabel, button, label
from workbench.ui.widgets.remark import Remark
from workbench.ui.widgets.stacked_bar import Amount, StackedBar

_SOON_MS = 150
_AGAIN_MS = 2000


class MemoryCard(Card):
    """Follows the settings at a short distance; tokens are counted by a thread beside the worker.

    Signals:
        measured: The data's tokens are counted: `problems` knows more now.
        fitted: Settings to change so that the run fits, nested as the model is.
    """

    measured = Signal()
    fitted = Signal(object)

    def __init__(self, ws: Workspace) -> None:
        super().__init__(self.tr("Memory plan"))
        self._ws = ws
        self._wanted: tuple[Algorithm, TrainingSettings] | None = None
        self._base = ""
        self._reward_run: int | None = None
        self._key: tuple[str, ...] = ()
        self._found: Measured | None = None
        self._trouble = ""
        self._asking = Asking(ws, self)
        self._asking.answered.connect(self._take)
        self._asking.failed.connect(self._fail)
        self._is_locked = False
        self._note = ElidedLabel("", "muted")
        self._head.insertWidget(1, self._note, 1)
        self._head.setStretch(2, 0)
        self.fit_button = button(self.tr("Fit to memory"), "link")
        self.fit_button.clicked.connect(self._fit)
        self._head.insertWidget(self._head.count() - 1, self.fit_button)
        self._free = label("")
        bold(self._free)
        self.add_head(self._free)
        self.bar = StackedBar(self.tr("Memory plan"), size)
        self.remark = Remark()
        self.body.addWidget(self.bar)
        self.body.addWidget(self.remark)
        self._soon = single_shot(self, self._plan, _SOON_MS)
        self._again = every(self, self._plan, _AGAIN_MS)
        self.setVisible(False)

    def plan_for(
        self,
        how: Algorithm,
        settings: TrainingSettings,
        *,
        base: str = "",
        reward_run: int | None = None,
    ) -> None:
        """Plan a run with these settings, on a base and with a reward as `planning.plan` says."""
        self._wanted = (how, settings)
        self._base, self._reward_run = base, reward_run
        self._soon.start()

    def set_locked(self, is_locked: bool) -> None:
        """While a run goes on its settings stay, and what it takes is measured beside the plan."""
        self._is_locked = is_locked
        self.fit_button.setVisible(not is_locked)
        if is_locked:
            self._again.start()
        else:
            self._again.stop()

    def found(self) -> Measured | None:
        """What was counted, if it is about what is wanted now."""
        return self._found if self._key else None

    def trouble(self) -> str:
        """Why the data could not be read by the model's tokenizer; empty when it could."""
        return self._trouble

    def _plan(self) -> None:
        if self._ws.readers.is_closed:
            return  # The window goes; its timers go with it, but not before.
        if self._wanted is None or not self._ws.selected_model:
            self.setVisible(False)
            return
        how, settings = self._wanted
        try:
            self._measure(how, settings)
            plan = (
                planning.plan(
                    self._ws,
                    how,
                    settings,
                    self._found,
                    base=self._base,
                    reward_run=self._reward_run,
                )
                if self._found is not None
                else None
            )
        except UserError:
            plan = None
        self.setVisible(plan is not None)
        if plan is not None:
            self._show(plan)

    def _measure(self, how: Algorithm, settings: TrainingSettings) -> None:
        """Start counting if what is to be counted differs from what was."""
        source = str(getattr(settings, "answers_from", getattr(settings, "loss", "")))
        amount = planning.amount(self._ws, how)
        info = planning.info_of(self._ws, self._base)
        key = (info.digest, how.name, source, amount)
        if key != self._key:
            self._key, self._found, self._trouble = key, None, ""
            self._asking.ask(partial(planning.measure, self._ws, how, settings, self._base))

    def _take(self, found: object) -> None:
        assert isinstance(found, Measured)
        self._found = found
        self._plan()
        self.measured.emit()

    def _fail(self, sentence: str) -> None:
        self._trouble = sentence
        self.measured.emit()

    def _show(self, plan: Plan) -> None:
        parts, there = plan.memory.parts, plan.room
        self.bar.show_parts(_amounts(self, parts), there.total_bytes)
        planned = size(plan.memory.peak_bytes)
        if self._is_locked:
            used = memory(self._ws)
            note = self.tr("{used} of {total}, measured; planned {planned}").format(
                used=size(used.used_bytes), total=size(used.total_bytes), planned=planned
            )
        else:
            note = self.tr("planned {planned}").format(planned=planned)
        self._note.setText(note)
        free = there.total_bytes - there.used_bytes
        self._free.setText(self.tr("{size} free").format(size=size(free)))
        self.remark.tell("" if plan.is_enough else self._over(plan))
        # Now, not at the next event: a longer figure would be painted cut first.
        layout = self.layout()
        if layout is not None:
            layout.activate()
        self.setAccessibleDescription(
            f"{note}; {self._free.text()}; {self.bar.accessibleDescription()}; {self.remark.text()}"
        )

    def _over(self, plan: Plan) -> str:
        """By how much it is too large, and the setting that would mend it."""
        over = size(plan.memory.peak_bytes - plan.room.total_bytes)
        sentence = self.tr("{over} more than there is.").format(over=over)
        return f"{sentence} {self._advice()}"

    def _fitted(self) -> Fitted | None:
        if self._wanted is None or self._found is None:
            return None
        return planning.fit(
            self._ws, *self._wanted, self._found, base=self._base, reward_run=self._reward_run
        )

    def _advice(self) -> str:
        fitted = self._fitted()
        if fitted is None or self._wanted is None:
            return ""
        if not fitted.fits:
            return fitted.advice
        changes = _changes(self._wanted[1], fitted.settings)
        words = self.tr("Micro-batch {n} would fit.")
        if changes.get("checkpoint_activations"):
            words = self.tr("Micro-batch {n} and Recompute activations would fit.")
        return words.format(n=fitted.settings.micro_batch_tokens)

    def _fit(self) -> None:
        fitted = self._fitted()
        if fitted is None or self._wanted is None:
            return
        if not fitted.fits:
            self.remark.tell(fitted.advice)
            return
        if changes := _changes(self._wanted[1], fitted.settings):
            self.fitted.emit(changes)
        else:
            self.remark.tell(self.tr("These settings fit already."), "ok")


def _changes(before: TrainingSettings, after: TrainingSettings) -> dict[str, object]:
    old, new = before.model_dump(), after.model_dump()
    return {name: value for name, value in new.items() if old[name] != value}


def _amounts(card: Card, parts: Mapping[str, int]) -> list[Amount]:
    return [
        Amount(card.tr("Program"), parts["runtime"], "control"),
        Amount(card.tr("Base"), parts["base"], "series-1"),
        Amount(card.tr("Adapters"), parts["adapters"], "series-2"),
        Amount(card.tr("Optimiser"), parts["optimiser"], "series-3"),
        Amount(card.tr("Activations"), parts["activations"], "series-4"),
        Amount(card.tr("KV cache"), parts["cache"], "reference", is_hatched=True),
    ]
