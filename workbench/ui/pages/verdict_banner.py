"""The one banner of a page: hidden without a verdict, untouched while the verdict is the same."""

from __future__ import annotations

from workbench.ui.pages.run_facts import Verdict
from workbench.ui.widgets import Banner


class VerdictBanner(Banner):
    """Shows a verdict with the button that does the next thing."""

    def __init__(self) -> None:
        super().__init__("info", "")
        self._told: tuple[Verdict | None, str] = (None, "")
        self.setVisible(False)

    def tell(self, verdict: Verdict | None, action: str = "", key: str = "") -> None:
        """Show a verdict, or nothing.

        A page is refreshed with every judgement: setting the same words again would take the
        focus off the banner's button.
        """
        self.setVisible(verdict is not None)
        if (verdict, action) == self._told:
            return
        self._told = (verdict, action)
        if verdict is not None:
            self.set(verdict.kind, verdict.text, verdict.detail, action, key)
