"""RLHF Workbench: the whole RLHF loop on one's own machine."""

# pydantic loads its modules lazily and PySide6's import hook inspects half-loaded modules:
# pydantic first, PySide6 second is the order that works (ImportError otherwise).
import pydantic.fields  # noqa: F401

__version__ = "0.1.0"
