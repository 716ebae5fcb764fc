from __future__ import annotations

import math

import pytest
from pytestqt.qtbot import QtBot

from workbench.events import Marked, Step
from workbench.ui.pages.kl_view import KLView, thinned
from workbench.ui.pages.live_charts import LiveCharts
from workbench.ui.pages.live_run import LiveRun
from workbench.ui.theme import theme


def test_many_updates_become_means_of_neighbours() -> None:
    path = [(float(i), 2.0 * i) for i in range(400)]
    found = thinned(path)
    assert len(found) == 40
    assert found[0] == (4.5, 9.0)
    assert found[-1] == (394.5, 789.0)
    assert thinned(path[:3]) == path[:3]
    assert thinned([]) == []


def test_the_paths_say_where_they_begin_and_end(qtbot: QtBot) -> None:
    live = LiveRun()
    for step in range(1, 11):
        figures = {"objective/kl": step / 2, "objective/scores": step * 0.1}
        if step in (1, 5, 10):
            figures["judge/score"] = 1.0 - step / 10
        if step == 3:
            figures["objective/scores"] = math.nan
        live.take(Step(step, 10, figures, 1.0))
    view = KLView(theme())
    qtbot.addWidget(view)
    view.resize(900, 300)
    view.show()
    view.show_run(live)
    told = view.reward.accessibleDescription()
    assert told == "update 1: 0.1 at a KL of 0.5 nats; update 10: 1 at a KL of 5 nats"
    assert view.judge.accessibleDescription().endswith("update 10: 0 at a KL of 5 nats")
    assert view.grab().toImage().width() > 0
    view.show_run(LiveRun())
    assert "no update yet" in view.reward.accessibleDescription()
    assert "held-back judge" in view.judge.accessibleDescription()


def test_what_happened_is_marked_in_every_chart(qtbot: QtBot) -> None:
    charts = LiveCharts(["objective/kl", "objective/scores"])
    qtbot.addWidget(charts)
    charts.show()
    live = LiveRun(marks=[Marked(2, "labels", "8 pairs wait")])
    live.take(Step(1, 4, {"objective/kl": 0.5}, 1.0))
    charts.follow(live)
    chart = charts.charts["objective/kl"]
    qtbot.waitUntil(lambda: "Update 2: 8 pairs wait" in chart.toolTip())
    live.take(Marked(3, "labels", "new reward"))
    live.take(Marked(3, "labels", "new reward"))
    charts.catch_up_soon()
    qtbot.waitUntil(lambda: "Update 3: new reward" in chart.toolTip())
    assert chart.toolTip().count("new reward") == 1
    lines = [line.value() for line in chart._mark_lines]
    assert lines == [pytest.approx(2), pytest.approx(3)]
