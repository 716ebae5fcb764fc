"""The pages, in the order of the experiment. Each is imported when it is first shown."""

from __future__ import annotations

from typing import NamedTuple


class PageEntry(NamedTuple):
    """Where a page's class is, and how the navigation shows it."""

    key: str
    class_name: str
    icon: str


# Groups of the navigation: material, learning, using.
GROUPS: tuple[tuple[PageEntry, ...], ...] = (
    (PageEntry("overview", "OverviewPage", "overview"),),
    (
        PageEntry("models", "ModelsPage", "models"),
        PageEntry("prompts", "PromptsPage", "prompts"),
        PageEntry("answers", "AnswersPage", "answers"),
        PageEntry("preferences", "PreferencesPage", "preferences"),
        PageEntry("quality", "QualityPage", "quality"),
    ),
    (
        PageEntry("reward", "RewardPage", "reward"),
        PageEntry("design", "DesignPage", "design"),
        PageEntry("train", "TrainPage", "train"),
        PageEntry("evaluate", "EvaluatePage", "evaluate"),
    ),
    (PageEntry("runs", "RunsPage", "runs"),),
)
