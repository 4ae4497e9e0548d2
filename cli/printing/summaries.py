"""What the commands print when they are done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.printing.lines import tell

if TYPE_CHECKING:
    from curation.index.search import Neighbour

MOST_FOLDERS = 3  # of sources, named in a line


def _table(title: str, rows: list[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from files.printable import printable

    rows = [(name, printable(value)) for name, value in rows]
    console = Console(soft_wrap=True)
    if not console.is_terminal:
        tell(title)
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            tell(f"  {name:<{width}}  {value}")
        return
    # Text, not markup: a path may hold brackets.
    table = Table(title=Text(printable(title)), show_header=False, title_justify="left")
    for name, value in rows:
        table.add_row(name, Text(value))
    console.print(table)


def rejects_told(summary: Mapping[str, Any]) -> str:
    """What was left out, why, and the share of it in all that was read; "0" for nothing."""
    rejects = summary["rejects"]
    total = sum(rejects.values())
    if not total:
        return "0"
    listed = ", ".join(f"{count:,} {reason}" for reason, count in rejects.items())
    share = total / (total + summary["pairs"] + summary.get("extra_captions", 0))
    return f"{total:,} ({listed}), {share:.1%} of what was read"


def _rejects(summary: Mapping[str, Any], path: Path) -> str:
    told = rejects_told(summary)
    return told if told == "0" else f"{told}; each with its reason in {path / 'rejects.parquet'}"


def _seconds(seconds: dict[str, float], parts: dict[str, str] | None = None) -> str:
    """Stages and their seconds; `parts` names stages that are a part of the one before: part -> how to say it."""
    parts = parts or {}
    listed: list[str] = []
    for name, value in seconds.items():
        if name in parts:
            listed[-1] += f" ({parts[name]} {value:,.1f})"
        else:
            listed.append(f"{name} {value:,.1f}")
    total = sum(value for name, value in seconds.items() if name not in parts)
    return f"{total:,.1f}: " + ", ".join(listed)


def print_index(path: Path, manifest: dict[str, Any]) -> None:
    """The closing summary of `cocu index build`, and `cocu index info`."""
    from curation.runs.progress import size_text

    summary, parameters = manifest["summary"], manifest["parameters"]
    encoder = " ".join(filter(None, [parameters["model"], parameters["pretrained"]]))
    rows = [
        *([("version", _grown(manifest))] if "version" in manifest else []),
        ("pairs", f"{summary['pairs']:,} in {_shards(manifest['pair_shards'])}"),
        ("extra captions", f"{summary['extra_captions']:,}"),
        ("rejects", _rejects(summary, path)),
        *([("embeddings", _embeddings(summary, parameters))] if "embeddings" in summary else []),
        ("concepts", f"{summary['concepts']:,}, {_how_concepts(parameters)}"),
        ("encoder", f"{encoder}, {manifest['dim']} dimensions, {parameters['precision']}"),
        ("spaCy pipeline", parameters["noun_pipeline"]),
    ]
    for name, built in manifest["indexes"].items():
        rows.append(
            (
                f"{name}.faiss",
                f"{built['vectors']:,} vectors, {built['factory']}, {size_text(built['bytes'])}, "
                f"recall@{built['recall_k']} {built['recall']:.4f} on {built['recall_queries']:,} queries"
                + "".join(f", @{deep['k']:,} {deep['recall']:.4f}" for deep in built.get("deeper", ())),
            )
        )
    if parameters["caption_field"]:
        which = "all of them for concepts, the first embedded" if parameters["caption_all_captions"] else "the first"
        rows.append(("captions", f"from the .json field {parameters['caption_field']}; of several, {which}"))
    if summary["cut_captions"]:
        limit = parameters["noun_max_chars"]
        rows.append(("long captions", f"{summary['cut_captions']:,} were read up to character {limit:,}"))
    if summary["repeated_keys"]:
        rows.append(("repeated keys", f"{summary['repeated_keys']:,} keys occur in several shards; all are kept"))
    rows.append(("seconds", _seconds(summary["stage_seconds"], {"forward": "forward passes"})))
    rows.append(("made by", f"cocu {manifest['versions'].get('cocu', '?')}"))
    if knowledge := summary.get("encoder_knowledge"):
        rows.append(("encoder knows", _known(knowledge)))
    _table(f"index {path}", rows)


def _grown(manifest: dict[str, Any]) -> str:
    """Of an index that grew, its version and how much it has more than the one before."""
    from curation.index.index_manifest import growth_since

    before = manifest["older_versions"][-1]
    return f"{manifest['version']}: {growth_since(manifest, before)} since version {before['version']}"


def _of_version(curated: dict[str, Any]) -> str:
    made = curated["parameters"]
    return (
        f"its version {curated['index_version']}: {made['index_rows']:,} captions, {made['index_concepts']:,} concepts"
    )


def _embeddings(summary: Mapping[str, Any], parameters: Mapping[str, Any]) -> str:
    """How many were there already, and what was left of them."""
    made = parameters["embeddings"]
    unused = summary["unused_embeddings"]
    why = "of no pair of the shards, or of a reject" if made["matched"] else "of rejects"
    return f"{summary['embeddings']:,} from {made['folder']}, {unused:,} of them unused{f', {why}' if unused else ''}"


def _shards(count: int) -> str:
    return f"{count:,} shard{'s' if count != 1 else ''}"


def _how_concepts(parameters: dict[str, Any]) -> str:
    count = parameters["min_count"]
    said = [f"each named by at least {count} captions" if count > 1 else "each named by a caption"]
    said += [f"language {parameters['noun_language']}"] if "noun_language" in parameters else []
    said += [f"embedded as {parameters['prompt']!r}"] if "prompt" in parameters else []
    said += ["with adjectives"] if parameters["noun_adjectives"] else []
    said += ["with names"] if parameters["noun_names"] else []
    said += [f"only those listed in {parameters['vocabulary']}"] if parameters["vocabulary"] else []
    return ", ".join(said)


def _localised(counts: dict[str, int], parameters: dict[str, Any]) -> str:
    said = [f"{counts['looked for']:,} concepts looked for"]
    if parameters.get("min_peak") is not None:
        said.append(f"those of a peak below {parameters['min_peak']:g} left out, but for the caption's own")
    if counts.get("unreadable"):
        said.append(f"{counts['unreadable']:,} pictures could not be decoded and have neither box nor peak")
    return "; ".join(said)


def print_curated(path: Path, manifest: dict[str, Any]) -> None:
    """The closing summary of `cocu curate run`."""
    summary, parameters = manifest["summary"], manifest["parameters"]
    output = parameters.get("shards_format") or parameters.get("output", "shards")
    recovered = ", ".join(f"{concept} {count:,}" for concept, count in summary["top_recovered"])
    kept = f"the best {parameters['keep']}" if parameters.get("keep") else "all"
    kept += f" from score {parameters['min_score']:g}" if parameters.get("min_score") is not None else ""
    kept += f" with confidence {parameters['confidence']:g} or more" if parameters.get("confidence") else ""
    if kept != "all":
        kept += " and the caption's own"
    neighbours = manifest.get("support", parameters).get("neighbours") or 8
    not_kept = ", ".join(
        f"{count / max(1, summary['pairs']):.1f} {reason}"
        for reason, count in summary.get("not_kept", {}).items()
        if count
    )
    unenriched, own, rare = (summary.get(name, 0) for name in ("unenriched", "left_out", "unknown"))
    field = parameters.get("write_caption")
    way = f"{unenriched:,} pairs have none in their .json: a value stands on the way to {field}"
    rows = [
        ("pairs", f"{summary['pairs']:,}"),
        ("rejects", _rejects(summary, path)),
        *([("index", _of_version(manifest))] if "index_version" in manifest else []),
        *([("enriched captions", way)] if unenriched else []),
        *([("localised", _localised(summary["localised"], parameters))] if "localised" in summary else []),
        (
            "method",
            f"expansion {parameters['expansion']}, {neighbours} neighbours, ranking "
            f"{parameters['ranking']}{_weight(manifest)}, {kept} kept{_merging(parameters)}",
        ),
        *([("own captions", f"{own:,} left out of what was retrieved: they tell nothing new")] if own else []),
        *([("rare concepts", f"{rare:,} of captions left out: the index's vocabulary has them not")] if rare else []),
        *([("tags", _tags(summary["tags"], manifest["tags"]))] if "tags" in summary else []),
        ("concepts per pair", f"{summary['concepts_per_pair']:.1f}, its caption's own included"),
        *([("not kept", f"per pair {not_kept}")] if not_kept else []),
        ("gained a concept", f"{summary['gained_share']:.1%} of the pairs"),
        ("most recovered", recovered or "none"),
        ("seconds", _seconds(summary["stage_seconds"], {"write": "writing beside them"})),
        *_left(path, output),
        ("tables", f"{path / 'tables'}; ask them with `cocu curate query`"),
        *_open_clip(path, manifest, output),
        ("train with", _training(path, manifest, output)),
    ]
    _table(f"curated {path}", rows)


def _left(path: Path, output: str) -> list[tuple[str, str]]:
    """What there is besides the tables."""
    shards = path / "shards"
    said = {
        "shards": str(shards),
        "sidecar": f"{shards}, of concepts alone, to be read beside the source's",
        "parquet": f"{shards}; datasets.load_dataset('parquet', data_files='{shards}/*.parquet') reads them",
    }
    return [("shards", said[output])] if output in said else []


def _training(path: Path, manifest: Mapping[str, Any], output: str) -> str:
    """The command that trains on a curation, as a shell takes it."""
    import shlex

    from files.addresses import REMOTE_SCHEMES
    from files.remote_folders import address_of
    from files.synced import remote_address

    recipe = "miniature_cocu" if manifest["parameters"].get("index_model") == "miniature" else "groupvit_cc3m_cocu"
    if output in ("shards", "parquet"):
        data = ["--data", str(path / "shards")]
        if address := remote_address(address_of(path)):  # where nobody counts them
            if address.partition(":")[0] not in REMOTE_SCHEMES:
                return "a copy of these shards on a disk: they are not read from addresses of this kind"
            data.append(f"data.samples={manifest['summary']['pairs']}")
    else:
        urls = [item["url"] for item in manifest["inputs"]]
        tables = [item["url"] for item in manifest["inputs"] if item["rows"]]
        whole = len(set(tables)) == len(tables) and all(url.endswith(".parquet") for url in tables)
        if not whole or not all(map(_holds_pictures, tables[:1])):
            return (
                "nothing: these pairs lie neither in tars nor, each file in one part, in Parquet with their pictures; "
                "curate them into whole tars"
            )
        folders = list(dict.fromkeys(url.rpartition("/")[0] for url in urls))
        named = folders if len(folders) <= MOST_FOLDERS and "://" not in "".join(urls) else ["SHARDS"]
        data = [*(part for folder in named for part in ("--data", folder)), "--concepts", str(path)]
    return shlex.join(["cocu", "train", recipe, *data, "--out", "RUN"])


def _holds_pictures(url: str) -> bool:
    """Whether a Parquet file has a column that can be pictures; what cannot be asked quickly may."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from files.picture_tables import has_bytes

    if "://" in url:
        return True
    try:
        kinds = pq.read_schema(url).types
    except (OSError, pa.ArrowException):
        return True
    return any(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or has_bytes(kind) for kind in kinds)


