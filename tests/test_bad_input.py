"""Bad input, case by case: one clear message, an exit code that says whose turn it is, and nothing lost.

``docs/bad_input.md`` shows the same table; the last test keeps it in step.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support_backends import TASK, install, picture, write_task
from tests.support_run import plugins as plugins
from tests.support_run import run_words
from tests.support_run import words as words
from unisandbox.cli import main
from unisandbox.plugins import installed
from unisandbox.run_log import RunLog

DOC = Path(__file__).parent.parent / "docs" / "bad_input.md"
RUN = "run --tasks words.yaml --models painter --judges reader --modes answer --out run --quiet"
VALIDATE = "tasks validate words.yaml"

Arrange = Callable[[ExitStack], None]


@dataclass(frozen=True)
class Case:
    """What is wrong, how it comes about, the command that meets it, and what it says."""

    what: str
    arrange: Arrange
    command: str
    says: tuple[str, ...]
    code: int = 2


# --- how things go wrong ---


def nothing(stack: ExitStack) -> None:
    """All is well; it is the command that is wrong."""


def task(old: str, new: str) -> Arrange:
    """Change the task file."""
    assert old in TASK

    def arrange(stack: ExitStack) -> None:
        Path("words.yaml").write_text(TASK.replace(old, new))

    return arrange


def row(number: int, **fields: object) -> Arrange:
    """Change a row of the data."""
    return data_where(lambda rows: rows[number - 1].update(fields))


def data_where(change: Callable[[list[dict[str, object]]], object]) -> Arrange:
    """Change the rows of the data."""

    def arrange(stack: ExitStack) -> None:
        path = Path("rows.jsonl")
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        change(rows)
        path.write_text("".join(json.dumps(one) + "\n" for one in rows))

    return arrange


def data(text: str) -> Arrange:
    def arrange(stack: ExitStack) -> None:
        Path("rows.jsonl").write_text(text)

    return arrange


def two_tasks_of_one_name(stack: ExitStack) -> None:
    for folder in ("mine", "more"):
        write_task(Path(folder))


def config(stack: ExitStack) -> None:
    Path("run.yaml").write_text("tasks: words.yaml\nmodel: painter\n")


def pictures(stack: ExitStack) -> None:
    folder = Path("pictures/words/direct")
    folder.mkdir(parents=True)
    for number in range(1, 7):
        data = picture(number).data
        (folder / f"s{number}.png").write_bytes(data[:20] if number == 3 else data)


def worker_without_library(stack: ExitStack) -> None:
    Path("worker.py").write_text("import no_such_library\n")


def labels(label: str, *, there: bool = True) -> Arrange:
    """Label one picture."""

    def arrange(stack: ExitStack) -> None:
        if there:
            Path("1.png").write_bytes(picture(1).data)
        Path("labels.csv").write_text(f"file,rubric,label,object\n1.png,object_identity,{label},cup\n")

    return arrange


def plugin(code: str) -> Arrange:
    """Install one more plugin."""

    def arrange(stack: ExitStack) -> None:
        (Path("site") / "other.py").write_text(code)
        install(Path("site"), "other", "other")
        stack.callback(sys.modules.pop, "other", None)
        installed.cache_clear()

    return arrange


RIVAL = """
from unisandbox.hookspecs import hookimpl

@hookimpl
def register_models(register):
    register("painter", "other:Painter", summary="another painter", does=("image",))
