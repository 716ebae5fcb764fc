"""What the catalogue says of model folders, whole and broken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.models import folders
from workbench import places
from workbench.errors import UserError
from workbench.models import catalog, memory
from workbench.models.catalog import ModelInfo


def test_a_whole_folder_is_described_from_its_own_files(tmp_path: Path) -> None:
    info = catalog.describe(folders.make(tmp_path / "small"))
    assert info.name == "small"
    assert info.source == "folder"
    assert info.problems == ()
    assert info.architecture == "LlamaForCausalLM"
    assert info.n_parameters == 2 * 4 + 4
    assert info.dtype == "bfloat16"
    assert info.size_bytes == (tmp_path / "small" / "model.safetensors").stat().st_size
    assert info.licence == "mit"
    assert info.has_chat_template
    assert info.special_tokens == {"eos": "<end>", "pad": "<pad>"}
    assert info.context_length == 512


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _broken_config(folder: Path) -> None:
    folders.cut(folder / "config.json", 1)


def _pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _cut_weights(folder: Path) -> None:
    folders.cut(folder / "model.safetensors", 5)


def _cut_header(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:20])


def _html_instead_of_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_text("<html>not found</html>")


def _missing_shard(folder: Path) -> None:
    weight_map = {"a": "model.safetensors", "c": "model-00002.safetensors"}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))


def _no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def _adapter(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")


@pytest.mark.parametrize(
    ("breaking", "words"),
    [
        (_no_config, "no config.json"),
        (_broken_config, "config.json cannot be read"),
        (_pickle_only, "Only safetensors is loaded"),
        (_no_weights, "no weights"),
        (_cut_weights, "model.safetensors is broken: 5 bytes are missing"),
        (_cut_header, "model.safetensors is broken"),
        (_html_instead_of_weights, "model.safetensors is broken"),
        (_missing_shard, "model-00002.safetensors is missing"),
        (_no_tokenizer, "no tokenizer"),
        (_adapter, "an adapter, not a model"),
    ],
)
def test_what_is_broken_is_told_in_a_sentence(
    tmp_path: Path, breaking: Callable[[Path], None], words: str
) -> None:
    folder = folders.make(tmp_path / "small")
    breaking(folder)
    problems = catalog.describe(folder).problems
    assert len(problems) == 1, problems
    assert words in problems[0]
    assert problems[0].endswith(".")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"architectures": ["BertForMaskedLM"]}, "does not write text"),
        ({"architectures": ["T5EncoderModel"]}, "does not write text"),
        ({"auto_map": {"AutoModelForCausalLM": "x.Y"}, "model_type": "own-kind"}, "program code"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised (gptq)"),
    ],
)
def test_kinds_that_cannot_be_loaded_are_told(
    tmp_path: Path, config: dict[str, object], words: str
) -> None:
    problems = catalog.describe(folders.make(tmp_path / "odd", **config)).problems
    assert len(problems) == 1
    assert words in problems[0]


def test_an_encoder_decoder_is_a_model_like_others(tmp_path: Path) -> None:
    kind = {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5"}
    folder = folders.make(tmp_path / "t5", is_encoder_decoder=True, n_positions=64, **kind)
    config = json.loads((folder / "config.json").read_text())
    del config["max_position_embeddings"]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text("{}")
    info = catalog.describe(folder)
    assert info.problems == ()
    assert (info.is_encoder_decoder, info.has_chat_template) == (True, False)
    assert (info.n_parameters, info.context_length) == (12, 64)


def test_own_code_is_no_problem_where_transformers_knows_the_kind(tmp_path: Path) -> None:
    auto_map = {"AutoModelForCausalLM": "modeling_llama.Llama"}
    assert catalog.describe(folders.make(tmp_path / "m", auto_map=auto_map)).problems == ()


def test_a_description_follows_the_folder(tmp_path: Path) -> None:
    folder = folders.make(tmp_path / "small")
    before = catalog.describe(folder)
    _cut_weights(folder)
    assert before.problems == ()
    assert catalog.describe(folder).problems


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    folder = folders.make(tmp_path / "one")
    copy = shutil.copytree(folder, tmp_path / "two")
    (copy / "README.md").write_text("Another card.")
    assert catalog.describe(folder).digest == catalog.describe(copy).digest
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert catalog.describe(folder).digest != catalog.describe(copy).digest


def test_neither_folder_nor_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match=r"notes\.txt is no model"):
        catalog.describe(tmp_path / "notes.txt")
    with pytest.raises(UserError, match="There is no model at"):
        catalog.describe(tmp_path / "nowhere")


def test_the_list_has_each_model_once(tmp_path: Path, home: Path, tiny_model_path: Path) -> None:
    own = folders.make(places.models_dir() / "own")
    (places.models_dir() / ".half.partial").mkdir()
    found = catalog.list_models([own, tmp_path / "gone", tiny_model_path])
    assert [info.source for info in found].count("tiny") == 1
    assert [info.name for info in found if info.path == own] == ["own"]
    assert not [info for info in found if "partial" in info.name]


def test_the_hub_cache_is_listed_under_the_names_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = folders.hub_snapshot(tmp_path / "hub", "somebody/some-model")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    info = catalog.find("somebody/some-model")
    assert (info.source, info.hub_id) == ("hub", "somebody/some-model")
    assert info.problems == ()
    assert catalog.describe(snapshot) == info


def test_a_model_is_found_by_name_source_and_path(tmp_path: Path, tiny_model_path: Path) -> None:
    folder = folders.make(tmp_path / "elsewhere" / "mine")
    assert catalog.find("tiny").path == tiny_model_path
    assert catalog.find(str(folder)).name == "mine"
    assert catalog.find("mine", [folder]).path == folder
    with pytest.raises(UserError, match="Did you mean mine"):
        catalog.find("mime", [folder])


def test_the_tiny_model_can_be_loaded_and_is_small(tiny_info: ModelInfo) -> None:
    assert tiny_info.problems == ()
    assert tiny_info.has_chat_template
    assert tiny_info.special_tokens["pad"] != tiny_info.special_tokens["eos"]
    assert 100_000 < tiny_info.n_parameters < 1_000_000
    assert sum(file.stat().st_size for file in tiny_info.path.iterdir()) < 2_000_000


def test_fit_compares_the_need_with_what_is_free(
    tiny_info: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_cuda_bytes", lambda: None)
    assert catalog.fit(tiny_info).is_enough
    huge = replace(tiny_info, n_parameters=10**15)
    verdict = catalog.fit(huge)
    assert not verdict.is_enough
    assert verdict.need_bytes > 4 * 10**15
    assert verdict.sentence.startswith("Too large")


def test_on_a_card_two_bytes_a_weight_are_counted(
    tiny_info: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_cuda_bytes", lambda: 10**9)
    info = replace(tiny_info, n_parameters=3 * 10**8)
    assert catalog.fit(info).is_enough
    assert catalog.fit(info, dtype_bytes=4).need_bytes < 10**9
    monkeypatch.setattr(memory, "free_cuda_bytes", lambda: None)
    assert catalog.fit(info).need_bytes > 10**9
