"""The command `cocu` itself: its speed, its version, and what becomes of an error."""

import errno
import os
import resource
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.main import describe
from files.errors import CocuError, MisuseError

COCU = Path(sysconfig.get_path("scripts")) / "cocu"

# Runs the real app with one more command, `fail`, which does what the test says.
FAILING = """
import os, signal, sys
from cli.main import app, main
from files.errors import CocuError, MisuseError

@app.command()
def fail() -> None:
    {body}

main()
"""


def cocu(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COCU, *arguments], capture_output=True, text=True, check=False)


def fail(
    body: str, *options: str, stdout: int | None = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[str]:
    ours = {"COCU_DEBUG", "PYTHONUNBUFFERED"}
    clean = {key: value for key, value in os.environ.items() if key not in ours}
    return subprocess.run(
        [sys.executable, "-c", FAILING.format(body=body), *options, "fail"],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env=clean | environment,
    )


def cpu_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_answers_at_once() -> None:
    cocu("--help")  # bytecode gets written once
    seconds = []
    for _ in range(3):
        before = cpu_seconds_of_children()
        done = cocu("--help")
        seconds.append(cpu_seconds_of_children() - before)
        assert done.returncode == 0, done.stderr
        assert all(word in done.stdout for word in ("Usage", "index", "curate", "--debug"))
    assert min(seconds) < 0.3


def test_loading_the_app_loads_nothing_heavy() -> None:
    program = (
        "import sys, cli.main; heavy = {'torch', 'numpy', 'open_clip', 'faiss', 'spacy', 'duckdb',"
        " 'pyarrow', 'PIL', 'webdataset', 'fsspec'}; print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize("command", [(), ("index",), ("curate", "run"), ("train",), ("eval",), ("explore",)])
def test_help_has_a_short_name_everywhere(command: tuple[str, ...]) -> None:
    short, long = cocu(*command, "-h"), cocu(*command, "--help")
    assert (short.returncode, short.stdout) == (0, long.stdout)


def test_version() -> None:
    done = cocu("--version")
    assert (done.returncode, done.stdout) == (0, f"cocu {version('cocu')}\n")


@pytest.mark.parametrize("arguments", [("nonsense",), ("--nonsense",), ("index", "nonsense")])
def test_misuse_ends_with_2(arguments: tuple[str, ...]) -> None:
    done = cocu(*arguments)
    assert done.returncode == 2
    assert "onsense" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("body", "exit_code", "stderr"),
    [
        ("raise CocuError('shard a.tar is cut short')", 1, "error: shard a.tar is cut short\n"),
        (
            "raise MisuseError('--keep 0: keep one or more')",
            2,
            "error: --keep 0: keep one or more\n",
        ),
        ("open('/nowhere/a.tar')", 1, "error: /nowhere/a.tar: No such file or directory\n"),
        ("open('/')", 1, "error: /: Is a directory\n"),
        ("raise TimeoutError('no answer from host')", 1, "error: no answer from host\n"),
        ("raise EOFError('compressed file ended early')", 1, None),
        ("raise MemoryError('3 GiB')", 1, "error: out of memory 3 GiB\n"),
        # Ctrl-C as the system sends it
        (
            "os.kill(os.getpid(), signal.SIGINT)",
            130,
            "interrupted; run the same command again to go on\n",
        ),
        # a worker's pipe, while our own output is read: not to be passed over
        ("raise BrokenPipeError(32, 'Broken pipe')", 1, "error: [Errno 32] Broken pipe\n"),
        ("sys.exit(3)", 3, ""),
        ("pass", 0, ""),
    ],
)
def test_an_error_becomes_a_message_and_an_exit_code(body: str, exit_code: int, stderr: str | None) -> None:
    done = fail(body)
    assert done.returncode == exit_code
    if stderr is not None:
        assert done.stderr == stderr
    assert "Traceback" not in done.stderr
    assert "Aborted" not in done.stderr


def test_ctrl_c_while_options_are_read_is_told_too() -> None:
    program = """
import os, signal
import cli.main as m
read = m._Commands.make_context
def interrupted(*arguments, **more):
    os.kill(os.getpid(), signal.SIGINT)
    return read(*arguments, **more)
m._Commands.make_context = interrupted
m.main(["index", "info", "x"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted; run the same command again to go on\n")


def test_anything_else_is_called_a_bug_in_two_lines() -> None:
    done = fail(r"raise ValueError('shapes (3,)\n and (4,)')")
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first == "error: ValueError: shapes (3,) and (4,)"
    assert "bug in cocu" in second
    assert "--debug" in second


@pytest.mark.parametrize(
    ("options", "environment", "shown"),
    [
        ((), {}, False),
        (("--debug",), {}, True),
        ((), {"COCU_DEBUG": "1"}, True),
        ((), {"COCU_DEBUG": "0"}, False),
    ],
)
def test_traceback_only_when_asked_for(options: tuple[str, ...], environment: dict[str, str], shown: bool) -> None:
    done = fail("raise CocuError('no disk')", *options, **environment)
    assert done.returncode == 1
    assert ("Traceback" in done.stderr) is shown
    assert done.stderr.endswith("error: no disk\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("body", ["print('x' * 1_000_000)", "print('x')"])
def test_a_reader_that_leaves_is_no_error(body: str, unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = fail(body, stdout=writer, PYTHONUNBUFFERED=unbuffered)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_error_is_told_even_when_nobody_reads_the_output() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = fail("print('x'); raise CocuError('bad shard')", stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, "error: bad shard\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_to_a_full_disk() -> None:
    with open("/dev/full", "w") as full:
        done = fail("print('x')", stdout=full.fileno())
    assert done.returncode == 1
    assert "disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_full_disk_names_the_file_and_the_way_out() -> None:
    no_space = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/embeddings/a.parquet")
    message, exit_code = describe(no_space)
    assert exit_code == 1
    assert message.startswith("error: writing out/embeddings/a.parquet: the disk is full")
    assert "run the same command again" in message

    message, _ = describe(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert "disk is full" in message


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, os.strerror(errno.EMFILE), "out/a.parquet"),
        RuntimeError('IO Error: Cannot open file "a.parquet": Too many open files'),
        MisuseError("shards: cannot be read: Too many open files"),
    ],
)
def test_too_many_open_files_name_the_limit(error: Exception) -> None:
    message, exit_code = describe(error)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert (exit_code, "bug" in message) == (1, False)
    assert message.endswith(
        f"limit of open files is {limit:,}: raise it (ulimit -n 4096), then run the same command again."
    )
    assert describe(CocuError("Too many open files: raise it (ulimit -n 4096)"))[0].count("ulimit") == 1


def test_system_errors_name_both_files() -> None:
    message, exit_code = describe(OSError(errno.EACCES, "Permission denied", "a.tmp", None, "a"))
    assert (message, exit_code) == ("error: a.tmp -> a: Permission denied", 1)


@given(st.text(), st.sampled_from([CocuError, MisuseError]))
def test_our_errors_speak_for_themselves(text: str, kind: type[CocuError]) -> None:
    assert describe(kind(text)) == (f"error: {text}", kind.exit_code)


def test_exit_codes_of_our_errors() -> None:
    assert (CocuError.exit_code, MisuseError.exit_code) == (1, 2)
    assert issubclass(MisuseError, CocuError)


def test_module_runs_as_the_command_does() -> None:
    done = subprocess.run([sys.executable, "-m", "cocu", "--version"], capture_output=True, text=True)
    assert done.stdout == cocu("--version").stdout


def test_completion_script_is_there() -> None:
    done = subprocess.run([COCU], env=os.environ | {"_COCU_COMPLETE": "source_bash"}, capture_output=True, text=True)
    assert "complete" in done.stdout


UNDECODABLE = {
    "eval": ["eval", "caf\udce9", "--benchmark", "miniature=val", "--out", "out"],
    "eval, the benchmark's path": ["eval", "miniature", "--benchmark", "miniature=caf\udce9", "--out", "out"],
    "eval, its output": ["eval", "miniature", "--benchmark", "miniature=val", "--out", "caf\udce9"],
    "demo": ["eval", "demo", "miniature", "picture.png", "--classes", "caf\udce9"],
    "index": ["index", "build", "caf\udce9", "--model", "miniature", "--out", "out"],
    "query": ["curate", "query", "index", "caf\udce9"],
    "data": ["data", "check", "miniature=caf\udce9"],
    "train": ["train", "miniature", "--data", "caf\udce9", "--out", "out"],
    "a command": ["caf\udce9"],
}


@pytest.mark.parametrize("kind", UNDECODABLE)
def test_an_argument_that_is_no_text_is_misuse_and_nothing_is_written(kind: str, tmp_path: Path) -> None:
    raw = [os.fsencode(argument) for argument in UNDECODABLE[kind]]
    done = subprocess.run([os.fsencode(COCU), *raw], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "caf\\xe9" in done.stderr
    assert "is not UTF-8" in done.stderr
    assert "bug" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_argument_in_any_script_is_text() -> None:
    done = cocu("eval", "草/café", "--benchmark", "miniature=val", "--out", "out")
    assert "is not UTF-8" not in done.stderr


def test_long_messages_are_cut_and_what_torch_says_of_memory_is_said_plainly() -> None:
    done = fail("raise CocuError('name ' + 'x' * 5_000_000 + ' is unknown')")
    assert done.returncode == 1
    assert len(done.stderr) < 3000
    assert done.stderr.startswith("error: name xxx")
    assert done.stderr.endswith("xxx is unknown\n")
    done = fail(r"raise MisuseError('a\n' * 5000)")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 61)
    assert done.stderr.endswith("... and 4,941 lines more\n")
    done = fail('raise RuntimeError("[enforce fail] DefaultCPUAllocator: can\'t allocate memory: 8000000000 bytes")')
    assert done.returncode == 1
    assert done.stderr.startswith("error: out of memory ([enforce fail]")
    assert "bug" not in done.stderr


def test_ctrl_c_within_a_finaliser_is_not_lost() -> None:
    late = 'type("Late", (), {"__del__": lambda self: [os.kill(os.getpid(), signal.SIGINT) for _ in range(2)]})'
    done = fail(f"import time; late = {late}(); del late; time.sleep(20); print('went on')")
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted; run the same command again to go on\n"
