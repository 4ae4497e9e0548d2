"""The commands `cocu eval ...`: argument handling and printing only."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.command import DEFAULT, Commands, RunUnlessNamed
from cli.kept_options import LongWork
from cli.named_entries import completion
from cli.options import DeviceOption, TrustOption
from cli.printing.lines import tell
from cli.team import AddressOption, EngineOption, GpusOption

KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}  # of pictures, by their names' endings

app = Commands(cls=RunUnlessNamed, help="Measure zero-shot segmentation.")

PrecisionOption = Annotated[
    Literal["fp32", "bf16"], typer.Option(help="Precision of the encoders: fp32, or bf16, which is faster on a GPU.")
]
TEMPLATES = "How many sentences put a class to the text encoder: simple 1, subset 7, full 80."
TokenizerOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder with the tokenizer of an open_clip model.")
]
DENSE = (
    *("auto", "maskclip", "value", "query-query", "key-key", "value-value", "sclip", "clearclip", "naclip"),
    *("procrustes", "clip"),
)
CHECKPOINTS = (
    "The model: RUN/best, a folder or name (owner/name) of a GroupViT on Hugging Face, a .pth of the GroupViT release, "
    "open_clip:NAME@PRETRAINED, local-dir:FOLDER, or miniature; of these three, ?dense=MODE behind it reads cells so."
)


@app.command(name=DEFAULT, cls=LongWork, hidden=True)
def run(
    checkpoint: Annotated[str, typer.Argument(help=CHECKPOINTS)],
    benchmark: Annotated[
        list[str],
        typer.Option(metavar="NAME=PATH", help="A card, and where its data set lies. May be repeated."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the figures and pictures.")],
    split: Annotated[
        str | None, typer.Option(help="Split of the data sets to measure on.", show_default="the card's")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Measure so many pictures of each benchmark, spread evenly over it.")
    ] = None,
    device: DeviceOption = "auto",
    gpus: GpusOption = None,
    engine: EngineOption = "local",
    address: AddressOption = None,
    precision: PrecisionOption = "fp32",
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures that are segmented together.")] = 8,
    windows: Annotated[int, typer.Option(min=1, help="Windows that go through the model together.")] = 8,
    workers: Annotated[int, typer.Option(min=1, help="Threads of each process that decode pictures.")] = 4,
    protocol: Annotated[
        Literal["groupvit", "clip"],
        typer.Option(
            help="Whose rules to follow: GroupViT's, or those of papers that segment with a CLIP as it is, as SCLIP's."
        ),
    ] = "groupvit",
    templates: Annotated[
        Literal["simple", "subset", "full"] | None,
        typer.Option(metavar="NAME", help=TEMPLATES, show_default="the protocol's: simple, full"),
    ] = None,
    prompts: Annotated[
        Literal["first", "all"] | None,
        typer.Option(
            help="Of a class's words in the card take the first, as published figures do, or all, averaged. This is "
            "for --protocol groupvit.",
            show_default="first",
        ),
    ] = None,
    background_words: Annotated[
        str | None,
        typer.Option(
            metavar="WORDS",
            help='Words of the background under --protocol clip, as in "sky, wall", or auto, which takes frequent '
            "concepts of --vocabulary.",
            show_default="the card's",
        ),
    ] = None,
    vocabulary: Annotated[
        Path | None, typer.Option(metavar="INDEX", help="Take concepts of this folder of `cocu index build`.")
    ] = None,
    distractors: Annotated[
        int,
        typer.Option(min=0, help="Measure with so many names of --vocabulary beside the classes, too, and with fewer."),
    ] = 0,
    as_released: Annotated[
        bool,
        typer.Option(
            "--as-released",
            help="Do as GroupViT's own code to the last level: OpenCV's resizing, prompts averaged before unit length.",
        ),
    ] = False,
    sweep_background: Annotated[
        bool,
        typer.Option(
            "--sweep-background", help="Measure mIoU against the background's threshold, too. It is no result."
        ),
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave bad pictures out, count and list them, instead of stopping.")
    ] = False,
    gallery: Annotated[
        int, typer.Option(min=0, help="Show so many of the best, the worst and random pictures each; 0 shows none.")
    ] = 8,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the results that DIR holds.")] = False,
    trust_remote_code: TrustOption = False,
    tokenizer: TokenizerOption = None,
    dense: Annotated[
        str | None,
        typer.Option(
            metavar="MODE",
            help="How cells of an open_clip model are read: maskclip, sclip, clearclip, naclip, key-key ..., in the "
            "last N blocks MODE:N. auto takes what suits the benchmarks' pictures best, their masks unseen.",
            show_default="by the kind of model",
            autocompletion=completion(lambda: DENSE),
        ),
    ] = None,
    dense_pictures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="With --dense auto, choose on these pictures, not on the benchmarks'."),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Count part I of N of the pictures. Parts may run at once, on machines that share --out; when all "
            "have ended, give --part finish.",
        ),
    ] = None,
) -> None:
    """Measure a checkpoint, on all GPUs of this machine. Under torchrun, on as many as it starts processes for."""
    given = locals()
    import cocu
    from cli.printing.results import print_results

    measured = cocu.evaluate(**given, command=["cocu", *sys.argv[1:]])
    if measured.leads and measured.content["benchmarks"]:
        print_results(measured.content, out, with_gallery=gallery > 0)


@app.command()
def compare(
    results: Annotated[
        list[Path], typer.Argument(metavar="DIR DIR ...", help="Folders of results; the first is held against.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write comparison.md and a bar chart, comparison.png.")
    ] = None,
) -> None:
    """Put results side by side, with paired bootstrap differences from the first."""
    from cli.printing.results import print_comparison
    from evaluation.results.comparison import compare as compare_results
    from evaluation.results.comparison_files import write_comparison

    compared = compare_results(results)
    if out is not None:
        write_comparison(out, compared)
    print_comparison(compared, out)


@app.command()
def demo(
    checkpoint: Annotated[str, typer.Argument(help=CHECKPOINTS)],
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Any picture.")],
    classes: Annotated[str, typer.Option(metavar="WORDS", help='Words to look for, such as "dog, grass, sky".')],
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="File of the overlay, with a legend.")] = Path(
        "overlay.png"
    ),
    background: Annotated[
        float | None,
        typer.Option(metavar="SCORE", help="A pixel of less than this score is none of the words."),
    ] = None,
    short_side: Annotated[
        int | None,
        typer.Option(
            min=16,
            help="Shorter side of the picture, in pixels, as the model sees it.",
            show_default="448; as in its training if under 224",
        ),
    ] = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    templates: Annotated[Literal["simple", "subset", "full"], typer.Option(metavar="NAME", help=TEMPLATES)] = "simple",
    trust_remote_code: TrustOption = False,
    tokenizer: TokenizerOption = None,
) -> None:
    """Segment any picture by any words, and write it with a legend."""
    from evaluation.demo import demo as segment
    from evaluation.demo import words_of
    from evaluation.models.segmenters import load_segmenter
    from files.atomic import alone
    from files.text_towers import tokenizer_from
    from training.processes import joined

    words = words_of(classes)
    if out.suffix.lower() not in KINDS:
        raise typer.BadParameter(f"{out}: give a name that ends in .png", param_hint="--out")
    with joined(device, exact=True) as place:
        with tokenizer_from(tokenizer):
            segmenter = load_segmenter(checkpoint, place.device, precision, trust_remote_code)
        shown = segment(segmenter, image, words, background=background, short_side=short_side, templates=templates)
    with alone(out) as temporary:
        shown.picture.save(temporary, KINDS[out.suffix.lower()])
    for word, share in shown.shares.items():
        tell(f"{share:6.1%}  {word}")
    tell(f"wrote {out}")
