"""A French index as a whole command, by a multilingual model: an XLM-R of open_clip's form, its weights at random."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import spacy
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig

from benchmarks.speed.tiny_pairs import write_tar
from curation.encoding.encoder import Encoder
from curation.encoding.model_names import EncoderSpec
from curation.index.vocabulary import read_vocabulary_table
from tests.integration.commands import cocu, manifest, succeed
from tests.tiny_world import picture

CAPTIONS = ["un chien sur la plage", "deux chiens", "une plage et un chien", "un chien, une planche à roulettes"]
NOUNS = {"chien": "chien", "chiens": "chien", "plage": "plage", "planche": "planche", "roulettes": "roulette"}


def multilingual_clip(folder: Path) -> str:
    """A folder in open_clip's form whose text tower is a model of transformers; returns what `--model` takes."""
    folder.mkdir()
    said = sorted(
        {word for caption in [*CAPTIONS, "une photo de un a"] for word in caption.replace(",", " , ").split()}
    )
    words = {word: number for number, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *said])}
    tokenizer = Tokenizer(WordLevel(words, "<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    marks = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **marks).save_pretrained(folder)
    layers = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    XLMRobertaConfig(vocab_size=len(words), max_position_embeddings=80, **layers).save_pretrained(folder)
    tower = {"hf_model_name": str(folder), "hf_tokenizer_name": str(folder), "hf_model_pretrained": False}
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
        "text_cfg": {**tower, "hf_pooler_type": "mean_pooler", "hf_proj_type": "mlp", "context_length": 20},
    }
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    torch.manual_seed(0)
    model = open_clip.CustomTextCLIP(**config)  # type: ignore[arg-type]
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"


def pipeline(folder: Path) -> Path:
    nlp = spacy.blank("fr")
    ruler = nlp.add_pipe("attribute_ruler")
    for word, lemma in NOUNS.items():
        ruler.add([[{"LOWER": word}]], {"POS": "NOUN", "LEMMA": lemma})  # type: ignore[attr-defined]
    nlp.to_disk(folder)
    return folder


@pytest.mark.parametrize("prompt", [None, "voici un {}"])
def test_french_pairs_are_indexed_and_curated(tmp_path: Path, prompt: str | None) -> None:
    model = multilingual_clip(tmp_path / "model")
    members = [
        member
        for i in range(24)
        for member in ((f"{i:03d}.jpg", picture(i)), (f"{i:03d}.txt", CAPTIONS[i % 4].encode()))
    ]
    shard = write_tar(tmp_path / "0.tar", members)
    given = ("--model", model, "--spacy-pipeline", pipeline(tmp_path / "fr_made"))
    told = ("--language", "fr", *(("--prompt", prompt) if prompt else ()))
    succeed("index", "build", shard, "--out", tmp_path / "index", *given, *told)
    parameters = manifest(tmp_path / "index")["parameters"]
    assert parameters["noun_language"] == "fr"
    assert parameters["prompt"] == (prompt or "une photo de {}")
    vocabulary = read_vocabulary_table(tmp_path / "index" / "concepts.parquet")
    assert set(vocabulary.words) == {"chien", "plage", "planche à roulettes"}
    encoder = Encoder(EncoderSpec(model), "cpu")
    texts = [parameters["prompt"].format(word) for word in vocabulary.words]
    np.testing.assert_allclose(vocabulary.vectors, encoder.encode_texts(texts), atol=2e-3)

    succeed("curate", "run", tmp_path / "index", "--out", tmp_path / "curated", "--localise", *given)
    succeed("curate", "run", tmp_path / "index", "--out", tmp_path / "others", "--anchors", shard, *given)
    assert manifest(tmp_path / "curated")["parameters"]["index_noun_language"] == "fr"
    asked = "SELECT count(*) FROM archives WHERE concept = 'planche à roulettes' AND in_caption"
    for folder in ("curated", "others"):
        assert "6" in succeed("curate", "query", tmp_path / folder, asked, "--format", "csv").out


def test_misuse_is_told(tmp_path: Path) -> None:
    shard = write_tar(tmp_path / "0.tar", [("0.jpg", picture(0)), ("0.txt", b"un chien")])
    for options, said in (
        (("--language", "kl"), "expected one of en (English), fr (French)"),
        (("--prompt", "a photo"), "give a sentence with {} where a concept stands"),
        (("--prompt", "a {0} of {}"), "give a sentence with {} where a concept stands"),
    ):
        answer = cocu("index", "build", shard, "--out", tmp_path / "index", "--model", "miniature", *options)
        assert (answer.code, said in answer.err) == (2, True), answer.err
