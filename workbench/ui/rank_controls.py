"""The controls of the rank panel: its head, the judgement buttons, the legend, the progress."""

from __future__ import annotations

from functools import partial
from typing import Literal, get_args

from PySide6.QtCore import QCoreApplication, Qt, QTimer, Signal, SignalInstance
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import (
    QBoxLayout,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QSizePolicy,
    QTabBar,
    QVBoxLayout,
    QWidget,
)

from workbench.app.labelling import Queue, RankProgress
from workbench.data.records import Prompt
from workbench.ui.actions import Actions
from workbench.ui.plural import counted
from workbench.ui.theme import Theme, repolish
from workbench.ui.widgets import Badge, ElidedLabel, Meter, button, label
from workbench.ui.widgets.basics import Button

FLASH_MS = 150
_IN_A_ROW = ("first", "first_slightly", "tie", "second_slightly", "second", "both_bad", "skip")
_IN_TWO = ("first", "second", "first_slightly", "second_slightly", "tie", "both_bad")


class RankHead(QFrame):
    """Number and group of the prompt, and that the test is blind. It wears the focus ring."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._has_keys = False
        self._number = ElidedLabel("", "muted")
        self._blind = Badge("neutral", "")
        self._blind.setToolTip(
            self.tr(
                "Which answer stands first is drawn by lot, and which model wrote it is not "
                "shown, so that only the text decides."
            )
        )
        layout = QHBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(8)
        layout.addWidget(self._number, 1)
        layout.addWidget(self._blind)
        self.set_revealed(False)
        theme.changed.connect(self.update)

    def show_prompt(self, prompt: Prompt) -> None:
        """Name the prompt."""
        name = self.tr("Prompt {n}").format(n=prompt.id)
        self._number.setText(f"{name}  {prompt.group}" if prompt.group else name)

    def set_revealed(self, is_revealed: bool) -> None:
        """Say whether the test is blind."""
        hidden = self.tr("order shuffled, models hidden")
        self._blind.set_text(self.tr("models shown, recorded") if is_revealed else hidden)

    @property
    def has_keys(self) -> bool:
        """Whether the ranking keys reach the panel now; the ring says so."""
        return self._has_keys

    @has_keys.setter
    def has_keys(self, has_keys: bool) -> None:
        self._has_keys = has_keys
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102
        super().paintEvent(event)
        if not self._has_keys:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(self._theme.color("focus"), 2))
        painter.drawRoundedRect(self.rect().adjusted(1, 1, -1, -1), 4, 4)
        painter.end()


class RankHeader(QWidget):
    """Title, queues, undo and the way back: only while the panel fills the window."""

    restore_wanted = Signal()
    queue_chosen = Signal(str)

    def __init__(self, actions: Actions) -> None:
        super().__init__()
        title = label(self.tr("Rank"), "page-title")
        self.undo = button(self.tr("Undo"), "quiet", icon="undo")
        self.restore = button(self.tr("Restore panel"), "outlined")
        actions.show_key(self.undo, "edit.undo")
        actions.show_key(self.restore, "rank.maximise")
        for made in (self.undo, self.restore):
            made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.restore.clicked.connect(self.restore_wanted)
        self.queues = QTabBar()
        self.queues.setExpanding(False)
        self.queues.setDrawBase(False)
        self.queues.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.queues.setAccessibleName(self.tr("Queues"))
        for queue in get_args(Queue):
            self.queues.setTabData(self.queues.addTab(""), queue)
        self.queues.tabBarClicked.connect(
            lambda i: self.queue_chosen.emit(str(self.queues.tabData(i)))
        )
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 4)
        layout.addWidget(title)
        layout.addSpacing(16)
        layout.addWidget(self.queues)
        layout.addStretch(1)
        layout.addWidget(self.undo)
        layout.addWidget(self.restore)
        self.hide()

    def show_counts(self, progress: RankProgress, n_drafts: int) -> None:
        """Say how many pairs each queue has."""
        counts = {
            "pending": self.tr("Pending {n}").format(n=progress.n_left),
            "drafts": self.tr("Drafts {n}").format(n=n_drafts),
            "ranked": self.tr("Ranked {n}").format(n=progress.n_judged),
            "skipped": self.tr("Skipped {n}").format(n=progress.n_skipped),
        }
        for i, queue in enumerate(get_args(Queue)):
            self.queues.setTabText(i, counts[queue])

    def show_queue(self, queue: Queue) -> None:
        """Mark the queue that is gone through."""
        self.queues.setCurrentIndex(get_args(Queue).index(queue))


class JudgeButtons(QWidget):
    """The verdicts as equal buttons in a fixed grid; skip, undo and redo quietly under them."""

    chosen = Signal(str)
    undo_wanted = Signal()
    redo_wanted = Signal()

    def __init__(self, actions: Actions) -> None:
        super().__init__()
        texts = {
            "first": (self.tr("A better"), self.tr("Answer A is clearly better")),
            "second": (self.tr("B better"), self.tr("Answer B is clearly better")),
            "first_slightly": (self.tr("A slightly"), self.tr("Answer A is slightly better")),
            "second_slightly": (self.tr("B slightly"), self.tr("Answer B is slightly better")),
            "tie": (self.tr("Tie"), self.tr("Both answers are equally good")),
            "both_bad": (self.tr("Both bad"), self.tr("Neither answer is acceptable")),
            "skip": (self.tr("Skip"), self.tr("Say nothing about this pair")),
        }
        self.by_verdict: dict[str, Button] = {}
        self._flashes: dict[str, QTimer] = {}
        self._tips: dict[str, str] = {}
        for choice, (text, tip) in texts.items():
            made = button(text, "quiet" if choice == "skip" else "outlined")
            actions.show_key(made, f"rank.{choice}")
            self._tips[choice] = tip
            made.setToolTip(tip)
            # A click leaves the focus with the panel, so that the keys go on working.
            made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            made.clicked.connect(partial(self.chosen.emit, choice))
            self.by_verdict[choice] = made
            self._flashes[choice] = self._flash_timer(made)
        self._actions = actions
        self.undo = self._quiet(self.tr("Undo"), self.undo_wanted)
        actions.show_key(self.undo, "edit.undo")
        # Its key stands in the tooltip: three keycaps are wider than the dock.
        self.redo = self._quiet(self.tr("Redo"), self.redo_wanted)
        self._grid = QGridLayout()
        self._grid.setSpacing(8)
        self._quiet_row = QHBoxLayout()
        self._quiet_row.setSpacing(4)
        for made in (self.undo, self.redo):
            self._quiet_row.addWidget(made)
        self._quiet_row.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addLayout(self._grid)
        layout.addLayout(self._quiet_row)
        self.set_wide(False)

    def _quiet(self, text: str, signal: SignalInstance) -> Button:
        made = button(text, "quiet")
        made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        made.clicked.connect(signal)
        return made

    def _flash_timer(self, made: Button) -> QTimer:
        timer = QTimer(made)
        timer.setSingleShot(True)
        timer.setInterval(FLASH_MS)
        timer.timeout.connect(partial(_set_flash, made, False))
        return timer

    def set_wide(self, is_wide: bool) -> None:
        """One row from A to B in a wide panel; two by three in the dock, with skip below."""
        n_columns = len(_IN_A_ROW) if is_wide else 2
        skip = self.by_verdict["skip"]
        skip.set_kind("outlined" if is_wide else "quiet")
        if not is_wide:
            self._quiet_row.insertWidget(0, skip)
        for i, choice in enumerate(_IN_A_ROW if is_wide else _IN_TWO):
            made = self.by_verdict[choice]
            made.setMinimumHeight(max(36 if is_wide else 32, made.fontMetrics().height() + 10))
            self._grid.addWidget(made, i // n_columns, i % n_columns)
        for column in range(len(_IN_A_ROW)):
            self._grid.setColumnStretch(column, 1 if column < n_columns else 0)

    def set_steps_visible(self, is_visible: bool) -> None:
        """Whether undo and redo stand here; in reading mode they stand in the head."""
        self.undo.setVisible(is_visible)
        self.redo.setVisible(is_visible)

    def flash(self, choice: str) -> None:
        """Show for a moment which verdict was given."""
        _set_flash(self.by_verdict[choice], True)
        self._flashes[choice].start()

    def set_enabled(self, why_not: str) -> None:
        """Allow judging, or say in the tooltips why it is not possible."""
        for choice, made in self.by_verdict.items():
            made.setEnabled(not why_not)
            made.setToolTip(why_not or self._tips[choice])

    def name_undo(self, undo: str | None, redo: str | None) -> None:
        """Say in the tooltips what would be undone and redone; None: nothing."""
        for made, name, what, command_id in (
            (self.undo, undo, self.tr("Undo: {name}"), "edit.undo"),
            (self.redo, redo, self.tr("Redo: {name}"), "edit.redo"),
        ):
            made.setEnabled(name is not None)
            nothing = self.tr("Nothing has been done or taken back yet")
            key = self._actions.key(command_id)
            said = nothing if name is None else what.format(name=name)
            made.setToolTip(f"{said} ({key})" if key and name is not None else said)


class ToolButtons(QWidget):
    """What else can be done with the answers, quietly, with the keys in sight."""

    wanted = Signal(str)

    def __init__(self, actions: Actions) -> None:
        super().__init__()
        texts = {
            "edit": (self.tr("Edit"), self.tr("Change the active answer (← →)")),
            "write": (self.tr("Write"), self.tr("Write a better answer by hand")),
            "tag": (self.tr("Tags"), self.tr("Tags and a comment on the active answer")),
            "all": (self.tr("All"), self.tr("Rank all answers of this prompt in order")),
        }
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        self.by_name: dict[str, Button] = {}
        for name, (text, tip) in texts.items():
            made = button(text, "quiet")
            actions.show_key(made, f"rank.{name}")
            made.setToolTip(tip)
            made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            made.clicked.connect(partial(self.wanted.emit, name))
            row.addWidget(made)
            self.by_name[name] = made
        row.addStretch(1)


def _set_flash(made: Button, is_on: bool) -> None:
    height = made.minimumHeight()
    made.setProperty("flash", is_on)
    repolish(made)
    # The style sheet has a height of its own, and all choices must go on looking the same.
    made.setMinimumHeight(height)


class Legend(QWidget):
    """What the marks in the answers mean, or why there are none."""

    def __init__(self) -> None:
        super().__init__()
        self._marks = QWidget()
        marks = QHBoxLayout(self._marks)
        marks.setContentsMargins(0, 0, 0, 0)
        marks.setSpacing(4)
        for token, name, style in (
            ("answer-a", self.tr("only in A"), self.tr("underlined")),
            ("answer-b", self.tr("only in B"), self.tr("dashed")),
        ):
            # Painted in its token's colour: a label's palette does not outlive a new style sheet.
            words = ElidedLabel(name, token)
            words.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
            marks.addWidget(words)
            marks.addWidget(label(style, "muted"))
            if token == "answer-a":
                marks.addStretch(1)
        self.note = label("", "text-2", wrap=True)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._marks, 1)
        layout.addWidget(self.note, 1)
        self.show_state("marks")

    def show_state(self, state: Literal["marks", "same", "too long"]) -> None:
        """Explain the marks, or say that the answers are the same or too long to compare."""
        notes = {
            "marks": "",
            "same": self.tr("Both answers are the same text: a tie says so."),
            "too long": self.tr("The answers are too long to mark where they differ."),
        }
        self.note.setText(notes[state])
        self.note.setVisible(state != "marks")
        self._marks.setVisible(state == "marks")


class ProgressLine(QWidget):
    """How far the ranking is, and about how long the rest takes."""

    def __init__(self) -> None:
        super().__init__()
        self._meter = Meter()
        self._done, self._left = label("", "muted"), label("", "muted")
        texts = QHBoxLayout()
        texts.setSpacing(12)
        texts.addWidget(self._done)
        texts.addStretch(1)
        texts.addWidget(self._left)
        self._layout = QBoxLayout(QBoxLayout.Direction.TopToBottom, self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(4)
        self._layout.addWidget(self._meter, 1)
        self._layout.addLayout(texts)

    def set_wide(self, is_wide: bool) -> None:
        """Meter and words in one line, or the words under the meter."""
        sideways, downwards = QBoxLayout.Direction.LeftToRight, QBoxLayout.Direction.TopToBottom
        self._layout.setDirection(sideways if is_wide else downwards)
        self._layout.setSpacing(12 if is_wide else 4)

    def done_text(self) -> str:
        """The words under the meter at the left."""
        return self._done.text()

    def left_text(self) -> str:
        """The words under the meter at the right."""
        return self._left.text()

    def show_progress(self, progress: RankProgress) -> None:
        """Show other figures."""
        self._meter.set_value(progress.n_judged, max(1, progress.n_total))
        done = self.tr("{done} of {total} ranked").format(
            done=progress.n_judged, total=progress.n_total
        )
        self._done.setText(done)
        left = self._left_text(progress)
        self._left.setText(left)
        self._meter.setAccessibleName(self.tr("Ranking progress"))
        self._meter.setAccessibleDescription(f"{done}, {left}")

    def _left_text(self, progress: RankProgress) -> str:
        if progress.n_left == 0:
            if progress.n_skipped:
                return counted(progress.n_skipped, self.tr("{n} skipped"), self.tr("{n} skipped"))
            return self.tr("none left")
        if progress.seconds_left is None:
            return self.tr("{n} left").format(n=progress.n_left)
        return self.tr("{n} left, {time}").format(
            n=progress.n_left, time=about(progress.seconds_left)
        )


def about(seconds: float) -> str:
    """A rough time as a person says it: "about 38 min"."""
    tr = QCoreApplication.translate
    if seconds < 50:
        return tr("times", "under 1 min")
    minutes = round(seconds / 60)
    if minutes < 100:
        return tr("times", "about {n} min").format(n=minutes)
    return tr("times", "about {n} h").format(n=f"{seconds / 3600:.1f}".removesuffix(".0"))
