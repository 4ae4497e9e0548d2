"""Options from a file (--config), options into a file (--save-config), and a log for programs (--log-json).

The file is a YAML mapping, of the names of options without their dashes, and of arguments in small letters. What is
typed beside it overrules it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperArgument

from cli.command import Command
from cli.described import describe
from cli.old_names import OLD_NAMES


def _kept(
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE.yaml", help="Take options from this file. What is typed overrules it."),
    ] = None,
    save_config: Annotated[
        Path | None,
        typer.Option(metavar="FILE.yaml", help="Write the options that are given to this file, for --config."),
    ] = None,
    log_json: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Add what is said and how far it is to this file, as lines of JSON, for programs."
        ),
    ] = None,
) -> None: ...


_app = typer.Typer(add_completion=False)
_app.command()(_kept)
OPTIONS = tuple(typer.main.get_command(_app).params)
KEPT = tuple(option.name for option in OPTIONS)


def working(**registries: Any) -> type[LongWork]:
    """The class of such a command, whose help lists, for each of these options, what its registry holds."""
    return type("Working", (LongWork,), {"registries": registries})


class LongWork(Command):
    """A command that works for long, with these options besides its own."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.params = [*self.params, *OPTIONS]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read --config, too."""
        words = self.today(ctx, args)
        typed, _, _ = self.make_parser(ctx).parse_args(list(words))
        if typed.get("config") is not None and not ctx.resilient_parsing:
            given = {name for name, value in typed.items() if value not in (None, ())}
            words = [*_words_of(Path(typed["config"]), self.params, given, ctx), *words]
        return super().parse_args(ctx, words)

    def invoke(self, ctx: Any) -> Any:
        """Run the command, its options kept and its doings logged."""
        config, save, log = (ctx.params.pop(name) for name in KEPT)
        from files.event_log import log_event, logged_to

        leads = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun starts, one
        if save is not None and leads:
            _save(save, self.params, ctx)
        with logged_to(log if leads else None):
            log_event("begins", command=" ".join(ctx.command_path.split()), config=str(config) if config else None)
            try:
                answer = super().invoke(ctx)
            except BaseException as error:
                message, code = describe(error)
                log_event("ends", exit_code=code, message=message)
                raise
            log_event("ends", exit_code=0, message="")
            return answer


def _words_of(file: Path, params: Sequence[Any], given: set[str], ctx: Any) -> Iterator[str]:
    """The words that stand for what a file says, without what was typed. Raises MisuseError."""
    import difflib

    from files.errors import MisuseError

    values, places = _read(file)
    known = {_key(param): param for param in params if param.name not in KEPT}
    for name, value in values.items():
        key = name if name in known else OLD_NAMES.get(f"--{name}", f"--{name}").removeprefix("--")
        param, where = known.get(key), f"--config {places.get((name,), str(file))}: {name}"
        if param is None:
            near = difflib.get_close_matches(str(name), list(known), 1, 0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise MisuseError(f"{where}: is no option of {' '.join(ctx.command_path.split())}{hint}")
        if value is None:
            continue
        several = param.nargs == -1 or getattr(param, "multiple", False)
        items = value if isinstance(value, list) and several else [value]
        flag = getattr(param, "is_flag", False)
        if any(isinstance(item, list | dict) or isinstance(item, bool) != flag for item in items):
            wanted = "true or false" if flag else "a value, or a list of them" if several else "one value"
            raise MisuseError(f"{where}: give {wanted}, in quotes where YAML reads it otherwise")
        if param.name not in given:
            yield from _typed(param, items)


def _typed(param: Any, items: Sequence[Any]) -> Iterator[str]:
    for item in items:
        if isinstance(param, TyperArgument):
            yield str(item)
        elif not isinstance(item, bool):
            yield f"{max(param.opts, key=len)}={item}"
        elif item or param.secondary_opts:
            yield max(param.opts if item else param.secondary_opts, key=len)


def _save(file: Path, params: Sequence[Any], ctx: Any) -> None:
    """What was typed, or taken from a file, as YAML."""
    from files.atomic import alone
    from files.strict_yaml import flow_yaml

    told = {
        _key(param): _plain(ctx.params[param.name])
        for param in params
        if param.name not in KEPT and ctx.get_parameter_source(param.name).name == "COMMANDLINE"
    }
    told = {key: value for key, value in told.items() if value not in (None, [])}
    lines = [
        f"# {' '.join(ctx.command_path.split())} --config FILE",
        *(f"{k}: {flow_yaml(v)}" for k, v in told.items()),
    ]
    with alone(file) as temporary:
        temporary.write_text("\n".join([*lines, ""]), "utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _key(param: Any) -> str:
    return str(param.name if isinstance(param, TyperArgument) else max(param.opts, key=len).removeprefix("--"))


def _read(file: Path) -> tuple[dict[str, Any], dict[Any, str]]:
    from files.bounded_text import bounded_text
    from files.errors import MisuseError
    from files.strict_yaml import MOST_BYTES, YamlFault, parse_yaml

    try:
        values, lines = parse_yaml(bounded_text(file, MOST_BYTES))
    except YamlFault as fault:
        raise MisuseError(f"--config {file}{f':{fault.line}' if fault.line else ''}: {fault}") from None
    except ValueError as error:
        raise MisuseError(f"--config {file}: {error}") from None
    except OSError as error:
        raise MisuseError(f"--config {file}: {error.strerror}") from None
    if not isinstance(values, dict):
        raise MisuseError(f"--config {file}: holds no options; --save-config writes one that does")
    return values, {keys: f"{file}:{line}" for keys, line in lines.items()}
