"""Every command once: menus, palette, tooltips and the list of keys read this."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from PySide6.QtCore import QCoreApplication, QObject, Qt, Signal
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMenuBar, QWidget

from workbench.ui.keymap import Keymap

MENUS = ("File", "Edit", "Model", "Label", "Train", "Evaluate", "View", "Help")


@dataclass(frozen=True, slots=True)
class Command:
    """What a user can do by menu, key or palette.

    Attributes:
        id: Page or subject, dot, verb.
        text: Words in menu and palette.
        menu: Which menu; a text that starts with "-" puts a line before it.
        shortcut: Key sequence, empty for none; the user may have chosen another one, which
            `Actions.key` knows.
        tip: One sentence.
        context: "window", or "rank": keys that work only while the rank panel has the focus and
            are bound there.
    """

    id: str
    text: str
    menu: str
    shortcut: str = ""
    tip: str = ""
    context: str = "window"

    @property
    def page(self) -> str:
        """The page that binds the command; it is built when the command is first given."""
        stage, _, verb = self.id.partition(".")
        is_own = stage in _PAGE_KEYS and verb not in _SHARED_VERBS
        return stage if is_own else ""


PAGES: tuple[tuple[str, str], ...] = (
    ("overview", "Overview"),
    ("models", "Models"),
    ("prompts", "Prompts"),
    ("answers", "Answers"),
    ("preferences", "Preferences"),
    ("reward", "Reward model"),
    ("train", "Train"),
    ("evaluate", "Evaluate"),
    ("runs", "Runs"),
    ("quality", "Label quality"),
    ("design", "Reward design"),
)

_PAGE_KEYS = {key for key, _ in PAGES}
# Several pages have settings: each binds these for itself.
_SHARED_VERBS = ("settings", "next_problem")

# What a window on an experiment that another program holds must not offer.
_WRITING = {
    "prompts.import",
    "preferences.import",
    "preferences.judge",
    "preferences.simulate",
    "models.load",
    "models.import",
    "edit.undo",
    "edit.redo",
    "answers.generate",
    "rank.annotator",
    "rank.order",
    "design.save",
    "train.start",
    "evaluate.start",
    "runs.export",
    *(f"rank.{choice}" for choice in ("first", "first_slightly", "second_slightly", "second")),
    *(f"rank.{choice}" for choice in ("tie", "both_bad", "skip", "rate", "edit", "write")),
    *(f"rank.{choice}" for choice in ("comment", "tag", "all")),
}


def _page_key(number: int) -> str:
    """Ctrl with a digit for the first ten pages, of which 0 is the tenth."""
    return f"Ctrl+{number % 10}" if number <= 10 else ""


COMMANDS: tuple[Command, ...] = (
    Command("file.new", "New experiment", "File", "Ctrl+N", "Make a new experiment folder."),
    Command("file.open", "Open experiment", "File", "Ctrl+O", "Open an experiment folder."),
    Command(
        "file.open_folder", "Show experiment folder", "File", "", "Open it in the file manager."
    ),
    Command("prompts.import", "Import prompts", "-File", "", "From JSONL, CSV or text."),
    Command("preferences.import", "Import preferences", "File", "", "From JSONL or CSV."),
    Command("preferences.export", "Export preferences", "File", "Ctrl+E", "As JSONL and CSV."),
    Command("runs.export", "Export adapter", "File", "", "As a PEFT folder."),
    Command("file.quit", "Quit", "-File", "Ctrl+Q", "Close the window; runs are stopped."),
    Command("edit.undo", "Undo", "Edit", "Ctrl+Z", "Take back the last change."),
    Command("edit.redo", "Redo", "Edit", "Ctrl+Y", "Do it again."),
    Command("models.load", "Load model", "Model", "Ctrl+Shift+L", "Load the chosen model."),
    Command("models.import", "Import GGUF file", "Model", "", "Converted once."),
    Command("rank.focus", "Rank answers", "Label", "F6", "To the rank panel and back."),
    Command("rank.maximise", "Maximise rank panel", "Label", "F11", "Read in the whole window."),
    Command("rank.first", "A better", "-Label", "1", "", "rank"),
    Command("rank.first_slightly", "A slightly better", "Label", "A", "", "rank"),
    Command("rank.second_slightly", "B slightly better", "Label", "B", "", "rank"),
    Command("rank.second", "B better", "Label", "2", "", "rank"),
    Command("rank.tie", "Tie", "Label", "=", "", "rank"),
    Command("rank.both_bad", "Both bad", "Label", "0", "", "rank"),
    Command("rank.skip", "Skip", "Label", "S", "", "rank"),
    Command("rank.rate", "Rate answers", "-Label", "R", "1 to 5 stars.", "rank"),
    Command("rank.edit", "Edit answer", "Label", "E", "The edit is preferred.", "rank"),
    Command("rank.write", "Write a better answer", "Label", "W", "By hand.", "rank"),
    Command("rank.comment", "Comment", "Label", "C", "On the chosen answer.", "rank"),
    Command("rank.tag", "Tags", "Label", "T", "On the chosen answer.", "rank"),
    Command("rank.all", "Rank all answers", "Label", "G", "Three to eight in order.", "rank"),
    Command("rank.marks", "Mark differences", "-Label", "D", "Show or hide.", "rank"),
    Command("rank.markdown", "Markdown", "Label", "V", "Formatted or plain.", "rank"),
    Command("rank.reveal", "Show models", "Label", "M", "It is recorded.", "rank"),
    Command("rank.annotator", "Annotator", "-Label", "", "Who judges from now on."),
    Command("rank.order", "Order of the queue", "Label", "", "Which pair comes next, and why."),
    Command("answers.generate", "Generate answers", "-Label", "Ctrl+Return", "For all prompts."),
    Command("preferences.judge", "AI judge", "Label", "", "Let a model judge pairs."),
    Command(
        "preferences.suggest", "Ask the AI judge", "Label", "", "What it makes of the pair shown."
    ),
    Command("preferences.simulate", "Simulate annotator", "Label", "", "Judge by a stated rule."),
    Command("design.save", "Save reward design", "Train", "Ctrl+S", "As a new version."),
    Command("train.start", "Start run", "Train", "Ctrl+R", "With the settings of the page."),
    Command("job.pause", "Pause or go on", "Train", "Ctrl+.", "Hold the running job."),
    Command("job.stop", "Stop and save", "Train", "Ctrl+Shift+S", "End at the next step."),
    Command("train.settings", "Settings", "-Train", "F4", "Show or hide the settings."),
    Command("train.next_problem", "Next problem", "Train", "F8", "To the next wrong setting."),
    Command("evaluate.start", "Compare before and after", "Evaluate", "", "On held-out prompts."),
    Command("runs.compare", "Compare runs", "-Evaluate", "Ctrl+D", "Two to six chosen runs."),
    Command("runs.lineage", "Lineage", "Evaluate", "", "What was made from what."),
    *(
        Command(f"page.{key}", text, "View", _page_key(n), f"Show the page {text}.")
        for n, (key, text) in enumerate(PAGES, start=1)
    ),
    Command("view.theme_system", "System theme", "-View", "", "Light or dark as the system."),
    Command("view.theme_light", "Light theme", "View"),
    Command("view.theme_dark", "Dark theme", "View"),
    Command("view.log", "Show log", "-View", "Ctrl+L", "What jobs said."),
    Command("view.palette", "Command palette", "View", "Ctrl+K", "Find any command by its name."),
    Command("help.shortcuts", "Keyboard shortcuts", "Help", "F1", "All keys on one page."),
    Command("help.report", "Copy report", "Help", "", "Versions and the last log lines."),
    Command("help.about", "About RLHF Workbench", "Help"),
)


def translate(text: str) -> str:
    """A command's words in the user's language."""
    return QCoreApplication.translate("Commands", text)


class ShowsKey(Protocol):
    """A widget with a keycap."""

    def set_key(self, key: str) -> None:
        """Show another key; empty for none."""


class Actions(QObject):
    """The commands as QActions of one window; a read-only one offers none that writes."""

    keys_changed = Signal()
    """Some command has another key than before."""

    def __init__(
        self,
        window: QWidget,
        *,
        is_read_only: bool = False,
        own_keys: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(window)
        self._forbidden = _WRITING if is_read_only else set()
        self._keymap = Keymap(COMMANDS, own_keys or {})
        self._actions: dict[str, QAction] = {}
        for command in COMMANDS:
            action = QAction(window)
            action.setObjectName(command.id)
            action.setMenuRole(QAction.MenuRole.NoRole)
            action.setShortcutContext(Qt.ShortcutContext.WindowShortcut)
            action.setEnabled(False)
            window.addAction(action)
            self._actions[command.id] = action
        self._show_keys()

    def _show_keys(self) -> None:
        for command, action in self.listed():
            key, text = self.key(command.id), translate(command.text)
            tip = translate(command.tip) if command.tip else text
            if command.context == "window":
                action.setShortcut(QKeySequence(key))
                tip = f"{tip} ({key})" if key else tip
            elif key:
                # Shown in the menu, bound by the rank panel: a digit typed elsewhere is a digit.
                text = f"{text}\t{key}"
            if command.id in self._forbidden:
                tip = self.tr("Not while the experiment is open read-only.")
            action.setText(text)
            action.setToolTip(tip)

    def key(self, command_id: str) -> str:
        """The key of a command now, empty for none."""
        return self._keymap.key(command_id)

    def own_keys(self) -> dict[str, str]:
        """The keys that the user chose, by command."""
        return self._keymap.own()

    def set_key(self, command_id: str, key: str) -> None:
        """Give a command another key, empty for none; it works at once.

        Raises:
            UserError: Another command has it, or it is not of the kind that the command needs.
        """
        self._keymap.set(command_id, key)
        self._tell_keys()

    def reset_keys(self) -> None:
        """Give every command its default key again."""
        self._keymap.reset_all()
        self._tell_keys()

    def _tell_keys(self) -> None:
        self._show_keys()
        self.keys_changed.emit()

    def show_key(self, made: ShowsKey, command_id: str) -> None:
        """Let a button's keycap follow the key of a command; it must live as long as this."""
        made.set_key(self.key(command_id))
        self.keys_changed.connect(lambda: made.set_key(self.key(command_id)))

    def __getitem__(self, command_id: str) -> QAction:
        """The action of a command."""
        return self._actions[command_id]

    def on(self, command_id: str, do: Callable[[], object]) -> None:
        """Say what a command does; until then it is disabled."""
        action = self._actions[command_id]
        action.triggered.connect(lambda _checked=False: do())
        action.setEnabled(command_id not in self._forbidden)

    def fill(self, bar: QMenuBar) -> None:
        """Build the menus."""
        for name in MENUS:
            menu = bar.addMenu(translate(name))
            for command in COMMANDS:
                if command.menu.lstrip("-") != name:
                    continue
                if command.menu.startswith("-"):
                    menu.addSeparator()
                menu.addAction(self._actions[command.id])

    def listed(self) -> Iterator[tuple[Command, QAction]]:
        """Commands with their actions, in order of declaration."""
        for command in COMMANDS:
            yield command, self._actions[command.id]
