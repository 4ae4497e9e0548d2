"""Python code that comes with a model's files: it runs where a person has said so by hand, and nowhere else.

transformers runs such code where a file says that it may (`trust_remote_code` among a tokenizer's settings), and where
none does asks on the terminal. Here a file has no say, and nobody is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

from files.errors import MisuseError

OPTION = "--trust-remote-code"
_TRUSTED: ContextVar[bool] = ContextVar("trusted", default=False)


@contextmanager
def trusting(trusted: bool) -> Iterator[None]:
    """Inside the block what nobody asks for trust, such as a checkpoint that rebuilds its model, has this one."""
    before = _TRUSTED.set(trusted)
    try:
        yield
    finally:
        _TRUSTED.reset(before)


@contextmanager
def remote_code(trusted: bool | None = None) -> Iterator[None]:
    """Inside the block transformers loads code of a model's folder or repository only if it is `trusted`.

    None: as `trusting` says around it, else not. Without trust its own classes are taken where it has some for that
    kind of model. Raises MisuseError, which names what brings the code and the option, where it has none or they do not
    do.
    """
    from unittest.mock import patch

    from transformers import dynamic_module_utils
    from transformers.models.auto import auto_factory, configuration_auto, tokenization_auto

    trusted = _TRUSTED.get() if trusted is None else trusted
    left_out: list[object] = []

    def decide(_asked: object, name: object, has_local_code: bool, has_remote_code: bool, *_: Any, **__: Any) -> bool:
        if has_remote_code and not trusted:
            left_out.append(name)
            if not has_local_code:
                raise _refusal(name)
        return trusted

    def refuse(_class: object, module: object, *_: Any, **__: Any) -> None:
        raise _refusal(module)

    with ExitStack() as changed:
        for module in (auto_factory, configuration_auto, tokenization_auto):
            changed.enter_context(patch.object(module, "resolve_trust_remote_code", decide))
        if not trusted:  # whatever way leads there
            changed.enter_context(patch.object(dynamic_module_utils, "get_class_in_module", refuse))
        try:
            yield
        except Exception as error:
            if left_out and OPTION not in str(error):  # whatever else it is taken for further in
                raise _refusal(left_out[0]) from error
            raise


def _refusal(name: object) -> MisuseError:
    return MisuseError(
        f"{name}: brings Python code of its own, which is not run, and cannot be loaded without; "
        f"read the code, and where you trust it give {OPTION}"
    )
