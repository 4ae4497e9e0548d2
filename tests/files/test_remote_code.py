"""Models that bring Python code along: it runs where a person says so, whatever their files say."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from curation.concepts.lexicon import PIPELINES, resolve_pipeline
from curation.encoding.encoder import Encoder
from curation.encoding.model_names import EncoderSpec
from curation.index.opened import Index, index_nouns, open_encoder
from data_cards.miniature.clip import built_in
from evaluation.models.segmenters import load_segmenter
from files.errors import CocuError, MisuseError
from files.remote_code import trusting
from training.models.groupvit_weights import load_huggingface
from training.models.pretrained import build_open_clip
from training.recipes.recipe import recipe_kind
from training.run.start import with_init

WEIGHTS = built_in.FOLDER / "open_clip_model.safetensors"
CLIP_RECIPE = recipe_kind("clip-alignment")(learner="clip-alignment", concepts="none")
REFUSED = r"{}: brings Python code of its own, which is not run(.|\n)*--trust-remote-code"


@pytest.fixture(autouse=True)
def nobody_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def ask(*_: object) -> str:
        raise AssertionError("the terminal was asked")

    monkeypatch.setattr("builtins.input", ask)
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))


def code(folder: Path, ran: Path) -> None:
    """A configuration, a tokenizer and a model by code of their own, which leaves a trace."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evil.py").write_text(
        f"open({str(ran)!r}, 'w').close()\n"
        "from transformers import BertConfig, BertModel, BertTokenizer\n"
        "class Config(BertConfig):\n    model_type = 'evil'\n"
        "class Tower(BertModel):\n    config_class = Config\n"
        "class Tokens(BertTokenizer):\n    pass\n"
    )


def model_folder(
    tmp_path: Path, *, by: str, model_type: str = "evil", asked: object = None, legacy: bool = False
) -> tuple[Path, Path]:
    """A folder in open_clip's form whose tokenizer or text tower brings code; and the file that tells that it ran.

    by: what the code is of. asked: what the settings of the tokenizer say of trust. legacy: the map is a list.
    """
    folder, ran = tmp_path / "model", tmp_path / "PWNED"
    shutil.copytree(built_in.FOLDER, folder)
    code(folder, ran)
    names = {"AutoConfig": "evil.Config", "AutoModel": "evil.Tower"} if by == "tower" else {}
    (folder / "config.json").write_text(json.dumps({"model_type": model_type, "auto_map": names}))
    tokens: Any = ["evil.Tokens", None]
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "Tokens", "auto_map": tokens if legacy else {"AutoTokenizer": tokens}})
    )
    config = json.loads((folder / "open_clip_config.json").read_text())
    text = config["model_cfg"]["text_cfg"]
    text["hf_tokenizer_name"] = str(folder)
    if asked is not None:
        text["tokenizer_kwargs"] = {"trust_remote_code": asked}
    if by == "tower":
        text |= {"hf_model_name": str(folder), "hf_proj_type": "mlp", "hf_pooler_type": "mean_pooler"}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder, ran


MODELS = [
    {"by": "tokenizer", "asked": True, "model_type": "bert"},
    {"by": "tokenizer", "asked": 1, "legacy": True},
    {"by": "tokenizer", "asked": True},
    {"by": "tokenizer", "model_type": "bert"},
    {"by": "tokenizer", "legacy": True},
    {"by": "tower"},
    {"by": "tower", "asked": "yes"},
]


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("form", ["folder", "config file", "segmenter", "towers of a learner", "init"])
def test_code_of_a_model_does_not_run(model: dict[str, Any], form: str, tmp_path: Path) -> None:
    folder, ran = model_folder(tmp_path, **model)
    config = tmp_path / f"{tmp_path.name}.json"
    config.write_text(json.dumps(json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]))
    load = {
        "folder": lambda: Encoder(EncoderSpec(f"local-dir:{folder}"), "cpu"),
        "config file": lambda: Encoder(EncoderSpec(str(config), str(WEIGHTS)), "cpu"),
        "segmenter": lambda: load_segmenter(f"local-dir:{folder}"),
        "towers of a learner": lambda: build_open_clip({"model_cfg": json.loads(config.read_text())}),
        "init": lambda: with_init(CLIP_RECIPE, f"local-dir:{folder}", tmp_path / "run"),
    }[form]
    with pytest.raises(MisuseError, match=REFUSED.format(folder)):
        load()
    assert not ran.exists()