def _open_clip(path: Path, manifest: Mapping[str, Any], output: str) -> list[tuple[str, str]]:
    """The command of open_clip's trainer, where there are captions for it that it can read."""
    import shlex

    from files.braces import braced

    field, shards = manifest["parameters"].get("write_caption"), sorted(manifest["shards"])
    if not field or "." in field or output != "shards":
        return []
    data = ["--train-data", f"{path / 'shards'}/{braced(shards)}.tar", "--train-num-samples"]
    data += [str(manifest["summary"]["pairs"]), "--json-text-key", field]
    command = ["python", "-m", "open_clip_train.main", "--dataset-type", "webdataset", *data]
    return [("open_clip", shlex.join(command))]


def _tags(found: Mapping[str, Any], fit: Mapping[str, Any]) -> str:
    """How many tags joined, what the fit made of them, and what of them was left out."""
    steps = fit["log_odds"]
    adds = f"{steps[0]:+.1f}" + (f" to {steps[-1]:+.1f}, by score" if len(steps) > 1 else "")
    share = fit["of_them_named"] / max(1, fit["tags"])
    said = f"{found['joined']:,} joined; a tag adds {adds} to log-odds, silence {fit['silent']:+.1f}"
    said += f" (held-out captions name {share:.0%} of {fit['tags']:,} tags)"
    left = [f"{found['of_no_pair']:,} of no pair"] if found["of_no_pair"] else []
    left += [f"{found['repeated']:,} given twice"] if found["repeated"] else []
    left += [f"{found['unknown']:,} of no concept ({found['examples']})"] if found["unknown"] else []
    return f"{said}; left out {', '.join(left)}" if left else said


