"""The plan's executor, with real processes: what is done is left out, what failed is said, nothing is left running."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.reproduce import __main__ as command
from benchmarks.reproduce.executor import execute
from benchmarks.reproduce.remaining import remaining
from benchmarks.reproduce.steps import PLAN, Folder, Step
from files.errors import MisuseError
from files.locks import locked
from files.machine import cores
from tests.examples import examples
from tests.integration.processes import at_work


def shell(name: str, script: str, *needs: str, **more: object) -> Step:
    return Step(name, ("bash", "-c", script), needs=needs, **more)  # type: ignore[arg-type]


def run(steps: list[Step], out: Path, jobs: int = 2, cores: int = 2) -> tuple[list[str], str]:
    said: list[str] = []
    lost = execute(steps, Folder(out), jobs, cores, said.append)
    return lost, "\n".join(said)


def noted(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    steps = [shell("a", f"echo a >> {ran}"), shell("b", f"echo b >> {ran}", "a")]
    assert run(steps, tmp_path / "out")[0] == []
    assert noted(ran) == ["a", "b"]
    lost, said = run([*steps, shell("c", f"echo c >> {ran}", "b")], tmp_path / "out")
    assert (lost, noted(ran)) == ([], ["a", "b", "c"])
    assert "2 of 3 steps were done before" in said
    assert "[3 of 3] c: 0 s" in said
    record = json.loads((tmp_path / "out" / "steps" / "a.json").read_text())
    assert record["command"] == f"bash -c 'echo a >> {ran}'"
    assert record["machine"]["cores"] == cores()
    assert record["versions"]["python"] == sys.version.split()[0]


def test_what_a_step_wrote_and_somebody_deleted_is_made_again(tmp_path: Path) -> None:
    made = tmp_path / "made"
    steps = [shell("a", f"touch {made}", writes=(made,))]
    run(steps, tmp_path / "out")
    made.unlink()
    assert run(steps, tmp_path / "out")[0] == []
    assert made.exists()


def test_a_failure_takes_along_what_needs_it_and_nothing_else(tmp_path: Path) -> None:
    out, ran, cure = tmp_path / "out", tmp_path / "ran", tmp_path / "cure"
    steps = [
        shell("sick", f"echo before the end; echo the reason >&2; test -e {cure}"),
        shell("heir", f"echo heir >> {ran}", "sick"),
        shell("grandchild", f"echo grandchild >> {ran}", "heir"),
        shell("stranger", f"echo stranger >> {ran}"),
    ]
    lost, said = run(steps, out)
    assert lost == ["sick", "heir", "grandchild"]
    assert noted(ran) == ["stranger"]
    assert "sick: FAILED (exit code 1)" in said
    assert str(out / "logs" / "sick.txt") in said
    assert "the reason" in said
    cure.touch()
    assert run(steps, out)[0] == []
    assert noted(ran) == ["stranger", "heir", "grandchild"]


def test_a_step_that_ends_well_and_writes_nothing_has_failed(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    lost, said = run([shell("liar", "true", writes=(absent,))], tmp_path / "out")
    assert lost == ["liar"]
    assert f"{absent} is not there" in said


def test_standard_output_is_whole_or_not_there(tmp_path: Path) -> None:
    good, bad = tmp_path / "to" / "good.json", tmp_path / "to" / "bad.json"
    steps = [shell("good", "echo 1; echo beside >&2", stdout=good), shell("bad", "echo half; exit 3", stdout=bad)]
    lost, said = run(steps, tmp_path / "out")
    assert lost == ["bad"]
    assert "exit code 3" in said
    assert good.read_text() == "1\n"
    assert not bad.exists()
    assert "beside" in (tmp_path / "out" / "logs" / "good.txt").read_text()


def test_lanes_run_side_by_side_and_share_the_cores(tmp_path: Path) -> None:
    def meets(me: str, other: str) -> Step:
        wait = f"touch {tmp_path / me}; for i in {{1..100}}; do test -e {tmp_path / other} && exit 0; sleep 0.05; done"
        return shell(me, f"echo $OMP_NUM_THREADS > {tmp_path / me}.threads; {wait}; exit 1")

    assert run([meets("one", "two"), meets("two", "one")], tmp_path / "out", jobs=2, cores=6)[0] == []
    assert noted(tmp_path / "one.threads") == ["3"]


def test_a_step_that_takes_all_cores_is_alone(tmp_path: Path) -> None:
    times = tmp_path / "times"
    script = f"echo $OMP_NUM_THREADS >> {tmp_path}/threads; echo + >> {times}; sleep 0.3; echo - >> {times}"
    steps = [shell("before", script), shell("alone", script, alone=True), shell("after", script)]
    assert run(steps, tmp_path / "out", jobs=3, cores=6)[0] == []
    assert noted(times) == ["+", "-"] * 3
    assert noted(tmp_path / "threads") == ["2", "6", "2"]


@examples(10)
@given(
    needs=st.lists(st.sets(st.integers(0, 7), max_size=3), min_size=1, max_size=8),
    failing=st.sets(st.integers(0, 7), max_size=2),
    jobs=st.integers(1, 4),
)
def test_every_step_comes_after_what_it_needs(
    tmp_path_factory: pytest.TempPathFactory, needs: list[set[int]], failing: set[int], jobs: int
) -> None:
    folder = tmp_path_factory.mktemp("plan")
    wanted = {number: {other for other in some if other < number} for number, some in enumerate(needs)}
    steps = [
        shell(f"s{n}", f"echo {n} >> {folder / 'ran'}; exit {int(n in failing)}", *(f"s{other}" for other in others))
        for n, others in wanted.items()
    ]
    lost, _ = run(steps, folder / "out", jobs)
    ran = [int(number) for number in noted(folder / "ran")]
    hopeless = set[int]()
    for number, others in wanted.items():
        if number in failing or others & hopeless:
            hopeless.add(number)
    assert lost == [f"s{number}" for number in sorted(hopeless)]
    assert set(ran) == {n for n, others in wanted.items() if not others & hopeless}
    assert len(ran) == len(set(ran))
    for place, number in enumerate(ran):
        assert wanted[number] <= set(ran[:place])


# One folder, one plan.


def test_another_plan_on_the_folder_is_refused_and_both_are_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    steps = [shell("a", "true")]
    with locked(out, PLAN):
        Folder(out).begin({"preset": "smoke"}, steps)
        Folder(out).begin({"preset": "smoke"}, [*steps, shell("new", "true")])
        with pytest.raises(MisuseError, match=r"(?s)preset.*there: smoke.*now: +cpu"):
            Folder(out).begin({"preset": "cpu"}, steps)
        with pytest.raises(MisuseError, match=r"(?s)step a.*there: bash -c true.*now: +bash -c false"):
            Folder(out).begin({"preset": "smoke"}, [shell("a", "false")])
        with pytest.raises(MisuseError, match=r"step new"):
            Folder(out).begin({"preset": "smoke"}, [*steps, shell("new", "false")])


def test_a_folder_of_something_else_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(MisuseError, match=r"thesis\.tex"), locked(tmp_path, PLAN):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_wrong_arguments_end_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["--preset", "huge"], "huge"),
        (["--preset", "smoke", "--jobs", "0"], "--jobs 0"),
        (["--preset", "smoke", "--data", "x"], "--data x"),
        (["--preset", "cc3m"], "DATA"),
    ):
        assert command.main([*arguments, "--out", str(tmp_path / "out")]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_rest_is_judged_by_steps_of_the_same_kind(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for name, seconds in (("train-a", 100.0), ("train-b", 300.0), ("train-c", 200.0), ("eval-a", 10.0)):
        folder.mark(shell(name, "true"), seconds=seconds)
    train, evaluate, other = shell("train-d", ""), shell("eval-d", ""), shell("score-d", "")
    assert remaining([train, evaluate, train], folder, 1) == "; about 7 min left"
    assert remaining([train, train], folder, 2) == "; about 3 min left"
    assert remaining([train, other], folder, 1) == "; at least 3 min left"
    assert remaining([other], folder, 1) == ""


# Ends that come from outside.

SCRIPT = """
import sys
from pathlib import Path
from benchmarks.reproduce.executor import ended_by_signals, execute
from benchmarks.reproduce.steps import PLAN, Folder, Step
out = Path(sys.argv[1])
first = f"echo once >> {out}/first"
long = f"trap 'echo asked >> {out}/trap; exit 0' TERM; echo $$ > {out}/pid; "
long += f"while ! test -e {out}/go; do sleep 0.05; done"
steps = [Step("first", ("bash", "-c", first)), Step("long", ("bash", "-c", long), needs=("first",))]
try:
    with ended_by_signals():
        lost = execute(steps, Folder(out), 2, 2)
except KeyboardInterrupt:
    sys.exit(130)
sys.exit(bool(lost))
"""


def start(out: Path, root: Path) -> "subprocess.Popen[bytes]":
    out.mkdir(exist_ok=True)
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(out)], cwd=root, start_new_session=True)


def wait_for(path: Path) -> str:
    for _ in range(600):
        if path.exists() and (text := path.read_text()).strip():
            return text
        time.sleep(0.05)
    raise AssertionError(f"{path} does not come")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_end_from_outside_ends_the_steps_and_the_next_run_goes_on(
    tmp_path: Path, root: Path, number: signal.Signals
) -> None:
    out = tmp_path / "out"
    process = start(out, root)
    pid = int(wait_for(out / "pid"))
    process.send_signal(number)
    code = process.wait(60)
    assert code == (-9 if number == signal.SIGKILL else 130)
    wait_for(out / "trap")
    until = time.monotonic() + 30
    while at_work(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not at_work(pid)
    assert not (out / "steps" / "long.json").exists()

    (out / "go").touch()
    assert start(out, root).wait(60) == 0
    assert noted(out / "first") == ["once"]
    assert [json.loads((out / "steps" / f"{name}.json").read_text())["again"] for name in ("first", "long")] == [
        False,
        True,
    ]
