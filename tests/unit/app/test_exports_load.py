"""Every exported form, loaded by the program that it is for.

Where trl, datasets, llamafactory, openrlhf or label_studio_sdk is installed, its own code reads the
files (seen with trl 1.16.0, datasets 5.2.0, llamafactory 0.9.5, openrlhf 0.11.2 and
label-studio-sdk 2.1.2). They are no dependencies of this program. Without them the schemas below
are held, taken from TRL's dataset_formats.md, data/README.md of LLaMA-Factory, the README of
OpenRLHF, the template for human preference collection in Label Studio's documentation, and the
Hub's page on data files that a card names.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from workbench.app.preference_export import ExportChoice, export_preferences
from workbench.app.preference_import import import_preferences, preview_preferences, result_of
from workbench.app.workspace import Workspace
from workbench.data.formats.exports import EXPORTS
from workbench.data.records import Message, NewCompletion, NewPrompt, Verdict

DIALOGUE = (
    Message("system", "Be brief."),
    Message("user", "Hi"),
    Message("assistant", "Hello."),
    Message("user", "天气？"),
)
JUDGED: list[tuple[tuple[Message, ...], str, str, Verdict]] = [
    (DIALOGUE, "晴", "<b>雨</b>\n\x1b[31m", "first"),
    ((Message("user", "one"), Message("user", "two")), "a", "b", "second"),
    ((Message("user", "plain"),), "c", "", "first"),
    ((Message("user", "tie"),), "d", "e", "tie"),
    ((Message("user", "bad"),), "f", "g", "both_bad"),
]
N_PAIRS, N_RATED = 3, 8


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[Workspace]:
    opened = Workspace.open(tmp_path / "experiment", create=True)
    for i, (messages, first, second, verdict) in enumerate(JUDGED):
        prompt = NewPrompt(messages, split="heldout" if i == 2 else "train")
        [prompt_id] = opened.experiment.prompts.add_many([prompt])
        ids = opened.experiment.completions.add_many(
            [NewCompletion(prompt_id, text) for text in (first, second)]
        )
        [(comparison, _)] = opened.experiment.comparisons.ensure([(prompt_id, *ids)])
        opened.experiment.judgements.add(comparison.id, verdict, "ada", "person", 1.0)
    yield opened
    opened.close()


# What other programs warn of is theirs to settle.
pytestmark = pytest.mark.filterwarnings("default")


def export(ws: Workspace, folder: Path, *forms: str, is_split: bool = False) -> Path:
    job = export_preferences(ws, folder, ExportChoice(forms, is_split=is_split))
    assert job.wait(60)
    assert job.outcome == "done", job.finished
    return folder


def lines(path: Path) -> list[dict[str, Any]]:
    # Not splitlines: it also cuts at characters that JSON allows inside a string.
    return [json.loads(line) for line in path.read_text("utf-8").strip().split("\n")]


def installed(name: str) -> Any:
    """A module of a program that is no dependency; its form is held to a schema without it."""
    return pytest.importorskip(name, exc_type=ImportError)


def is_messages(value: Any) -> bool:
    return all(
        m.keys() == {"role", "content"}
        and m["role"] in ("system", "user", "assistant")
        and isinstance(m["content"], str)
        for m in value
    )


def test_trl_schemas(ws: Workspace, tmp_path: Path) -> None:
    folder = export(ws, tmp_path / "out", "trl", "trl-unpaired", "trl-prompts")
    pairs = lines(folder / "preferences.jsonl")
    assert len(pairs) == N_PAIRS
    for row in pairs:
        assert row["prompt"][-1]["role"] == "user"
        assert all(is_messages(row[key]) for key in ("prompt", "chosen", "rejected"))
        assert [m["role"] for m in row["chosen"] + row["rejected"]] == ["assistant"] * 2
    rated = lines(folder / "unpaired.jsonl")
    assert len(rated) == N_RATED
    assert sum(row["label"] for row in rated) == N_PAIRS
    assert all(is_messages(row["completion"]) and isinstance(row["label"], bool) for row in rated)
    prompts = lines(folder / "prompts.jsonl")
    assert [row["prompt"][-1]["content"] for row in prompts] == [
        "天气？",
        "two",
        "plain",
        "tie",
        "bad",
    ]


def test_trl_takes_pairs_and_single_answers(ws: Workspace, tmp_path: Path) -> None:
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl.data_utils")
    folder = export(ws, tmp_path / "out", "trl", "trl-unpaired")
    pairs = datasets.load_dataset(
        "json", data_files=str(folder / "preferences.jsonl"), cache_dir=str(tmp_path / "c")
    )["train"]
    assert all(trl.is_conversational(row) for row in pairs)
    assert len(trl.unpair_preference_dataset(pairs)) == 2 * N_PAIRS
    rated = datasets.load_dataset(
        "json", data_files=str(folder / "unpaired.jsonl"), cache_dir=str(tmp_path / "c")
    )["train"]
    assert rated.features["label"].dtype == "bool"
    assert all(trl.is_conversational(row) for row in rated)


def alternates(turns: list[dict[str, str]]) -> bool:
    return [t["from"] for t in turns] == [("human", "gpt")[i % 2] for i in range(len(turns))]


def test_llama_factory_schema(ws: Workspace, tmp_path: Path) -> None:
    folder = export(ws, tmp_path / "out", "llama-factory", "llama-factory-kto", is_split=True)
    folder /= "llama_factory"
    info = json.loads((folder / "dataset_info.json").read_text("utf-8"))
    assert set(info) == {
        "preferences_train", "preferences_heldout", "feedback_train", "feedback_heldout",
    }  # fmt: skip
    for name, entry in info.items():
        rows = json.loads((folder / entry["file_name"]).read_text("utf-8"))
        assert entry["formatting"] == "sharegpt"
        assert all(set(entry["columns"].values()) <= row.keys() for row in rows)
        for row in rows:
            turns = row["conversations"]
            assert alternates(turns)
            if entry.get("ranking"):
                assert len(turns) % 2 == 1
                assert row["chosen"]["from"] == row["rejected"]["from"] == "gpt"
            else:
                assert len(turns) % 2 == 0
                assert isinstance(row["kto_tag"], bool)
        assert len(rows) == {"preferences_train": 2, "feedback_train": 6}.get(
            name, {"preferences_heldout": 1, "feedback_heldout": 2}.get(name)
        )
    [first, second] = json.loads((folder / "preferences_train.json").read_text("utf-8"))
    assert first["system"] == "Be brief."
    assert second["conversations"] == [{"from": "human", "value": "one\n\ntwo"}]


@pytest.mark.parametrize("form", ["llama-factory", "llama-factory-kto"])
def test_llama_factory_takes_every_row(ws: Workspace, tmp_path: Path, form: str) -> None:
    converter = installed("llamafactory.data.converter")
    parser = installed("llamafactory.data.parser")
    folder = export(ws, tmp_path / "out", form) / "llama_factory"
    [name] = json.loads((folder / "dataset_info.json").read_text("utf-8"))
    [attributes] = parser.get_dataset_list([name], str(folder))
    convert = converter.SharegptDatasetConverter(attributes, types.SimpleNamespace(media_dir=""))
    for row in json.loads((folder / attributes.dataset_name).read_text("utf-8")):
        converted = convert(row)
        assert converted["_prompt"][-1]["role"] == "user"
        assert len(converted["_response"]) == 2
        assert converted["_system"] == row["system"]


def test_openrlhf_schema(ws: Workspace, tmp_path: Path) -> None:
    rows = lines(export(ws, tmp_path / "out", "openrlhf") / "openrlhf.jsonl")
    assert len(rows) == N_PAIRS
    for row in rows:
        assert is_messages(row["chosen"])
        assert row["chosen"][:-1] == row["rejected"][:-1]
        assert row["chosen"][-1]["role"] == row["rejected"][-1]["role"] == "assistant"


def test_openrlhf_applies_a_template_to_every_row(ws: Workspace, tmp_path: Path) -> None:
    openrlhf = installed("openrlhf.datasets.reward_dataset")

    def template(messages: list[dict[str, str]], tokenize: bool, **_: bool) -> str:
        assert not tokenize
        return "".join(f"<{m['role']}>{m['content']}" for m in messages)

    for row in lines(export(ws, tmp_path / "out", "openrlhf") / "openrlhf.jsonl"):
        _, chosen, rejected, margin = openrlhf.preprocess_data(row, apply_chat_template=template)
        assert chosen.endswith(f"<assistant>{row['chosen'][-1]['content']}")
        assert rejected.endswith(f"<assistant>{row['rejected'][-1]['content']}")
        assert margin == 0


def test_label_studio_schema(ws: Workspace, tmp_path: Path) -> None:
    folder = export(ws, tmp_path / "out", "label-studio") / "label_studio"
    tasks = json.loads((folder / "tasks.json").read_text("utf-8"))
    assert len(tasks) == len(JUDGED)
    config = (folder / "config.xml").read_text("utf-8")
    for task in tasks:
        assert all(isinstance(task["data"][key], str) for key in ("prompt", "answer1", "answer2"))
        for result in (r for a in task["annotations"] for r in a["result"]):
            assert result["to_name"] == result["from_name"]
            assert f'<Pairwise name="{result["from_name"]}" toName="answer1,answer2"' in config
            assert result["value"]["selected"] in ("left", "right")
    assert [len(task["annotations"]) for task in tasks] == [1, 1, 1, 0, 0]
    assert tasks[0]["data"]["prompt"].startswith("system: Be brief.\n\nuser: Hi")


def test_label_studio_takes_every_task(ws: Workspace, tmp_path: Path) -> None:
    label_studio = installed("label_studio_sdk.label_interface")
    folder = export(ws, tmp_path / "out", "label-studio") / "label_studio"
    interface = label_studio.LabelInterface((folder / "config.xml").read_text("utf-8"))
    interface.validate()
    for task in json.loads((folder / "tasks.json").read_text("utf-8")):
        assert interface.validate_task({"data": task["data"]})
        for result in (r for a in task["annotations"] for r in a["result"]):
            made = interface.get_control("comparison").label(result["value"]["selected"])
            # Its own regions; its check of annotations does not know a tag of two texts.
            assert result.items() <= json.loads(made.to_json()).items()


def header(folder: Path) -> dict[str, Any]:
    _, text, _ = (folder / "README.md").read_text("utf-8").split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@pytest.mark.parametrize("is_split", [False, True])
def test_the_card_names_the_files_of_the_data_set(
    ws: Workspace, tmp_path: Path, is_split: bool
) -> None:
    folder = export(ws, tmp_path / "out", "trl", "csv", is_split=is_split)
    [config] = header(folder)["configs"]
    files = {entry["split"]: entry["path"] for entry in config["data_files"]}
    assert files == (
        {"train": "preferences_train.jsonl", "test": "preferences_heldout.jsonl"}
        if is_split
        else {"train": "preferences.jsonl"}
    )
    assert all((folder / name).is_file() for name in files.values())


def test_the_folder_is_a_data_set_of_hugging_face(ws: Workspace, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    folder = export(ws, tmp_path / "out", "hf", is_split=True)
    [config] = header(folder)["configs"]
    assert {entry["path"] for entry in config["data_files"]} == {
        "data/preferences_train.parquet", "data/preferences_heldout.parquet",
    }  # fmt: skip
    preview = preview_preferences(folder)
    assert (len(preview.rows), preview.form, preview.problems) == (3, "TRL preference", [])
    assert {row.messages for row in preview.rows} == {row[0] for row in JUDGED[:3]}
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert {name: len(part) for name, part in loaded.items()} == {"train": 2, "test": 1}
    assert loaded["train"][0]["chosen"] == [{"role": "assistant", "content": "晴"}]


@pytest.mark.parametrize("form", [name for name in EXPORTS if name != "trl-prompts"])
def test_what_goes_out_in_a_form_comes_in_again(ws: Workspace, tmp_path: Path, form: str) -> None:
    if form == "hf":
        pytest.importorskip("pyarrow")
    folder = export(ws, tmp_path / "out", form)
    other = Workspace.open(tmp_path / "other", create=True)
    try:
        job = import_preferences(other, folder / EXPORTS[form].file)
        assert job.wait(60)
        assert job.outcome == "done", job.finished
        done = result_of(job.finished.result)
        n_undecided = 2 if form == "label-studio" else 0
        is_rated = form in ("trl-unpaired", "llama-factory-kto")
        assert (done.n, done.n_problems) == (N_PAIRS + is_rated, n_undecided)
        found = {(p.chosen, p.rejected) for p in other.experiment.judgements.preferences()}
        assert found == {(JUDGED[0][1], JUDGED[0][2]), ("b", "a"), ("c", "")}
    finally:
        other.close()


def test_a_form_that_gets_no_line_has_an_empty_file(ws: Workspace, tmp_path: Path) -> None:
    for comparison_id in (1, 2, 3):
        ws.experiment.judgements.add(comparison_id, "tie", "ada", "person", 1.0)
    folder = export(ws, tmp_path / "out", "trl", "llama-factory", "csv")
    assert (folder / "preferences.jsonl").read_text("utf-8") == ""
    assert json.loads((folder / "llama_factory" / "preferences.json").read_text("utf-8")) == []
    assert len((folder / "preferences.csv").read_text("utf-8").splitlines()) == 1
    assert len(lines(folder / "ties_and_skips.jsonl")) == 5