@pytest.mark.parametrize("model", [{"by": "tower"}, {"by": "tokenizer"}], ids=str)
def test_with_the_option_it_runs(model: dict[str, Any], tmp_path: Path) -> None:
    folder, ran = model_folder(tmp_path, **model)
    with suppress(CocuError):  # it is no whole model
        load_segmenter(f"local-dir:{folder}", trust_remote_code=True)
    assert ran.exists()
    with suppress(CocuError):
        Encoder(EncoderSpec(f"local-dir:{folder}", trust_remote_code=True), "cpu")


def test_with_the_option_it_runs_for_what_a_run_begins_with(tmp_path: Path) -> None:
    folder, ran = model_folder(tmp_path, by="tower")
    with suppress(CocuError), trusting(True):  # as train and evaluate do with the option
        with_init(CLIP_RECIPE, f"local-dir:{folder}", tmp_path / "run")
    assert ran.exists()


def test_trust_is_given_for_one_model_only(tmp_path: Path) -> None:
    test_with_the_option_it_runs({"by": "tower"}, tmp_path / "one")
    test_code_of_a_model_does_not_run({"by": "tower"}, "folder", tmp_path / "two")


def test_pickles_do_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return open, (str(tmp_path / "PWNED"), "w")

    for zipped in (True, False):
        for path in (tmp_path / "a.pt", tmp_path / "pytorch_model.bin"):
            torch.save({"state_dict": Evil()}, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(CocuError, match="no weights that torch can read"):
            Encoder(EncoderSpec("ViT-B-32", str(tmp_path / "a.pt")), "cpu")
        with pytest.raises(CocuError):
            load_segmenter(str(tmp_path / "a.pt"))
    assert not (tmp_path / "PWNED").exists()


def test_a_groupvit_never_needs_code(tmp_path: Path) -> None:
    code(tmp_path / "hub", tmp_path / "PWNED")
    config = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Tower"}}
    (tmp_path / "hub" / "config.json").write_text(json.dumps(config))
    with pytest.raises(MisuseError, match="is a model of type evil, not groupvit"):
        load_huggingface(tmp_path / "hub")
    assert not (tmp_path / "PWNED").exists()


@pytest.mark.parametrize(
    ("model", "pretrained"),
    [
        ("local-dir:/tmp/theirs", None),
        ("hf-hub:somebody/model", None),
        ("/tmp/theirs.json", "/tmp/theirs.pt"),
        ("ViT-B-32", "/tmp/theirs.pt"),
        ("ViT-B-32", None),
        (7, []),
    ],
)
def test_an_index_names_no_model_but_a_published_one(model: Any, pretrained: Any) -> None:
    index = Index(Path("theirs"), {"parameters": {"model": model, "pretrained": pretrained}}, *[None] * 4)  # type: ignore[arg-type]
    with pytest.raises(MisuseError, match=rf"theirs: was built with --model {model}.*name it by these options"):
        open_encoder(index)


def test_an_index_may_name_the_built_in_model() -> None:
    fingerprint = Encoder(EncoderSpec("miniature"), "cpu").fingerprint()
    manifest = {"parameters": {"model": "miniature", "pretrained": None}, "fingerprint": fingerprint}
    opened = open_encoder(Index(Path("ours"), manifest, *[None] * 4), "cpu")  # type: ignore[arg-type]
    assert opened.spec.model == "miniature"


def of_pipeline(name: str, given: str | None) -> Index:
    return Index(Path("theirs"), {"parameters": {"noun_pipeline": name}}, *[None] * 4, given)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["/tmp/theirs", "./theirs", "their_package", "en_core_web_sm/../theirs", "auto", ""])
def test_an_index_names_no_pipeline_but_the_usual_ones(name: str) -> None:
    with pytest.raises(MisuseError, match=rf"theirs: was built with --spacy-pipeline {name}.*name it by this option"):
        index_nouns(of_pipeline(name, None))
    assert index_nouns(of_pipeline(name, name)).pipeline == name
    with pytest.raises(MisuseError, match=f"another: theirs was built with {name}"):
        index_nouns(of_pipeline(name, "another"))
    assert index_nouns(of_pipeline("en_core_web_sm", None)).pipeline == "en_core_web_sm"


def test_a_folder_does_not_stand_in_for_a_usual_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in (*PIPELINES, "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.cfg").touch()
    assert resolve_pipeline("theirs") == "theirs"
    for name in PIPELINES:
        with pytest.raises(MisuseError, match="not installed"):
            resolve_pipeline(name)
