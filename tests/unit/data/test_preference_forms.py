"""Files of other programs as they export them: found by their first lines, read line by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workbench.data.formats.preferences import FORMS, detect, inspect, read_preferences
from workbench.data.formats.rows import PreferenceRow, RatedAnswer, pair_up
from workbench.data.records import Message
from workbench.errors import UserError

SKY = Message("user", "Why is the sky blue?")


def write(tmp_path: Path, rows: list[Any], name: str = "file.json") -> Path:
    path = tmp_path / name
    path.write_text(json.dumps(rows), "utf-8")
    return path


def pairs(path: Path, **how: Any) -> list[tuple[str, str, str, str, str]]:
    preview = read_preferences(path, **how)
    assert preview.problems == []
    assert {row.messages[-1] for row in preview.rows} == {SKY}
    return [(r.first, r.second, r.verdict, r.annotator, r.annotator_kind) for r in preview.rows]


def pairwise(selected: str, to_name: str = "answer1,answer2") -> dict[str, Any]:
    return {
        "type": "pairwise",
        "from_name": "comparison",
        "to_name": to_name,
        "value": {"selected": selected},
    }


def annotation(*results: dict[str, Any], who: object = 7, **more: Any) -> dict[str, Any]:
    return {"completed_by": who, "result": list(results), **more}


TASK = {"prompt": SKY.content, "answer1": "Rayleigh.", "answer2": "Paint."}


def test_label_studio_pairs_of_several_annotators(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        [
            {
                "id": 1,
                "data": TASK,
                "annotations": [
                    annotation(pairwise("left")),
                    annotation(pairwise("right"), who={"id": 2, "email": "a@b.c"}),
                    annotation(pairwise("left"), was_cancelled=True),
                ],
            }
        ],
    )
    assert detect(path) == "label-studio"
    assert pairs(path) == [
        ("Rayleigh.", "Paint.", "first", "file 7", "imported"),
        ("Paint.", "Rayleigh.", "first", "a@b.c", "imported"),
    ]


def test_label_studio_names_the_texts_by_its_tag(tmp_path: Path) -> None:
    data = {"prompt": SKY.content, "zweite": "B", "erste": "A"}
    task = {"data": data, "annotations": [annotation(pairwise("left", "erste,zweite"))]}
    assert pairs(write(tmp_path, [task]))[0][:2] == ("A", "B")
    task = {"data": data, "annotations": [annotation(pairwise("left", "comparison"))]}
    assert pairs(write(tmp_path, [task]))[0][:2] == ("B", "A")


def test_label_studio_json_min(tmp_path: Path) -> None:
    rows = [
        {**TASK, "id": 1, "annotator": 3, "comparison": {"selected": "right"}},
        {**TASK, "id": 2, "annotator": 4, "better": "left"},
    ]
    assert pairs(write(tmp_path, rows)) == [
        ("Paint.", "Rayleigh.", "first", "file 3", "imported"),
        ("Rayleigh.", "Paint.", "first", "file 4", "imported"),
    ]


@pytest.mark.parametrize(
    "ranker",
    [["b", "a", "c"], {"_": [], "best": ["b", "a"], "rest": ["c"]}],
    ids=["list", "bucket"],
)
def test_label_studio_rankings_become_all_their_pairs(tmp_path: Path, ranker: Any) -> None:
    items = [{"id": i, "title": "t", "body": i.upper()} for i in "abc"]
    result = {"type": "ranker", "value": {"ranker": ranker}}
    task = {"data": {"prompt": SKY.content, "items": items}, "annotations": [annotation(result)]}
    assert [p[:2] for p in pairs(write(tmp_path, [task]))] == [("B", "A"), ("B", "C"), ("A", "C")]


def test_items_that_were_not_placed_say_nothing(tmp_path: Path) -> None:
    items = [{"id": i, "body": i.upper()} for i in "abc"]
    result = {"type": "ranker", "value": {"ranker": {"_": ["c"], "good": ["a"], "bad": ["b"]}}}
    task = {"data": {"prompt": SKY.content, "items": items}, "annotations": [annotation(result)]}
    assert [p[:2] for p in pairs(write(tmp_path, [task]))] == [("A", "B")]


FIELDS = {"prompt": SKY.content, "response1": "Rayleigh.", "response2": "Paint."}


@pytest.mark.parametrize(
    "record",
    [
        {
            "fields": FIELDS,
            "responses": {
                "order": [{"value": ["response2", "response1"], "user_id": "u1"}],
                "topics": [{"value": ["sky", "light"], "user_id": "u1"}],
                "comment": [{"value": "well", "user_id": "u1"}],
            },
            "suggestions": {},
        },
        {
            **FIELDS,
            "order.responses": [["response2", "response1"]],
            "order.responses.users": ["u1"],
            "order.responses.status": ["submitted"],
        },
        {
            "fields": FIELDS,
            "responses": [
                {
                    "user_id": "u1",
                    "status": "submitted",
                    "values": {
                        "order": {
                            "value": [
                                {"rank": 2, "value": "response1"},
                                {"rank": 1, "value": "response2"},
                            ]
                        }
                    },
                },
                {"user_id": "u2", "status": "draft", "values": {}},
            ],
        },
    ],
    ids=["version 2", "flattened", "version 1"],
)
def test_argilla_rankings(tmp_path: Path, record: dict[str, Any]) -> None:
    path = write(tmp_path, [record])
    assert detect(path) == "argilla"
    assert pairs(path) == [("Paint.", "Rayleigh.", "first", "u1", "imported")]


def test_argilla_ties_options_of_other_names_and_suggestions(tmp_path: Path) -> None:
    ranking = [{"rank": 1, "value": "reply-1"}, {"rank": 1, "value": "reply-2"}]
    record = {"fields": FIELDS, "suggestions": {"order": {"value": ranking, "agent": "gpt"}}}
    assert pairs(write(tmp_path, [record])) == [("Rayleigh.", "Paint.", "tie", "gpt", "ai")]


def feedback(rating: int, message_id: str, siblings: list[str] | None) -> dict[str, Any]:
    turns = {
        "q": {"id": "q", "parentId": None, "role": "user", "content": SKY.content},
        "a": {
            "id": "a",
            "parentId": "q",
            "role": "assistant",
            "content": "Rayleigh.",
            "model": "x",
        },
        "b": {"id": "b", "parentId": "q", "role": "assistant", "content": "Paint.", "model": "y"},
        "c": {"id": "c", "parentId": "q", "role": "assistant", "content": "Again.", "model": "z"},
    }
    return {
        "type": "rating",
        "user": {"name": "ada"},
        "data": {"rating": rating, "model_id": "x", "sibling_model_ids": siblings},
        "meta": {"message_id": message_id},
        "snapshot": {"chat": {"chat": {"history": {"messages": turns}}}},
    }


def test_open_webui_ratings_against_siblings(tmp_path: Path) -> None:
    path = write(tmp_path, [feedback(1, "a", ["y"]), feedback(-1, "c", ["x", "y"])])
    assert detect(path) == "open-webui"
    assert [p[:4] for p in pairs(path)] == [
        ("Rayleigh.", "Paint.", "first", "ada"),
        ("Rayleigh.", "Again.", "first", "ada"),
        ("Paint.", "Again.", "first", "ada"),
    ]


def test_open_webui_thumbs_alone_are_paired(tmp_path: Path) -> None:
    path = write(tmp_path, [feedback(1, "a", None), feedback(-1, "b", None)])
    assert [p[:2] for p in pairs(path)] == [("Rayleigh.", "Paint.")]


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": SKY.content, "input": "", "chosen": "Rayleigh.", "rejected": "Paint."},
        {
            "conversations": [{"from": "human", "value": SKY.content}],
            "chosen": {"from": "gpt", "value": "Rayleigh."},
            "rejected": {"from": "gpt", "value": "Paint."},
        },
        {
            "messages": [{"role": "user", "content": SKY.content}],
            "chosen": {"role": "assistant", "content": "Rayleigh."},
            "rejected": {"role": "assistant", "content": "Paint."},
        },
    ],
    ids=["alpaca", "sharegpt", "openai"],
)
def test_llama_factory_pairs(tmp_path: Path, row: dict[str, Any]) -> None:
    path = write(tmp_path, [row])
    assert detect(path) == "llama-factory"
    assert pairs(path) == [("Rayleigh.", "Paint.", "first", "file", "imported")]


def test_llama_factory_history_and_system(tmp_path: Path) -> None:
    row = {
        "system": "Be brief.",
        "history": [["Hi", "Hello."]],
        "instruction": "Translate",
        "input": "blau",
        "chosen": "blue",
        "rejected": "red",
    }
    [found] = read_preferences(write(tmp_path, [row])).rows
    assert [(m.role, m.content) for m in found.messages] == [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello."),
        ("user", "Translate\nblau"),
    ]


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        (
            "llama-factory",
            {"instruction": SKY.content, "output": "Rayleigh.", "kto_tag": True},
            {"instruction": SKY.content, "output": "Paint.", "kto_tag": False},
        ),
        (
            "llama-factory",
            {
                "conversations": [
                    {"from": "human", "value": SKY.content},
                    {"from": "gpt", "value": "Rayleigh."},
                ],
                "kto_tag": True,
            },
            {
                "conversations": [
                    {"from": "human", "value": SKY.content},
                    {"from": "gpt", "value": "Paint."},
                ],
                "kto_tag": False,
            },
        ),
        (
            "trl-unpaired",
            {"prompt": SKY.content, "completion": "Rayleigh.", "label": True},
            {
                "prompt": [{"role": "user", "content": SKY.content}],
                "completion": [{"role": "assistant", "content": "Paint."}],
                "label": False,
            },
        ),
    ],
    ids=["alpaca", "sharegpt", "trl"],
)
def test_single_answers_are_paired(
    tmp_path: Path, form: str, good: dict[str, Any], bad: dict[str, Any]
) -> None:
    path = write(tmp_path, [good, bad])
    assert detect(path) == form
    assert pairs(path) == [("Rayleigh.", "Paint.", "first", "file", "imported")]


def rated(text: str, is_good: bool, prompt: str = "p") -> RatedAnswer:
    return RatedAnswer((Message("user", prompt),), text, is_good)


def test_every_answer_meets_one_of_the_other_kind() -> None:
    answers = [rated("g1", True), rated("b1", False), rated("b2", False), rated("b3", False)]
    rows, n_left = pair_up([*answers, rated("g2", True)])
    assert [(r.first, r.second) for r in rows] == [("g1", "b1"), ("g2", "b2"), ("g1", "b3")]
    assert n_left == 0


def test_answers_without_a_counterpart_are_counted_and_told(tmp_path: Path) -> None:
    alone = [rated("g", True, "x"), rated("b", False, "y")]
    bad = [rated("b1", False), rated("b2", False), rated("b3", False)]
    rows, n_left = pair_up([*alone, *bad])
    assert [(r.first, r.second, r.verdict) for r in rows] == [("b1", "b2", "both_bad")]
    assert n_left == 3
    entries = [{"prompt": "p", "completion": str(i), "label": "good"} for i in range(4)]
    preview = read_preferences(write(tmp_path, entries))
    assert preview.rows == []
    assert "4 answers called good or bad are left out" in preview.notes[0]


def test_columns_of_other_names_are_guessed_or_named(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("Question\tResponse_A\tResponse_B\tWinner\nWhy?\tx\ty\tB\n", "utf-8")
    facts = inspect(path)
    assert facts.columns == ("question", "response_a", "response_b", "winner")
    assert facts.mapping == {
        "prompt": "question", "first": "response_a", "second": "response_b", "verdict": "winner",
    }  # fmt: skip
    [row] = read_preferences(path).rows
    assert (row.messages[0].content, row.first, row.second) == ("Why?", "y", "x")

    path.write_text("Frage;gut;schlecht\nWarum?;x;y\n", "utf-8")
    assert inspect(path).form is None
    assert detect(path) == ""
    with pytest.raises(UserError, match="no columns chosen and rejected; its columns are frage, g"):
        read_preferences(path)
    columns = {"prompt": "Frage", "chosen": "gut", "rejected": "schlecht"}
    [row] = read_preferences(path, columns).rows
    assert (row.messages[0].content, row.first, row.second) == ("Warum?", "x", "y")
    with pytest.raises(UserError, match="no column Antwort"):
        read_preferences(path, {"chosen": "Antwort"})
    with pytest.raises(UserError, match="nothing to put into answer"):
        read_preferences(path, {"answer": "gut"})
    with pytest.raises(UserError, match="no form excel"):
        read_preferences(path, form="excel")


def test_a_named_form_is_taken_at_its_word(tmp_path: Path) -> None:
    path = write(tmp_path, [{"prompt": SKY.content, "chosen": "a", "rejected": "b"}])
    preview = read_preferences(path, form="argilla")
    assert preview.form == "Argilla"
    assert "Nobody has ranked" in preview.problems[0].message


def test_a_preview_of_the_first_lines_says_that_there_are_more(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "chosen": str(i), "rejected": "b"} for i in range(9)]
    preview = read_preferences(write(tmp_path, rows), limit=4)
    assert (len(preview.rows), preview.is_complete) == (4, False)
    assert (preview.form, preview.columns) == ("TRL preference", ("prompt", "chosen", "rejected"))
    assert read_preferences(write(tmp_path, rows), limit=9).is_complete


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"data": TASK, "annotations": []}, "No annotation of this task"),
        ({"data": TASK, "annotations": [annotation(pairwise("up"))]}, "side is 'up'"),
        ({"data": {"x": 1}, "annotations": [annotation(pairwise("left"))]}, "no two answers"),
        (
            {
                "data": {"answer1": "a", "answer2": "b"},
                "annotations": [annotation(pairwise("left"))],
            },
            "no prompt among its data",
        ),
        (
            {
                "data": {"prompt": "p", "answer1": 1, "answer2": 2},
                "annotations": [annotation(pairwise("left"))],
            },
            "must be text",
        ),
        (
            {
                "data": {"prompt": "p", "items": [{"id": "a", "body": "A"}]},
                "annotations": [annotation({"type": "ranker", "value": {"ranker": ["z"]}})],
            },
            "names 'z'",
        ),
        ({"fields": FIELDS, "responses": {}}, "Nobody has ranked"),
        (
            {
                "fields": {"response1": "a", "response2": "b"},
                "responses": {"o": [{"value": ["response1", "response2"]}]},
            },
            "no prompt among its fields",
        ),
        ({"data": {"rating": 5, "model_id": "x"}}, "rating is 5"),
        ({"data": {"rating": 1, "model_id": "x"}}, "no snapshot"),
        ({**feedback(1, "zzz", None)}, "not in the snapshot"),
        ({**feedback(1, "q", None)}, "no message before"),
        ({"instruction": 3, "chosen": "a", "rejected": "b"}, "no instruction"),
        ({"instruction": "i", "chosen": None, "rejected": "b"}, "no text in chosen"),
        ({"instruction": "i", "history": [1], "chosen": "a", "rejected": "b"}, "history"),
        ({"conversations": "x", "chosen": "a", "rejected": "b"}, "list of messages"),
        ({"instruction": "i", "output": "o", "kto_tag": "perhaps"}, "label is 'perhaps'"),
        ({"prompt": "p", "completion": None, "label": True}, "no answer"),
        (
            {"prompt": "p", "completion": [{"role": "user", "content": "x"}], "label": True},
            "assist",
        ),
        ({"prompt": "p", "chosen": "a", "rejected": "b", "strength": 9}, "strength is 9"),
    ],
)
def test_what_is_wrong_with_an_entry_is_told_in_a_sentence(
    tmp_path: Path, entry: dict[str, Any], sentence: str
) -> None:
    preview = read_preferences(write(tmp_path, [entry]))
    assert preview.rows == []
    assert sentence in preview.problems[0].message
    assert preview.problems[0].message.endswith(".")


def test_no_form_takes_the_lines_of_another_for_its_own() -> None:
    samples = {
        "label-studio": {"data": TASK, "annotations": [annotation(pairwise("left"))]},
        "argilla": {"fields": FIELDS, "responses": {}},
        "open-webui": feedback(1, "a", None),
        "llama-factory": {"instruction": "i", "chosen": "a", "rejected": "b"},
        "hh": {
            "chosen": "\n\nHuman: a\n\nAssistant: b",
            "rejected": "\n\nHuman: a\n\nAssistant: c",
        },
        "trl": {"prompt": "p", "chosen": "a", "rejected": "b"},
        "trl-unpaired": {"prompt": "p", "completion": "a", "label": True},
    }
    assert samples.keys() == FORMS.keys()
    for name, sample in samples.items():
        assert next(f.name for f in FORMS.values() if f.fits(sample)) == name


def test_rows_name_their_annotator_group_language_and_split(tmp_path: Path) -> None:
    row = {
        "prompt": "天气？", "chosen": "晴", "rejected": "雨", "annotator": "ada",
        "annotator_kind": "ai", "group": None, "language": None, "split": "test", "strength": "2",
    }  # fmt: skip
    assert read_preferences(write(tmp_path, [row])).rows == [
        PreferenceRow(
            (Message("user", "天气？"),), "晴", "雨", "first", "ada", "ai", "", "zh", "heldout", 2
        )
    ]
