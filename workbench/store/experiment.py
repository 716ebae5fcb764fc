"""The experiment folder: it can be copied, zipped and opened elsewhere."""

from __future__ import annotations

import logging
from pathlib import Path

from workbench.data.folders import clean_leftovers, telling_disk_problems
from workbench.errors import UserError, WorkbenchError
from workbench.store.ai_answers import AiAnswerRepository
from workbench.store.artifacts import ArtifactRepository
from workbench.store.backup import back_up
from workbench.store.comparisons import ComparisonRepository
from workbench.store.completions import CompletionRepository
from workbench.store.database import Database
from workbench.store.drafts import DraftRepository
from workbench.store.exchange import ExchangeRepository
from workbench.store.judgement_list import JudgementList
from workbench.store.judgements import JudgementRepository
from workbench.store.label_rounds import LabelRoundRepository
from workbench.store.labels import LabelRepository
from workbench.store.lock import Lock
from workbench.store.prompts import PromptRepository
from workbench.store.rankings import RankingRepository
from workbench.store.remarks import RemarkRepository
from workbench.store.repeats import RepeatRepository
from workbench.store.runs import RunRepository
from workbench.store.settings import SettingsRepository
from workbench.store.undo import UndoJournal

log = logging.getLogger(__name__)

DATABASE_NAME = "experiment.db"
BACKUPS_NAME = "backups"
FOLDERS = ("adapters", "reward_models", "checkpoints", "exports", "logs")


class Experiment:
    """One experiment, open: its repositories, its undo journal and its lock."""

    def __init__(self, path: Path, database: Database, lock: Lock | None) -> None:
        self.path = path
        self.database = database
        self._lock = lock
        self._is_closed = False
        self.undo = UndoJournal(database)
        self.prompts = PromptRepository(database, self.undo)
        self.completions = CompletionRepository(database, self.undo)
        self.comparisons = ComparisonRepository(database, self.undo)
        self.judgements = JudgementRepository(database, self.undo)
        self.judgement_list = JudgementList(database)
        self.rankings = RankingRepository(database, self.undo, self.comparisons, self.judgements)
        self.repeats = RepeatRepository(database, self.undo)
        self.remarks = RemarkRepository(database, self.undo)
        self.labels = LabelRepository(database)
        self.drafts = DraftRepository(database)
        self.exchange = ExchangeRepository(database, self.undo)
        self.ai_answers = AiAnswerRepository(database)
        self.runs = RunRepository(database, self.undo)
        self.label_rounds = LabelRoundRepository(database)
        self.artifacts = ArtifactRepository(database)
        self.settings = SettingsRepository(database)

    @classmethod
    def create(cls, path: Path) -> Experiment:
        """Make an experiment in a new or empty folder and open it.

        Raises:
            UserError: There is something in the folder already.
            EnvironmentProblem: The folder cannot be written.
        """
        path = path.absolute()
        if (path / DATABASE_NAME).exists():
            raise UserError(
                f"{path} already holds an experiment.", "Open it, or choose another folder."
            )
        with telling_disk_problems(path):
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                raise UserError(
                    f"{path} is not an empty folder.", "Choose a new folder or an empty one."
                )
            path.mkdir(parents=True, exist_ok=True)
        return cls._open(path, is_read_only=False)

    @classmethod
    def open(cls, path: Path, *, is_read_only: bool = False) -> Experiment:
        """Open an experiment.

        Raises:
            UserError: There is no experiment in the folder.
            ExperimentHeld: Another program has it open; read-only works meanwhile.
            EnvironmentProblem: The database is damaged, none, or of a newer program; or the
                folder cannot be written.
        """
        path = path.absolute()
        if not (path / DATABASE_NAME).is_file():
            raise UserError(
                f"There is no experiment in {path}.",
                "Choose the folder that holds experiment.db, or make a new experiment.",
            )
        return cls._open(path, is_read_only=is_read_only)

    @classmethod
    def _open(cls, path: Path, *, is_read_only: bool) -> Experiment:
        lock = None if is_read_only else Lock.acquire(path)
        try:
            database = Database.open(path / DATABASE_NAME, is_read_only=is_read_only)
            if not is_read_only:
                with telling_disk_problems(path):
                    for name in FOLDERS:
                        (path / name).mkdir(exist_ok=True)
                    clean_leftovers(path)
        except BaseException:
            if lock:
                lock.release()
            raise
        return cls(path, database, lock)

    @property
    def is_read_only(self) -> bool:
        """Whether every change is refused."""
        return self.database.is_read_only

    def close(self) -> None:
        """Copy the database to `backups`, when it changed, and let the folder go.

        A copy that cannot be made (full disk) is told in the log and does not hold up the close.
        """
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if self.database.n_changes:
                back_up(self.database, self.path / BACKUPS_NAME)
        except WorkbenchError as error:
            log.warning("no backup was made: %s", error)
        finally:
            self.database.close()
            if self._lock:
                self._lock.release()

    def __enter__(self) -> Experiment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
