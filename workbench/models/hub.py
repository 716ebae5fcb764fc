"""Download a model from the Hugging Face Hub, safetensors only. The only network call here."""

from __future__ import annotations

import logging
import re
from collections.abc import Generator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from workbench.cancel import CancelToken
from workbench.errors import Cancelled, EnvironmentProblem, UserError, WorkbenchError
from workbench.events import Progress

log = logging.getLogger(__name__)

_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")
_WANTED = (
    "config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json",
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt",
    "spiece.model", "*.jinja", "chat_template.json", "README.md", "LICENSE*",
)  # fmt: skip


def check_name(repo_id: str) -> None:
    """Refuse what cannot be the name of a model on the Hub.

    Raises:
        UserError: It is not of the form owner/model.
    """
    if not _NAME.match(repo_id):
        raise UserError(
            f"{repo_id or 'An empty text'} is no name of a model on the Hub.",
            "Names look like owner/model, for example HuggingFaceTB/SmolLM2-135M-Instruct.",
        )


def fetch(repo_id: str, cancel: CancelToken) -> Generator[Progress, None, Path]:
    """Download a model into the Hub's cache; files that are there already are kept.

    Returns:
        The snapshot folder in the cache.

    Raises:
        UserError: There is no such model, it is closed, or it has no safetensors.
        EnvironmentProblem: The Hub cannot be reached, or the disk is full.
        Cancelled: The token was cancelled; the next call goes on from there.
    """
    import httpx2
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    yield Progress(0, 0, f"Asking the Hub for {repo_id}")
    try:
        files, revision = _files(HfApi().model_info(repo_id, files_metadata=True, timeout=20))
        total, done = sum(files.values()), 0
        folder = None
        for name, size in files.items():
            yield Progress(done >> 20, total >> 20, f"Downloading {name} (MB)")
            cancel.raise_if_cancelled()
            path = hf_hub_download(repo_id, name, revision=revision, tqdm_class=_bar(cancel))
            folder, done = Path(path).parent, done + size
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        if cancel.is_cancelled:
            raise Cancelled from error
        raise _sentence(repo_id, error) from error
    assert folder is not None
    return folder


def _files(info: Any) -> tuple[dict[str, int], str]:
    """Sizes of the files to fetch, small ones first, and the revision."""
    sizes = {
        file.rfilename: int(file.size or 0)
        for file in info.siblings
        if any(fnmatch(file.rfilename, pattern) for pattern in _WANTED)
    }
    if not any(name.endswith(".safetensors") for name in sizes):
        raise UserError(
            f"{info.id} has no safetensors on the Hub, and only safetensors is loaded.",
            "Choose another model.",
        )
    return dict(sorted(sizes.items(), key=lambda item: item[1])), str(info.sha)


def _bar(cancel: CancelToken) -> Any:
    """A progress bar that shows nothing and notices a cancel at every block."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs["disable"] = True
            super().__init__(*args, **kwargs)

        def update(self, n: float | None = 1) -> bool | None:
            cancel.raise_if_cancelled()
            shown: bool | None = super().update(n)
            return shown

    return Bar


def _sentence(repo_id: str, error: Exception) -> WorkbenchError:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return UserError(
            f"{repo_id} is given only to people who accepted its terms.",
            "Accept them on the Hub and log in with `hf auth login`, or choose another model.",
        )
    if isinstance(error, RepositoryNotFoundError):
        return UserError(f"There is no model {repo_id} on the Hub.", "Check the name.")
    log.warning("the Hub failed: %s", error)
    return EnvironmentProblem(
        f"{repo_id} could not be downloaded: the Hub did not answer as it should.",
        "Check the network and free disk space, then try again; what is here already is kept.",
    )
