"""Models: what is here, choosing one, loading it, getting another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from workbench.app.settings import UserSettings
from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.errors import UserError
from workbench.jobs.runner import Job, JobRunner, Working
from workbench.models import catalog

if TYPE_CHECKING:
    from workbench.models.catalog import Fit, ModelInfo


def models(_ws: Workspace | None = None) -> list[ModelInfo]:
    """Every model on this machine, those that cannot be loaded with the reason."""
    return catalog.list_models(UserSettings.load().model_folders)


def find(name_or_path: str) -> ModelInfo:
    """A model by its name or path.

    Raises:
        UserError: There is none; near names are told.
    """
    return catalog.find(name_or_path, UserSettings.load().model_folders)


def fit(info: ModelInfo) -> Fit:
    """Whether a model fits into the free memory."""
    return catalog.fit(info)


def select_model(ws: Workspace, name_or_path: str) -> ModelInfo:
    """Choose the model of this experiment; it is loaded when first needed.

    Raises:
        UserError: There is no such model, or it cannot be loaded.
    """
    info = find(name_or_path)
    if info.problems:
        raise UserError(f"{info.name} cannot be used: {info.problems[0]}")
    if info.is_conversion_needed:
        raise UserError(
            f"{info.name} is a GGUF file that is not converted yet.",
            "Import it first; that takes half a minute, once.",
        )
    named = next((known.path for known in models() if known.name == info.name), None)
    ws.selected_model = info.name if named == info.path else str(info.path)
    return info


def load_model(ws: Workspace) -> Job:
    """Load the chosen model into memory now."""
    info = ws.model_info()

    def work(cancel: CancelToken) -> Working:
        model = yield from ws.model(cancel)
        return {"name": model.info.name, "device": str(model.device)}

    return ws.submit(f"Load {info.name}", "load", work)


def import_model(ws: Workspace | None, path: Path, runner: JobRunner | None = None) -> Job:
    """Take a model folder into the list, or convert a GGUF file; then choose it.

    Args:
        ws: The experiment whose model it becomes; None to take it in without an experiment.
        path: The folder, or the GGUF file.
        runner: Who does it when there is no experiment.

    Raises:
        UserError: It is neither, or it cannot be loaded.
    """
    info = catalog.describe(path)
    if info.problems:
        raise UserError(f"{path} cannot be used: {info.problems[0]}")

    def work(cancel: CancelToken) -> Working:
        folder = path.resolve()
        if info.source == "gguf":
            from workbench.models import gguf

            folder = yield from gguf.convert(path, cancel)
        else:
            UserSettings.load().with_model_folder(folder).save()
        if ws is not None:
            ws.selected_model = str(folder)
        return {"path": str(folder)}

    title = f"Import {info.name}"
    if ws is not None:
        return ws.submit(title, "import", work)
    return (runner or JobRunner()).submit(title, "import", work)


def import_gguf(ws: Workspace, path: Path) -> Job:
    """Convert a GGUF file once into a model folder of this machine, and choose it."""
    return import_model(ws, path)


def fetch_starter(ws: Workspace) -> Job:
    """Get the starter model, convert it and choose it."""
    from workbench.models import starter

    def work(cancel: CancelToken) -> Working:
        folder = yield from starter.fetch(cancel)
        ws.selected_model = catalog.describe(folder).name
        return {"path": str(folder)}

    return ws.submit("Get the starter model", "import", work)


def fetch_hub(ws: Workspace, repo_id: str) -> Job:
    """Download a model from the Hugging Face Hub (safetensors only) and choose it.

    Raises:
        UserError: The name is not of the form owner/model.
    """
    from workbench.models import hub

    hub.check_name(repo_id)

    def work(cancel: CancelToken) -> Working:
        folder = yield from hub.fetch(repo_id, cancel)
        ws.selected_model = repo_id
        return {"path": str(folder)}

    return ws.submit(f"Download {repo_id}", "import", work)
