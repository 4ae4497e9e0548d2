"""What is told of an error, and the exit code that it ends a command with."""

import errno
import os
import re
import resource

INTERRUPTED = 130  # 128 + SIGINT, as shells report it
DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
# As torch says it, of CPUs and of GPUs, and C++.
_NO_MEMORY = re.compile(r"can't allocate memory|out of memory|bad_alloc|bad allocation", re.IGNORECASE)
BUG = "This is a bug in cocu; `cocu --debug ...` with the same arguments shows the traceback."


def describe(error: BaseException) -> tuple[str, int]:
    """The message for a person and the exit code for `error`.

    An error with an integer `exit_code` is one of ours and speaks for itself; system errors name
    their file; everything else is a bug. Where files that are open were too many, whoever met it, the limit is named.
    """
    message, exit_code = _described(error)
    if os.strerror(errno.EMFILE) in message and "ulimit" not in message:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        advice = f"The limit of open files is {limit:,}: raise it (ulimit -n 4096), then run the same command again."
        return f"{message.removesuffix(BUG).rstrip()}\n{advice}", 1
    return message, exit_code


def _described(error: BaseException) -> tuple[str, int]:
    from files.errors import one_line, shortened

    exit_code = getattr(error, "exit_code", None)
    if isinstance(exit_code, int):
        return f"error: {shortened(str(error))}", exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; run the same command again to go on", INTERRUPTED
    if isinstance(error, OSError):
        return f"error: {_describe_system_error(error)}", 1
    if isinstance(error, MemoryError):
        return f"error: out of memory {error}".rstrip(), 1
    if isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)):
        return f"error: out of memory ({one_line(error)}); give smaller batches, or a smaller model", 1
    what = one_line(f"{type(error).__name__}: {error}", 1000).removesuffix(":")
    return f"error: {what}\n{BUG}", 1


def _describe_system_error(error: OSError) -> str:
    given = (error.filename, error.filename2)
    names = [os.fsdecode(name) for name in given if isinstance(name, str | bytes | os.PathLike)]
    if error.errno in DISK_FULL:
        where = f"writing {names[-1]}" if names else "writing a file that the system does not name"
        return (
            f"{where}: the disk is full ({error.strerror}). What was finished is kept: "
            "free some space or choose another --out, then run the same command again."
        )
    if names:
        return f"{' -> '.join(names)}: {error.strerror or type(error).__name__}"
    return str(error) or type(error).__name__
