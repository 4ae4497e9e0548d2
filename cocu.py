"""`cocu` in Python: what the commands do, as functions with their options and defaults.

    import cocu

    index = cocu.build_index("pairs/shards", "index", model="miniature")
    curated = cocu.curate(index, "curated")
    curated.archives.filter("NOT in_caption").df()

`build_index`, `curate` and `train` go on where an earlier call, or command, with the same options stopped. Errors are
`CocuError` and, where what is asked for cannot be, `MisuseError`; they name options as the command line does:
--min-count is min_count here. Everything heavy is imported when it is first used. `python -m cocu` is the command line.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from files.machine import cores as _cores

if TYPE_CHECKING:
    from curation.folders import CuratedFolder, IndexFolder
    from curation.recovery.judged import JudgedScore
    from curation.recovery.scorecard import Scorecard
    from evaluation.evaluate import Evaluated
    from files.errors import CocuError as CocuError
    from files.errors import MisuseError as MisuseError
    from training.run.trained import Trained

    __version__: str

__all__ = [
    *("CocuError", "MisuseError", "__version__"),
    *("add_to_index", "build_index", "curate", "evaluate", "merge_indexes", "open_curated", "open_index", "score"),
    "train",
]

Named = str | Path
Function = TypeVar("Function", bound=Callable[..., Any])
PACKAGES = ("files", "data_cards", "curation", "training", "evaluation", "cli")


def _renamed(**names: str) -> Callable[[Function], Function]:
    """Arguments by the names that they had are taken, with a warning."""

    def taking(function: Any) -> Any:
        def called(*given: Any, **named: Any) -> Any:
            for old in names.keys() & named:
                warnings.warn(f"cocu.{function.__name__}: {old} is called {names[old]} now", FutureWarning, 2)
            return function(*given, **{names.get(name, name): value for name, value in named.items()})

        return wraps(function)(called)

    return taking


def build_index(
    shards: Named | Sequence[Named] | None,
    out: Named,
    *,
    model: str = "ViT-B-16",
    pretrained: str | None = "openai",
    extra_captions: Named | Sequence[Named] | None = None,
    caption_field: str | None = None,
    all_captions: bool = False,
    image_column: str | None = None,
    caption_column: str | None = None,
    images: Named | None = None,
    no_header: bool = False,
    columns: str | Sequence[str] | None = None,
    parser: str = "spacy",
    spacy_pipeline: str = "auto",
    adjectives: bool = False,
    names: bool = False,
    language: str = "en",
    prompt: str | None = None,
    vocabulary: Named | None = None,
    min_count: int = 2,
    factory: str = "auto",
    memory: int | None = None,
    min_recall: float = 0.95,
    max_rejects: float = 0.10,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int = 64,
    workers: int | None = None,
    decode: str = "cpu",
    trust_remote_code: bool = False,
    tokenizer: Named | None = None,
    embeddings: Named | None = None,
    part: str | None = None,
    processes: int | None = None,
    gpus: int | None = None,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    retry_failed: bool = False,
    quiet: bool = False,
) -> IndexFolder:
    """Embed pairs, collect the concepts that captions name, and build the caption and image indexes; all into `out`.

    shards: tars, folders, patterns or addresses, or a table of image paths and captions. embeddings: folder of vectors
    that `model` made already; alone (shards None) its tables say what the pairs are. memory: bytes for the FAISS
    indexes; None: half the machine's. part: "I/N" does part I of the shards, beside the others or not, and "finish"
    what comes after all of them; until then the index is not finished. processes, gpus: that share the shards, on each
    machine; None: a process a GPU, or one. engine: "ray" has the machines of the cluster at `address`, HOST:PORT; None:
    the cluster that this machine is in. retry_failed: do the shards that failed before, alone. quiet: tell nothing.
    More: `cocu index build --help`. Raises MisuseError for arguments that are wrong, or other than those `out` was
    begun with; CocuError for too many rejects, after all that is good is written, a shard that cannot be had, or too
    little recall.

        index = cocu.build_index("shards/train-{00000..00099}.tar", "runs/index")
    """
    with _at_work(quiet):
        from curation.concepts.noun_phrases import NounOptions
        from curation.encoding.model_names import EncoderSpec
        from curation.folders import IndexFolder
        from curation.index import build
        from curation.index.opened import open_index
        from curation.ranking.kept_fits import fit_default
        from curation.reading.pairs import CaptionOptions, image_folder, table_columns
        from curation.reading.shards import find_caption_tables, find_shards
        from curation.runs.part import Chosen, parse_part
        from curation.runs.team import Team
        from files.errors import MisuseError, check_numbers

        if not _names(shards) and embeddings is None:
            raise MisuseError("no SHARDS: name tars or tables of pairs, or a folder of embeddings by --embeddings DIR")
        check_numbers(1, min_count=min_count, batch_size=batch_size)
        who = (Chosen(parse_part(part, trains=True), retry_failed), Team(engine, address, processes, gpus, workers))
        check_numbers(0, 1, min_recall=min_recall, max_rejects=max_rejects)
        encoder = EncoderSpec(model, pretrained, precision, trust_remote_code, str(tokenizer) if tokenizer else None)
        named = (image_folder(images), table_columns(no_header, columns))
        captions = CaptionOptions(caption_field, all_captions, image_column, caption_column, *named)
        nouns = NounOptions(spacy_pipeline, adjectives, names, parser=parser, language=language)
        listed = str(vocabulary) if vocabulary else None
        late = (min_count, listed, factory, memory or 0, min_recall, max_rejects, prompt)
        made = None if embeddings is None else Path(embeddings)
        options = build.IndexOptions(encoder, captions, nouns, *late, made, decode)
        found, extra = find_shards(_names(shards), captions), find_caption_tables(_names(extra_captions))
        at_once = (device, batch_size, workers or _cores())
        path = _path(out, filled=True)
        manifest = build.build_index(found, extra, path, options, *at_once, *who)
        if manifest["finished"]:
            fit_default(open_index(_path(path), manifest["parameters"]["noun_pipeline"]))
        return IndexFolder(path, manifest, encoder)


def add_to_index(
    index: Named | IndexFolder,
    shards: Named | Sequence[Named] | None = None,
    *,
    extra_captions: Named | Sequence[Named] | None = None,
    embeddings: Named | None = None,
    max_rejects: float = 0.10,
    device: str = "auto",
    batch_size: int = 64,
    workers: int | None = None,
    model: str | None = None,
    pretrained: str | None = None,
    trust_remote_code: bool = False,
    tokenizer: Named | None = None,
    spacy_pipeline: str | None = None,
    processes: int | None = None,
    gpus: int | None = None,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    quiet: bool = False,
) -> IndexFolder:
    """Add what is new to an index, which becomes what it would be if it had been built of all at once: a new version.

    shards, extra_captions, embeddings: as in `build_index`; what the index has is left out. Options that shape an index
    are its own; model to spacy_pipeline only name again what its manifest alone must not name. processes to address:
    as there. Until all is done the index is as it was, and killed, the same call goes on. More: `cocu index add
    --help`. Raises MisuseError for shards that have changed since, or another model; else as `build_index`.

        index = cocu.add_to_index("runs/index", "shards/train-{00100..00149}.tar")
    """
    with _at_work(quiet):
        from curation.encoding.model_names import named_encoder
        from curation.folders import IndexFolder
        from curation.index import growth
        from curation.index.opened import open_index
        from curation.ranking.kept_fits import fit_default
        from curation.runs.team import Team
        from files.errors import check_numbers

        check_numbers(1, batch_size=batch_size, workers=workers)
        check_numbers(0, 1, max_rejects=max_rejects)
        encoder = named_encoder(model, pretrained, trust_remote_code, tokenizer) or getattr(index, "encoder", None)
        at_once = (device, batch_size, workers or _cores())
        named = (_path(index, filled=True), _names(shards), _names(extra_captions))
        more = (None if embeddings is None else Path(embeddings), Team(engine, address, processes, gpus, workers))
        made = growth.add_to_index(*named, encoder, spacy_pipeline, max_rejects, *at_once, *more)
        fit_default(open_index(_path(index), made["parameters"]["noun_pipeline"]))
        return IndexFolder(_path(index), made, encoder)


def merge_indexes(
    indexes: Sequence[Named | IndexFolder],
    out: Named,
    *,
    device: str = "auto",
    batch_size: int = 64,
    model: str | None = None,
    pretrained: str | None = None,
    trust_remote_code: bool = False,
    tokenizer: Named | None = None,
    spacy_pipeline: str | None = None,
    quiet: bool = False,
) -> IndexFolder:
    """Make of several indexes, built alike by one encoder, the one that would be built of all their shards at once.

    No picture is looked at. model and those after it: as in `add_to_index`. More: `cocu index merge --help`. Raises
    MisuseError for indexes that were not built alike; else as `build_index`.

        index = cocu.merge_indexes(["runs/one", "runs/other"], "runs/both")
    """
    with _at_work(quiet):
        from curation.encoding.model_names import named_encoder
        from curation.folders import IndexFolder
        from curation.index import merge
        from curation.index.opened import open_index
        from curation.ranking.kept_fits import fit_default
        from files.errors import check_numbers

        check_numbers(1, batch_size=batch_size)
        by_hand = named_encoder(model, pretrained, trust_remote_code, tokenizer)
        encoder = by_hand or next((getattr(index, "encoder", None) for index in indexes), None)
        paths, path = [_path(index) for index in indexes], _path(out, filled=True)
        made = merge.merge_indexes(paths, path, encoder, spacy_pipeline, device, batch_size)
        fit_default(open_index(_path(path), made["parameters"]["noun_pipeline"]))
        return IndexFolder(path, made, encoder)


def open_index(
    path: Named,
    *,
    model: str | None = None,
    pretrained: str | None = None,
    trust_remote_code: bool = False,
    tokenizer: Named | None = None,
) -> IndexFolder:
    """The finished index in a folder. Raises MisuseError where there is none.

    model, pretrained, tokenizer: what built it, for an index whose own word for it is a path or a repository, which is
    not taken.

    cocu.open_index("runs/index").summary["pairs"]
    """
    with _at_work():
        from curation.encoding.model_names import named_encoder
        from curation.folders import IndexFolder

        return IndexFolder.opened(
            _path(path, only="manifest.json"), named_encoder(model, pretrained, trust_remote_code, tokenizer)
        )


def curate(
    index: Named | IndexFolder,
    out: Named,
    *,
    preset: str = "default",
    expansion: str | None = None,
    neighbours: int | None = None,
    ranking: str | None = None,
    keep: int | None = None,
    min_score: float | None = None,
    confidence: float | None = None,
    merge: bool | None = None,
    synonyms: bool | None = None,
    grounded: bool | None = None,
    tags: Named | None = None,
    write_caption: str | None = None,
    output: Literal["shards", "sidecar", "tables"] = "shards",
    shards_format: Literal["webdataset", "parquet"] = "webdataset",
    localise: bool = False,
    min_peak: float | None = None,
    anchors: Named | Sequence[Named] | None = None,
    caption_field: str | None = None,
    all_captions: bool = False,
    image_column: str | None = None,
    caption_column: str | None = None,
    images: Named | None = None,
    no_header: bool = False,
    columns: str | Sequence[str] | None = None,
    seed: int = 0,
    max_rejects: float = 0.10,
    device: str = "auto",
    batch_size: int = 64,
    workers: int | None = None,
    model: str | None = None,
    pretrained: str | None = None,
    trust_remote_code: bool = False,
    tokenizer: Named | None = None,
    spacy_pipeline: str | None = None,
    part: str | None = None,
    processes: int | None = None,
    gpus: int | None = None,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    retry_failed: bool = False,
    quiet: bool = False,
) -> CuratedFolder:
    """Find the concepts that captions leave out; tables and curated shards come into the folder `out`.

    preset: default, paper or clip; the options from expansion to write_caption overrule it where they are not None.
    output: sidecar leaves, in place of whole shards, tars of the concepts alone, tables nothing but the tables.
    shards_format: parquet writes what came as Parquet with its pictures so again, with a column of concepts.
    localise: say where concepts show. anchors: shards to curate in place of the indexed pairs; the options after it,
    but seed, are theirs, those from device on are for localise, too. spacy_pipeline: what built the index, where it is
    none of the usual ones. part to quiet: as of `build_index`. More: `cocu curate run --help`. Raises MisuseError for
    arguments that are wrong, or other than those `out` was begun with; CocuError for shards that cannot be curated,
    after all others are done.

        curated = cocu.curate("runs/index", "runs/curated", preset="paper")
    """
    with _at_work(quiet):
        from curation.curate import run_curation
        from curation.encoding.model_names import named_encoder
        from curation.folders import CuratedFolder
        from curation.index.anchors import find_anchors
        from curation.index.opened import open_encoder, open_index
        from curation.ranking.options import preset_options
        from curation.reading.pairs import image_folder, table_columns
        from curation.runs.part import Chosen, parse_part
        from curation.runs.team import Team
        from files.errors import check_numbers

        check_numbers(1, neighbours=neighbours, batch_size=batch_size)
        who = (Chosen(parse_part(part), retry_failed), Team(engine, address, processes, gpus, workers))
        check_numbers(0, keep=keep, seed=seed)
        check_numbers(0, 1, max_rejects=max_rejects, confidence=confidence)
        check_numbers(-1, 1, min_peak=min_peak)
        chosen: dict[str, Any] = {
            **{"expansion": expansion, "neighbours": neighbours, "ranking": ranking, "keep": keep, "tags": tags},
            **{"min_score": min_score, "merge": merge, "synonyms": synonyms, "grounded": grounded},
            **{"confidence": confidence, "output": output, "shards_format": shards_format},
        }
        where = {"localise": localise, "min_peak": min_peak}
        options = preset_options(preset, **chosen, write_caption=write_caption, seed=seed, **where)
        by_hand = named_encoder(model, pretrained, trust_remote_code, tokenizer)
        encoder = by_hand or getattr(index, "encoder", None)
        at_once = (device, batch_size, workers or _cores())
        named = (image_folder(images), table_columns(no_header, columns))
        captions = (caption_field, all_captions, image_column, caption_column, *named)
        source = find_anchors(_names(anchors), captions, *at_once, encoder)
        opened, path = open_index(_path(index), spacy_pipeline), _path(out, filled=True, sent=True)
        sizes: dict[str, Any] = {"device": device, "batch_size": batch_size, "workers": at_once[2]}
        given = (options, source, max_rejects, partial(open_encoder, **sizes, named=encoder))
        return CuratedFolder(path, run_curation(opened, path, *given, *who, device))


def open_curated(path: Named) -> CuratedFolder:
    """The finished curation in a folder, its tables opened when they are first used. Raises MisuseError for none.

    cocu.open_curated("runs/curated").archives.filter("rank = 1").df()
    """
    with _at_work():
        from curation.folders import CuratedFolder

        return CuratedFolder.opened(_path(path, only="manifest.json"))


@_renamed(k="top")
def score(
    curated: Named | CuratedFolder,
    truth: Named | None = None,
    synonyms: Named | None = None,
    *,
    judged: Named | None = None,
    min_area: float = 0.01,
    top: Sequence[int] = (1, 3, 5, 8, 16),
    named_by: str = "either",
    seed: int = 0,
    against: Named | None = None,
    spacy_pipeline: str | None = None,
) -> Scorecard | JudgedScore:
    """Measure on pictures with known content which of the objects left unsaid are recovered, or by people's judgement.

    truth: a table of (key, object, area), or a tar with objects in its .json members. synonyms: JSON, object -> words.
    judged: in their place, the file in which `cocu explore` keeps what people say of recovered concepts.
    against: another model's tags, scored beside. spacy_pipeline: the curation's, where it is none of the usual: it puts
    words into the form of concepts. Raises MisuseError for truth of other pairs, CocuError for bad tables.

        cocu.score("runs/curated", "truth.parquet", "synonyms.json").as_json()["scores"]["curated"]["recall"]
    """
    with _at_work():
        from files.errors import MisuseError

        if judged is not None and (truth, synonyms) == (None, None):
            from curation.recovery.judged import score_judged

            return score_judged(_path(curated), Path(judged), top)
        if judged is not None or truth is None or synonyms is None:
            raise MisuseError("give --truth and --synonyms, or --judged alone")
        from curation.recovery.scorecard import score_folder

        what = (_path(curated), truth, synonyms)
        how = {"named_by": named_by, "seed": seed, "against": against, "spacy_pipeline": spacy_pipeline}
        return score_folder(*what, min_area=min_area, ks=top, **how)  # type: ignore[arg-type]


def train(
    recipe: Named,
    data: Named | CuratedFolder | Sequence[Named | CuratedFolder],
    out: Named,
    settings: Mapping[str, Any] | Sequence[str] | None = None,
    *,
    val: Named | CuratedFolder | Sequence[Named | CuratedFolder] | None = None,
    benchmark: str | Mapping[str, Named] | None = None,
    shares: Sequence[float] | None = None,
    weights: Named | None = None,
    concepts: Named | CuratedFolder | Sequence[Named | CuratedFolder] | None = None,
    resume: str = "auto",
    init: Named | None = None,
    trust_remote_code: bool = False,
    tokenizer: Named | None = None,
    features: Named | None = None,
    device: str = "auto",
    compile: bool = False,
    workers: int | None = None,
    tensorboard: bool = True,
    wandb: bool = False,
    quiet: bool = False,
) -> Trained:
    """Train a recipe, a built-in one by its name or a YAML file, on shards or curated folders; `out` is the run's.

    settings: {"data.batch": 256, "steps": 1000}, over the recipe's own. benchmark: {card: path}, whose mIoU is then
    measured at every validation. init: what to begin with, a checkpoint or a CLIP's name such as "miniature", in place
    of the recipe's own. shares: of what is seen, for each of `data`; weights: a table of them for each pair. concepts:
    curations that have those of `data`, shards as they were curated, and of `val` as far as they know it. features:
    folder where those of a frozen image tower are kept. More: `cocu train --help`. Interrupted, it saves first.
    Raises MisuseError for arguments that are wrong, CocuError where the loss stays non-finite, or shards or checkpoints
    cannot be read or written.

        run = cocu.train("miniature_cocu", "runs/curated/shards", "runs/mini", {"epochs": 2})
    """
    with _at_work(quiet):
        from files.errors import MisuseError, check_numbers
        from training.recipes.recipe_text import written

        if isinstance(settings, Mapping):
            settings = [f"{name}={json.dumps(value)}" for name, value in settings.items()]
        written(str(recipe), settings or [])  # what is no YAML is told before PyTorch starts
        from files.text_towers import tokenizer_from
        from training.processes import Wish
        from training.recipes.recipe_file import load_recipe
        from training.run.options import TrainOptions
        from training.run.trained import Trained
        from training.run.trainer import train as train_recipe
        from training.shards.found import Source

        check_numbers(0, workers=workers)
        sources = _names(data)
        if shares is not None and len(shares) != len(sources):
            raise MisuseError(
                f"--shares {','.join(map(str, shares))}: give a number for each of the {len(sources)} --data, "
                "with commas between, such as 0.7,0.3"
            )
        measure = None
        if benchmark is not None:
            if not val:
                raise MisuseError("--benchmark: is measured at every validation; give --val, too")
            from data_cards.cards import benchmarks_of
            from evaluation.training_measure import validation_measure

            (wanted,) = benchmarks_of(benchmark)
            measure = validation_measure(*wanted)
        beside = tuple(map(_path, _several(concepts, lambda folder: folder.path)))
        given = [Source((name,), shares[n] if shares else None, beside) for n, name in enumerate(sources)]
        held = [Source((name,), None, beside, strict=False) for name in _names(val)]
        start = (resume, str(init) if init else None, trust_remote_code, Path(weights) if weights else None)
        kept = Path(features) if features else None
        options = TrainOptions(
            Path(out), given, held, *start, kept, device, compile, workers, tensorboard, wandb, measure
        )
        with tokenizer_from(tokenizer):
            outcome = train_recipe(load_recipe(str(recipe), settings or []), options)
        if outcome.asked == Wish.INTERRUPT:
            raise KeyboardInterrupt
        return Trained(Path(out), outcome)


@_renamed(batch="batch_size", threads="workers")
def evaluate(
    checkpoint: Named | Trained,
    benchmark: str | Sequence[str] | Mapping[str, Named],
    out: Named,
    *,
    split: str | None = None,
    limit: int | None = None,
    device: str = "auto",
    gpus: int | None = None,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    batch_size: int = 8,
    windows: int = 8,
    workers: int = 4,
    protocol: Literal["groupvit", "clip"] = "groupvit",
    templates: Literal["simple", "subset", "full"] | None = None,
    prompts: Literal["first", "all"] | None = None,
    background_words: str | Sequence[str] | None = None,
    vocabulary: Named | IndexFolder | None = None,
    distractors: int = 0,
    as_released: bool = False,
    sweep_background: bool = False,
    skip_bad: bool = False,
    gallery: int = 8,
    overwrite: bool = False,
    trust_remote_code: bool = False,
    tokenizer: Named | None = None,
    dense: str | None = None,
    dense_pictures: Named | None = None,
    part: str | None = None,
    quiet: bool = False,
    command: Sequence[str] = ("cocu.evaluate",),
) -> Evaluated:
    """Measure zero-shot segmentation; figures and pictures come into the folder `out`.

    checkpoint: a run, a checkpoint's folder, or another model as `cocu eval --help` has it. benchmark: {card: path}, or
    "CARD=PATH". protocol: whose rules. background_words: words, or "auto" for those of the index `vocabulary`;
    distractors: so many further names of it stand beside the classes in a second measure. dense: how cells of a CLIP
    are read, or "auto": as is best on its benchmarks' pictures without labels, or those of the folder dense_pictures.
    part: "I/N" counts part I of the pictures, "finish" adds up all. gpus, engine, address: as of `build_index`. What
    results.json says that it was made by is command. More: `cocu eval --help`. Raises MisuseError for arguments that
    are wrong, CocuError for a picture that cannot be read (with skip_bad they are left out).

        cocu.evaluate("runs/mini/best", {"voc2012": "VOCdevkit"}, "runs/results").miou
    """
    given = locals()
    with _at_work(quiet):
        from evaluation.asked import evaluate_as_asked

        return evaluate_as_asked(**given)


def main() -> None:
    """The command line."""
    if said := shadow():
        print(f"error: {said}", file=sys.stderr)
        sys.exit(2)
    importlib.import_module("cli.main").main()  # by its name: the shell's face stands on this one


def shadow() -> str | None:
    """What stands before one of our packages on Python's path, in a line; None where nothing does."""
    house = Path(__file__).resolve().parent
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None:
            return f"{house / name}: is missing; install cocu again"
        found = Path(next(iter(spec.submodule_search_locations or ()), spec.origin or ""))
        if found.resolve() != house / name:
            return (
                f"{found}: stands before cocu's own {name!r} ({house / name}) on Python's path; "
                "work in another folder, rename it, or take its folder out of PYTHONPATH"
            )
    return None


@contextmanager
def _at_work(quiet: bool = False) -> Iterator[None]:
    if said := shadow():
        raise ImportError(said)
    from files.saying import quietly

    with quietly(quiet):
        yield


def _names(given: Any) -> list[str]:
    """One name or several, of files or of our folders, as the command line has them."""
    from files.remote_folders import address_of

    return _several(given, lambda folder: address_of(folder.path / "shards"))


def _several(given: Any, name: Callable[[Any], Named]) -> list[str]:
    several = [] if given is None else [given] if isinstance(given, Named) or hasattr(given, "path") else given
    return [str(name(one) if hasattr(one, "path") else one) for one in several]


def _path(given: Any, **options: Any) -> Path:
    """Of a folder; of one that lies elsewhere its copy. options: of `local_folder`."""
    from files.remote_folders import local_folder

    return local_folder(getattr(given, "path", given), **options)


def __getattr__(name: str) -> Any:
    if name in ("CocuError", "MisuseError"):
        return getattr(importlib.import_module("files.errors"), name)
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("cocu")
    raise AttributeError(f"module 'cocu' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


if __name__ == "__main__":
    main()
