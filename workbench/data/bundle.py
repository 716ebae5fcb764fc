"""A training job in one folder: what a worker or another program needs to do it elsewhere.

`config.toml` holds the settings, `job.json` the algorithm and where everything comes from,
`data/training.json` what the algorithm learns from, `reward_model/` and `start_adapter/` what it
starts from, each only when there is one. What stands beside them is for other programs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.config import algorithms, toml
from workbench.config.algorithms import Algorithm
from workbench.config.training import TrainingSettings
from workbench.data.folders import verify
from workbench.data.training_data import TrainingData
from workbench.errors import UserError

FORMAT = 1
CONFIG = "config.toml"
JOB = "job.json"
DATA = "data/training.json"
REWARD_MODEL = "reward_model"
START_ADAPTER = "start_adapter"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A training job as `read` found it.

    Attributes:
        how: The algorithm.
        settings: Its hyperparameters.
        data: What it learns from.
        model: Facts of the base: `name`, `hub_id`, `digest`.
        reward_model: Folder of the reward model, when the algorithm needs one.
        start_adapter: Folder of the adapter to start from; None starts on the base.
    """

    how: Algorithm
    settings: TrainingSettings
    data: TrainingData
    model: Mapping[str, Any]
    reward_model: Path | None
    start_adapter: Path | None


def read(folder: Path) -> Bundle:
    """Read a bundle and check every file against its digest.

    Raises:
        UserError: It is no bundle, is of a newer program, or has changed since it was written.
    """
    job = _read_job(folder)
    if problems := verify(folder):
        raise UserError(f"{folder} is damaged: {problems[0]}", "Export or copy it again.")
    how = algorithms.find(str(job["algorithm"]))
    return Bundle(
        how=how,
        settings=toml.load(how.settings, folder / CONFIG),
        data=TrainingData.read(folder / DATA),
        model=job["model"],
        reward_model=_there(folder / REWARD_MODEL),
        start_adapter=_there(folder / START_ADAPTER),
    )


def _read_job(folder: Path) -> dict[str, Any]:
    try:
        job = json.loads((folder / JOB).read_bytes())
    except (OSError, ValueError):
        raise UserError(
            f"{folder} holds no training job.",
            "Make one with rlhf-workbench export bundle.",
        ) from None
    if not isinstance(job, dict) or job.get("format") != FORMAT:
        raise UserError(
            f"{folder} was written by a newer version of this program.", "Install that version."
        )
    return job


def _there(folder: Path) -> Path | None:
    return folder if folder.is_dir() else None
