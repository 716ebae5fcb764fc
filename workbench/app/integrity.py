"""Whether an experiment folder is whole, without changing it."""

from __future__ import annotations

from pathlib import Path

from workbench.store.check import CheckReport
from workbench.store.check import check as check_folder


def check(path: Path) -> CheckReport:
    """Database, references, search index, written folders against their manifests, leftovers.

    Raises:
        UserError: There is no experiment.
        EnvironmentProblem: The file is no database, or of a newer program.
    """
    return check_folder(path)