def print_nearest(found: list[Neighbour]) -> None:
    """The table of `cocu index search`."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from files.printable import printable

    console = Console()
    if not console.is_terminal:
        tell("similarity\tshard\tkey\tcaption")
        for near in found:
            cells = "\t".join(map(printable, (near.shard, near.key, near.caption)))
            tell(f"{near.similarity:.4f}\t{cells}")
        return
    table = Table("similarity", "caption", "key", "shard")
    for near in found:
        texts = [Text(printable(text)) for text in (near.caption, near.key, near.shard)]
        table.add_row(f"{near.similarity:.4f}", *texts)
    console.print(table)


def _merging(parameters: Mapping[str, Any]) -> str:
    words = {
        "merge": "word families merged",
        "synonyms": "synonyms merged",
        "grounded": "what no picture shows left out",
    }
    return "".join(f", {text}" for name, text in words.items() if parameters.get(name))


def _weight(manifest: Mapping[str, Any]) -> str:
    return f" at picture weight {manifest['picture']['weight']:g}" if "picture" in manifest else ""


def _known(knowledge: Mapping[str, Any]) -> str:
    nearest, concepts = knowledge["nearest"], knowledge["concepts"]
    return (
        f"{knowledge['share']:.1%} of what captions name is among the {nearest:,} of {concepts:,} concepts nearest to "
        f"its picture (by chance {nearest / concepts:.1%}, at best 100%): the higher, the more `cocu curate run` "
        "goes by pictures"
    )