"""


def run_before(change: Callable[[], object] = lambda: None, **options: object) -> Arrange:
    """Run it once, then change what is there."""

    def arrange(stack: ExitStack) -> None:
        run_words(**options)
        change()

    return arrange


def tear_last_line() -> None:
    path = Path("run/generations.jsonl")
    path.write_bytes(path.read_bytes()[:-30])


def spoil_second_line() -> None:
    path = Path("run/generations.jsonl")
    log = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([log[0], b"\x00" * 80 + b"\n", *log[2:]]))


def spoil_run_json() -> None:
    Path("run/run.json").write_text('{"format": 1, "mat')


def another_version(stack: ExitStack) -> None:
    """A run folder that an older version wrote."""
    run_words()
    about = json.loads(Path("run/run.json").read_text())
    Path("run/run.json").write_text(json.dumps({**about, "format": 0}))


def another_writer(stack: ExitStack) -> None:
    run_words()
    stack.enter_context(RunLog(Path("run")))


def something_in_the_way(stack: ExitStack) -> None:
    Path("run").write_text("mine")


def two_seeds(stack: ExitStack) -> None:
    """Two runs that ask with other seeds."""
    run_words(out="one")
    run_words(out="two", seed=1)


def two_answers(stack: ExitStack) -> None:
    """Two runs of the same trials, one of which says otherwise in one of them."""
    run_words(out="one")
    shutil.copytree("one", "two")
    log = Path("two/generations.jsonl")
    log.write_bytes(log.read_bytes().replace(b'"text":"w2"', b'"text":"w9"'))


def somebodys_folder_and_a_run(stack: ExitStack) -> None:
    """A run, and pictures that are none of it."""
    run_words(out="one")
    somebodys_folder(stack)


def somebodys_folder(stack: ExitStack) -> None:
    Path("run/images").mkdir(parents=True)
    Path("run/images/holiday.jpg").write_text("mine")


CASES = [
    # the command
    Case(
        "unknown command-line option",
        nothing,
        RUN.replace("--models", "--modl"),
        ("--modl", "Did you mean --models?"),
    ),
    Case("unknown model", nothing, RUN.replace("painter", "paintr"), ("'paintr'", "Did you mean 'painter'?")),
    Case("unknown judge", nothing, RUN.replace("reader", "raeder"), ("'raeder'", "Did you mean 'reader'?")),
    Case("unknown mode", nothing, RUN.replace("answer", "anwser"), ("'anwser'", "Did you mean 'answer'?")),
    Case(
        "unknown option of a model",
        nothing,
        RUN.replace("painter", "painter:rigth=1"),
        ("'rigth'", "Did you mean 'right'?"),
    ),
    Case(
        "an option of the wrong type",
        nothing,
        RUN.replace("painter", "painter:batch=many"),
        ("batch='many'", "integer"),
    ),
    Case(
        "an option that is no option",
        nothing,
        RUN.replace("painter", "painter:batch"),
        ("'painter:batch'", "NAME:KEY=VALUE"),
    ),
    Case(
        "a pattern that matches nothing",
        nothing,
        RUN.replace("words.yaml", "maht_*"),
        ("'maht_*'", "Did you mean"),
    ),
    Case(
        "a task file that is not there",
        nothing,
        RUN.replace("words.yaml", "wrods.yaml"),
        ("wrods.yaml: cannot be read",),
    ),
    Case("unknown dataset option", nothing, f"{RUN} --data smaples=3", ("'smaples'", "Known")),
    Case("unknown executor", nothing, f"{RUN} --executor lokal", ("Unknown executor 'lokal'", "'local'?")),
    Case("no workers", nothing, f"{RUN} --executor workers=0", ("workers=0", "at least 1")),
    Case(
        "replicas without a cluster",
        nothing,
        f"{RUN} --replicas 2",
        ("--replicas goes with --executor ray", "the executor is 'local'"),
    ),
    Case("a number that cannot be meant", nothing, f"{RUN} --limit 0", ("--limit 0", "at least 1")),
    Case(
        "a rate that cannot be meant",
        nothing,
        "stars --tasks math_1 --rate 0",
        ("--rate 0: expected a number above 0 and below 1",),
    ),
    Case(
        "a share that is none",
        nothing,
        "stars --tasks math_1 --mix 2",
        ("--mix 2: expected a number from 0 to 1",),
    ),
    Case("a number that is none", nothing, f"{RUN} --repeats two", ("--repeats two", "at least 1")),
    Case(
        "a dataset of no rows",
        nothing,
        "run --tasks math_1 --models oracle --data samples=0 --out run",
        ("Task 'math_1': samples is 0; expected a whole number from 1", "--data KEY=VALUE"),
    ),
    Case(
        "replicas of no judge of the run",
        nothing,
        f"{RUN} --judge-replicas redaer=2",
        ("--judge-replicas redaer=2", "Unknown judge of this run 'redaer'", "'reader'?"),
    ),
    Case(
        "replicas of a judge that asks a server",
        nothing,
        "run --tasks words.yaml --models painter --judges openai --modes direct --judge-replicas openai=2",
        ("--judge-replicas openai=2", "'openai' asks a server", "one rate limit", "Leave it out"),
    ),
    Case(
        "a time limit for what cannot be replaced",
        nothing,
        f"{RUN} --replica-timeout 60",
        ("--replica-timeout goes with --executor workers=N or ray", "--judge-replicas"),
    ),
    Case(
        "a judge that cannot read such pictures",
        nothing,
        RUN.replace("reader", "sprite").replace("answer", "direct"),
        (
            "'sprite' reads sandbox only",
            "'painter' draws pictures of any kind",
            "Use --judges openai or panel or reader",
        ),
    ),
    Case(
        "unknown key in a config file", config, "run --config run.yaml", ("run.yaml:2: model", "Did you mean")
    ),
    # the task file
    Case(
        "YAML syntax error",
        task('"{{ conclusion }}"', '"{{ conclusion }}'),
        VALIDATE,
        ("words.yaml:", "not valid YAML"),
    ),
    Case(
        "misspelt key",
        task("direct:", "drect:"),
        VALIDATE,
        ("words.yaml:4: prompts.drect", "Did you mean 'direct'?"),
    ),
    Case(
        "a value of the wrong type",
        task("description: Say or draw a word.", "description: [Say, draw]"),
        VALIDATE,
        ("words.yaml:1: description", "valid string", "['Say', 'draw']"),
    ),
    Case(
        "a key that stands twice",
        task("  gold:", "  direct:"),
        VALIDATE,
        ("words.yaml:10", "'direct' stands twice, first on line 4"),
    ),
    Case(
        "unknown dataset",
        task("jsonl, path", "jsnol, path"),
        VALIDATE,
        ("words.yaml:2: dataset", "Did you mean 'jsonl'?"),
    ),
    Case(
        "unknown rubric",
        task("  rubric: words", "  rubric: wrods"),
        VALIDATE,
        ("words.yaml:14: scoring.rubric", "Did you mean 'words'?"),
    ),
    Case(
        "missing template variable",
        task("In words: {{ question }}", "{{ questoin }}"),
        VALIDATE,
        ("words.yaml:7: prompts.answer", "Did you mean 'question'?"),
    ),
    Case(
        "a row without a field that a template names",
        data_where(lambda rows: rows[5].pop("question")),
        VALIDATE,
        ("words: sample s6: words.yaml:4: prompts.direct: Unknown variable 'question'",),
    ),
    Case(
        "a target that is a column's name, not its value",
        task('target: {answer: "w{{ number }}"}\n', "target: {answer: numbr}\n"),
        VALIDATE,
        ("words.yaml:15: scoring.target.answer", "did you mean '{{ number }}'?"),
    ),
    Case(
        "Jinja that reaches for Python's internals",
        task("In words: {{ question }}", "{{ question.__class__.__mro__ }}"),
        VALIDATE,
        ("words.yaml:7: prompts.answer", "templates cannot reach Python internals"),
    ),
    Case(
        "Jinja that is not Jinja",
        task("In words: {{ question }}", "{{ question"),
        VALIDATE,
        ("words.yaml:7: prompts.answer", "not a valid Jinja template"),
    ),
    Case(
        "duplicate task name",
        two_tasks_of_one_name,
        "tasks --include-path mine --include-path more",
        ("Two files hold the task 'words'", "mine/words.yaml", "more/words.yaml"),
    ),
    # the data
    Case("empty dataset", data(""), VALIDATE, ("'words' has no samples", "'jsonl' returned none")),
    Case(
        "a row that is not JSON",
        data('{"id": "s1", "number": 1\n'),
        VALIDATE,
        ("rows.jsonl:1", "expected one JSON object a line"),
    ),
    Case(
        "a data file that is not there",
        task("rows.jsonl", "rwos.jsonl"),
        VALIDATE,
        ("rwos.jsonl: cannot be read",),
    ),
    Case("path with .. in a sample id", row(2, id="../../s2"), VALIDATE, ("rows.jsonl:2", "'../../s2'")),
    Case(
        "two rows with one id",
        row(3, id="s1"),
        VALIDATE,
        ("rows.jsonl:3", "'s1' is already used at", "rows.jsonl:1"),
    ),
    Case(
        "unreadable image",
        pictures,
        RUN.replace("painter", "folder:path=pictures").replace("answer", "direct"),
        ("Coverage 0.83", "unreadable: words/direct/s3.png", "unisandbox resume run"),
        3,
    ),
    Case(
        "a worker that dies at start",
        worker_without_library,
        RUN.replace("painter", "command:cmd=worker.py,log=log"),
        ("the worker ended with exit code 1", "No module named 'no_such_library'", "All it said: log"),
        1,
    ),
    # the run folder
    Case("truncated last line of a run log", run_before(tear_last_line), RUN, (), 0),
    Case(
        "corrupt line of a run log",
        run_before(spoil_second_line),
        RUN,
        ("warning: run/generations.jsonl:2: not a log line",),
        0,
    ),
    Case("corrupt run.json", run_before(spoil_run_json), RUN, ("run/run.json cannot be read", "--fresh")),
    Case(
        "run folder of another matrix",
        run_before(seed=1),
        RUN,
        ("run holds a run of another matrix", "seed was 1 and is now 0", "--fresh"),
    ),
    Case("two writers", another_writer, RUN, ("run: another process is writing this run",)),
    Case(
        "a run folder that cannot be written",
        something_in_the_way,
        RUN,
        ("run: cannot be written: ", "--out"),
    ),
    Case(
        "--fresh in a folder that is no run",
        somebodys_folder,
        f"{RUN} --fresh",
        ("run is not a run folder", "would delete images/holiday.jpg"),
    ),
    Case("a folder that is no run", nothing, "show nowhere", ("nowhere is not a run folder",)),
    Case("a shard out of range", nothing, f"{RUN} --shard 5/4", ("--shard 5/4: expected I/N", "from 1 to N")),
    Case(
        "runs of different matrices merged",
        two_seeds,
        "merge one two -o run",
        ("one and two are runs of different matrices", "seed was 0 and is now 1"),
    ),
    Case(
        "runs that answer one trial differently merged",
        two_answers,
        "merge one two -o run --no-report",
        ("one and two each hold an answer for the trial", "sample s2", "they differ"),
    ),
    Case(
        "a merge into a folder of something else",
        somebodys_folder_and_a_run,
        "merge one -o run",
        ("run is not empty, and no run folder",),
    ),
    Case(
        "a URL of no known file system",
        nothing,
        RUN.replace("--out run", "--out nowhere://bucket/run"),
        ("nowhere://bucket/run: Protocol not known: nowhere",),
    ),
    # attribution and comparison
    Case(
        "attribution of a run that drew nothing directly",
        run_before(),
        "attribute run",
        ("run: nothing was asked in mode 'direct', so there is nothing to attribute",),
    ),
    Case(
        "error rates of a judge that cannot be",
        run_before(),
        "attribute run --accuracy reader=11/10,9/10",
        ("11/10 is no share of answers", "expected JUDGE=PASSED/RIGHT,FAILED/WRONG"),
    ),
    Case(
        "a run compared with nothing",
        run_before(),
        "compare run",
        ("run: with which run is it to be compared?",),
    ),
    Case(
        "runs that share nothing",
        run_before(),
        "compare run run --modes cot",
        ("run and run have no task, mode, model and judge in common",),
    ),
    Case(
        "a difference larger than it can be",
        nothing,
        "power --effect 0.5 --discordance 0.3",
        ("--effect 0.5 --discordance 0.3", "expected 0 < effect <= discordance <= 1"),
    ),
    # looking at runs
    Case(
        "a report of several runs without a place",
        run_before(),
        "report run run",
        ("Of several runs the page needs a place of its own", "-o FILE.html"),
    ),
    Case(
        "a report that cannot be written",
        run_before(),
        "report run -o no/where.html",
        ("no/where.html cannot be written: No such file or directory", "-o FILE"),
    ),
    Case(
        "a run of another version",
        another_version,
        "report run",
        ("run/run.json: written in log format 0, this version reads 1",),
    ),
    Case(
        "a plot of a kind of file that is none",
        run_before(),
        "plot run -o gap.gif",
        ("-o gap.gif: a plot is written as .png, .pdf, .svg",),
    ),
    Case(
        "a plot of what was not asked",
        run_before(),
        "plot run --kind attribution -o causes.pdf",
        ("run: nothing was asked in mode 'direct'",),
    ),
    Case(
        "a folder of runs that is not there",
        nothing,
        "view nowhere",
        ("There is no folder nowhere", "unisandbox view RUNS_DIR"),
    ),
    Case(
        "a port that is none",
        run_before(),
        "view . --port 99999",
        ("--port 99999: bind(): port must be 0-65535", "0 for any that is free"),
    ),
    # judges
    Case(
        "a run judged again by a judge that reads nothing of it",
        run_before(),
        "judge run --judges sprite",
        ("run holds nothing that the judge 'sprite' reads: it reads sandbox only.",),
    ),
    Case(
        "a run judged again after its task has changed",
        run_before(lambda: write_task(Path(), rows=7)),
        "judge run --judges reader:batch=1",
        ("run holds a run of another matrix: tasks.words.fingerprint was",),
    ),
    Case("a judge of words, calibrated", nothing, "calibrate rules", ("'rules' reads text only",)),
    Case(
        "a label that is neither yes nor no",
        labels("maybe"),
        "calibrate sprite --images . --labels labels.csv",
        ("labels.csv:2: the label is 'maybe'; expected yes or no.",),
    ),
    Case(
        "a labelled picture that is not there",
        labels("yes", there=False),
        "calibrate sprite --images . --labels labels.csv",
        ("labels.csv:2: 1.png cannot be read: No such file or directory.",),
    ),
    Case(
        "a calibration that is not there",
        run_before(),
        "show run --calibration nowhere",
        ("nowhere holds no calibration.", "unisandbox calibrate JUDGE --out nowhere"),
    ),
    # plugins
    Case(
        "plugin that fails at import",
        plugin("import no_such_library\n"),
        "models",
        ("warning: plugin 'other' is left out", "No module named 'no_such_library'"),
        0,
    ),
    Case(
        "plugin claiming a taken name",
        plugin(RIVAL),
        "models",
        ("'other' and 'support' both register the model 'painter'", "Uninstall one"),
    ),
]


def messages(err: str) -> list[str]:
    """Return what a command said to the user, without paths of this machine and without long lists."""
    said = [line for line in err.splitlines() if line.startswith(("error: ", "warning: ", "Coverage "))]
    return [
        re.sub(r"(Known|choose from|Modes):? .*", r"\1: ...", line).replace(f"{Path.cwd()}/", "")
        for line in said
    ]


def files() -> dict[str, bytes]:
    """Return every file that is there before a command, and must be after it."""
    kept = (path for path in Path().rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path): path.read_bytes() for path in kept}


@pytest.fixture
def documented() -> dict[str, tuple[str, str]]:
    """Return message and exit code of each row of the document."""
    lines = [line for line in DOC.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]
    return {what: (message.replace("\\|", "|"), code) for what, message, code in cells}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.usefixtures("words")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_bad_input(
    case: Case, stack: ExitStack, documented: dict[str, tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    case.arrange(stack)
    capsys.readouterr()
    before = files()

    assert main(shlex.split(case.command)) == case.code
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    said = messages(err)
    assert len(said) == bool(case.says), said
    for part in case.says:
        assert part in said[0]

    after = files()
    if case.code == 2:
        assert after | {"run/.lock": b""} == before | {
            "run/.lock": b""
        }  # nothing is begun and nothing is lost
    else:
        assert before.keys() <= after.keys()

    assert case.what in documented, f"docs/bad_input.md should have a row like\n{row_of(case, said)}"
    message, code = documented[case.what]  # word for word but for what other libraries say
    assert code == str(case.code) and all(part in message for part in case.says), row_of(case, said)


def row_of(case: Case, said: list[str]) -> str:
    """Return a row of the document."""
    message = (
        f"`{said[0]}`".replace("|", "\\|") if said else "none: it is dropped, and its trial is done again"
    )
    return f"| {case.what} | {message} | {case.code} |"


@pytest.mark.usefixtures("words")
@pytest.mark.parametrize("change", [tear_last_line, spoil_second_line])
def test_a_spoilt_log_ends_as_if_it_never_was(change: Callable[[], None]) -> None:
    run_words(out="whole")
    run_words()
    change()
    assert main(shlex.split(RUN)) == 0
    assert Path("run/results.json").read_bytes() == Path("whole/results.json").read_bytes()


def test_the_document_has_these_cases_in_this_order(documented: dict[str, tuple[str, str]]) -> None:
    assert list(documented) == [case.what for case in CASES]
