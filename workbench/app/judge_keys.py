"""Keys of endpoints: in the keyring of the system, or in an environment variable. Nowhere else."""

from __future__ import annotations

import logging
import os
from urllib.parse import urlsplit

from workbench.config.judge import KEY_VARIABLE
from workbench.errors import EnvironmentProblem

log = logging.getLogger(__name__)

_SERVICE = "rlhf-workbench judge"


def find(url: str) -> str:
    """The key for an endpoint; empty when there is none. May wait for the keyring to be unlocked.

    The keyring's first, then that of the environment.
    """
    import keyring
    from keyring.errors import KeyringError

    try:
        kept = keyring.get_password(_SERVICE, _origin(url))
    except (KeyringError, RuntimeError, OSError) as error:
        # By its kind only: what a backend says is not ours to vouch for.
        log.info("no key from the keyring: %s", type(error).__name__)
        kept = None
    return kept or os.environ.get(KEY_VARIABLE, "").strip()


def keep(url: str, key: str) -> None:
    """Keep a key for an endpoint; an empty one is forgotten.

    Raises:
        EnvironmentProblem: This system has no keyring, or it is locked.
    """
    import keyring
    from keyring.errors import KeyringError, PasswordDeleteError

    try:
        if key:
            keyring.set_password(_SERVICE, _origin(url), key)
        else:
            keyring.delete_password(_SERVICE, _origin(url))
    except PasswordDeleteError:
        return  # there was none
    except (KeyringError, RuntimeError, OSError):
        raise EnvironmentProblem(
            "The key could not be kept: this system has no keyring, or it is locked.",
            f"It is used now and forgotten. ${KEY_VARIABLE} can hold it for the next time.",
        ) from None


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
