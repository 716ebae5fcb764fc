"""Where files lie on this machine: shipped resources, and the user's own cache."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

APP_NAME = "rlhf-workbench"


def resource_dir() -> Path:
    """Folder of shipped resources: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "_resources"
    return installed if installed.is_dir() else package.parent / "resources"


def home_dir() -> Path:
    """Folder of converted models and settings; RLHF_WORKBENCH_HOME overrides the platform's."""
    override = os.environ.get("RLHF_WORKBENCH_HOME")
    return Path(override) if override else Path(platformdirs.user_data_dir(APP_NAME, False))


def models_dir() -> Path:
    """Folder of converted and imported models."""
    return home_dir() / "models"
