"""The arguments of every command. Imports no more than it takes to print ``--help``."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from unisandbox.options import DEFAULTS, JUDGING, MINIMUM, RunOptions

Command = Callable[[argparse.Namespace], int]

EXAMPLES = """\
examples:
  unisandbox run                                          the main job on the built-in default model
  unisandbox run --tasks math_*,inverse_search --modes all
  unisandbox run --models oracle oracle:transfer=0.1 --limit 50
  unisandbox run --tasks ./my_task.yaml --models folder:path=pictures,draws=sandbox
  unisandbox tasks                                        what can be asked
  unisandbox show                                         the table of the latest run, again
  unisandbox attribute                                    why its direct pictures failed
  unisandbox compare runs/before runs/after               what got better or worse
  unisandbox probe --tasks math_1                         what is readable inside, before words and pictures
  unisandbox report                                       the latest run as a page to leaf through
  unisandbox view                                         all runs in the browser: live, compared, labelled
  unisandbox stars --tasks math_1 --out stars/math_1      teach it to draw what it can think out
  unisandbox inject --model tiny:variant=base             teach invented people in words, ask for pictures

exit codes: 0 done, 1 a model, judge or comparison failed, 2 bad usage, 3 coverage below --min-coverage,
130 interrupted
"""

RUN_EXAMPLES = """\
examples:
  unisandbox run --tasks math_*,inverse_search --modes direct cot answer render
  unisandbox run --tasks knowledge --models tiny tiny:variant=base tiny:thought=inline
  unisandbox run --tasks reasoning --models oracle:transfer=0.1,cannot_compute=%+^ --limit 50
  unisandbox run --tasks inverse_search --models oracle:transfer=0.1 --attribution
  unisandbox run --tasks published_* --data folder=PUBLISHED --models folder:path=IMAGES --dry-run
  unisandbox run --models command:cmd=worker.py,python=~/envs/mine/bin/python --judges openai
  unisandbox run --tasks math_* --repeats 4 --shard 1/8 --out runs/night-1
  unisandbox run --tasks math_* --repeats 4 --dry-run --seconds-per-image 20 --devices 8 --price-per-hour 2.5
  unisandbox run --models any-to-any:model=Janus-Pro-7B --judges vlm --executor workers=4
  unisandbox run --models bagel:path=BAGEL-7B-MoT --judges vlm --executor ray:10.0.0.1:6379 --replicas 16
  unisandbox run --config run.yaml --out runs/night        the same command goes on after any stop

exit codes: 0 done, 1 a model or judge gave up, 2 bad usage, 3 coverage below --min-coverage, 130 interrupted
"""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, with the nearest option."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Print what is wrong, and what is expected or may be meant; exit with 2."""
        message = re.sub(r"^argument (\S+): (.+: expected )", r"\1 \2", message)
        message = re.sub(
            r"^argument (\S+): invalid float value: '(.*)'", r"\1 \2: expected a number.", message
        )
        message = re.sub(
            r"^argument (\S+): invalid int value: '(.*)'", r"\1 \2: expected a whole number.", message
        )
        wrong = re.search(r"invalid choice: '([^']+)' \(choose from (.+)\)|arguments: (--[\w-]+)", message)
        if wrong:
            choices = re.findall(r"[\w-]+", wrong[2] or "") or list(self._option_string_actions)
            near = get_close_matches(wrong[1] or wrong[3], choices, n=1)
            message += f". Did you mean {near[0]}?" if near else "."
        hint = "" if ": expected " in message else f"Try: {self.prog} --help\n"
        self.exit(2, f"error: {message}\n{hint}")


def parse(arguments: Sequence[str]) -> tuple[Command, argparse.Namespace]:
    """Return the command and its options; prints help and exits where that is asked for."""
    parser = make_parser()
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)
    if not arguments:
        parser.print_help()
        parser.exit(0)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:  # said by the command's own parser, which knows what may be meant
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    module, _, function = options.command.partition(":")
    return getattr(import_module(f"unisandbox.cli.{module}"), function), options


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = Parser(
        prog="unisandbox",
        description="Finds out whether a unified multimodal model uses what it understands when it draws.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "--version", action="store_const", dest="command", const="version:version", help="print the version"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=False)
    _add_run(commands)
    _add_listings(commands)
    _add_data(commands)
    _add_show(commands)
    _add_merge(commands)
    _add_judge(commands)
    _add_calibrate(commands)
    _add_attribute(commands)
    _add_compare(commands)
    _add_probe(commands)
    _add_report(commands)
    _add_plot(commands)
    _add_view(commands)
    _add_stars(commands)
    _add_inject(commands)
    parser.set_defaults(command="version:help_", parser=parser)
    return parser


def _add_filters(parser: argparse.ArgumentParser, *names: str) -> None:
    """Declare what ``cli.filters`` reads."""
    for name in names:
        parser.add_argument(f"--{name}", nargs="+", default=[], metavar="GLOB", help=f"only these {name}")


def _command(commands: Any, name: str, function: str, summary: str, epilog: str = "") -> Parser:
    parser: Parser = commands.add_parser(name, help=summary, description=summary, epilog=epilog)
    parser.set_defaults(command=function, parser=parser)
    return parser


def _add_run(commands: Any) -> None:
    parser = _command(
        commands, "run", "run:run", "ask models, judge what they draw, print the table", RUN_EXAMPLES
    )
    for option in fields(RunOptions):
        add_run_option(parser, option.name)
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="a YAML file with these options; the command line wins"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the matrix and what it will take; ask nothing"
    )
    for flag, metavar, kind, help_ in (
        ("--seconds-per-image", "SECONDS", float, "what one device takes for a picture: print device-hours"),
        ("--devices", "N", whole(1), "how many draw at once: print the days that it takes (default: 1)"),
        ("--price-per-hour", "PRICE", float, "of one device: print what it costs"),
    ):
        parser.add_argument(flag, type=kind, metavar=metavar, help=f"with --dry-run: {help_}")
    resume = _command(
        commands, "resume", "run:resume", "go on with a run that was stopped, with the options it had"
    )
    resume.add_argument("run", type=place, nargs="?", help="run folder; default: the latest")
    for one in (parser, resume):
        one.add_argument("--quiet", action="store_true", help="no progress display")
        one.add_argument("--no-report", action="store_true", help="write no report.html at the end")


def add_run_option(parser: argparse.ArgumentParser, name: str) -> None:
    """Declare one field of RunOptions; options not given stay out of the namespace."""
    option = RunOptions.__dataclass_fields__[name]
    default, about = option.default, option.metadata
    help_ = about["help"].replace("%", "%%")
    if default not in (None, (), False):
        shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
        help_ += f" (default: {shown})"
    settings: dict[str, Any] = {"help": help_, "default": argparse.SUPPRESS}
    if default is False:
        parser.add_argument(_flag(name), action="store_true", **settings)
        return
    settings["metavar"] = about["metavar"] or "N"
    if isinstance(default, tuple):
        settings |= {"nargs": "+", "action": "extend"}
    kinds = {"include_path": Path, "out": place, "min_coverage": float}
    kinds |= dict.fromkeys(("gpus_per_replica", "judge_gpus_per_replica", "replica_timeout"), float)
    kind = kinds.get(name)
    settings["type"] = kind or (whole(MINIMUM[name]) if name in MINIMUM else str)
    action = parser.add_argument(_flag(name), **settings)
    completer = {"tasks": "tasks", "models": "models", "judges": "judges", "modes": "modes"}.get(name)
    if completer:
        action.completer = lambda **_: _names(completer)  # type: ignore[attr-defined]


def whole(least: int) -> Callable[[str], int]:
    """Return what reads a whole number that is large enough."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"{text}: expected a whole number of at least {least}.")
        return number

    return read


def between(least: float, most: float, *, ends: bool = False) -> Callable[[str], float]:
    """Return what reads a number from one to another, or, without the ``ends``, between them."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (least <= number <= most if ends else least < number < most):
            said = f"from {least:g} to {most:g}" if ends else f"above {least:g} and below {most:g}"
            raise argparse.ArgumentTypeError(f"{text}: expected a number {said}.")
        return number

    return read


def place(text: str) -> Path | str:
    """Return a folder, or the URL of one as it is."""
    return text if "://" in text else Path(text)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _names(what: str) -> list[str]:
    """Return the words that complete an option in the shell."""
    from unisandbox.catalog import Catalog
    from unisandbox.modes import MODES
    from unisandbox.plugins import installed

    if what == "modes":
        return [*MODES, "all"]
    if what == "tasks":
        listings = list(Catalog(installed()))
        return [*(listing.name for listing in listings), *{listing.family for listing in listings}]
    return list(getattr(installed(), what))


def _add_listings(commands: Any) -> None:
    tasks = _command(
        commands,
        "tasks",
        "tasks:list_tasks",
        "list tasks; show one; validate task files",
        "examples:\n  unisandbox tasks\n  unisandbox tasks show math_2\n"
        "  unisandbox tasks validate ./my_task.yaml\n",
    )
    actions = tasks.add_subparsers(metavar="ACTION")
    listing = _command(actions, "list", "tasks:list_tasks", "list tasks by family")
    show = _command(
        actions, "show", "task_details:show_task", "one task: rows, prompts of every mode, targets, chance"
    )
    validate = _command(
        actions,
        "validate",
        "task_details:validate_tasks",
        "check task files as `run` does before its first call",
    )
    for parser in (tasks, listing, show, validate):
        parser.add_argument(
            "--include-path",
            type=Path,
            action="append",
            default=[] if parser is tasks else argparse.SUPPRESS,
            metavar="DIR",
            help="a folder with more task files; may be given again",
        )
    for parser in (listing, validate):
        parser.add_argument(
            "patterns", nargs="*", metavar="TASK", help="names, families, tags, globs or files; default: all"
        )
    show.add_argument("patterns", nargs="+", metavar="TASK", help="names, globs or files")
    show.add_argument(
        "--samples", type=whole(0), default=1, metavar="N", help="how many rows to show (default: 1)"
    )
    for parser in (tasks, show, validate):
        parser.add_argument(
            "--data",
            action="append",
            default=[] if parser is tasks else argparse.SUPPRESS,
            metavar="KEY=VALUE",
            help="a dataset option, such as folder=DIR for published_*; may be given again",
        )
    tasks.set_defaults(patterns=[])
    _add_models(commands)
    _add_judges(commands)
    _command(commands, "plugins", "listings:plugins", "list plugins: status, version and error of each")
    _command(commands, "version", "version:version", "print the version")


def _add_models(commands: Any) -> None:
    models = _command(
        commands,
        "models",
        "listings:models",
        "list model backends and what they can do; show the options of one",
        "examples:\n  unisandbox models\n  unisandbox models show oracle\n",
    )
    actions = models.add_subparsers(metavar="ACTION")
    _command(actions, "list", "listings:models", "list model backends and what they can do")
    show = _command(
        actions, "show", "details:show_model", "one model: abilities, options with their defaults, help"
    )
    show.add_argument("names", nargs="+", metavar="MODEL", help="names, as `unisandbox models` lists them")


def _add_judges(commands: Any) -> None:
    judges = _command(
        commands,
        "judges",
        "listings:judges",
        "list judges, what they read, and rubrics; show the options of one",
        "examples:\n  unisandbox judges\n  unisandbox judges show vlm\n",
    )
    actions = judges.add_subparsers(metavar="ACTION")
    _command(actions, "list", "listings:judges", "list judges, what they read, and rubrics")
    show = _command(actions, "show", "details:show_judge", "one judge: what it reads, options, help")
    show.add_argument("names", nargs="+", metavar="JUDGE", help="names, as `unisandbox judges` lists them")


def _add_data(commands: Any) -> None:
    data = _command(commands, "data", "data:help_", "export a task's rows for other pipelines")
    actions = data.add_subparsers(metavar="ACTION")
    export = _command(
        actions,
        "export",
        "data:export",
        "write a task's rows",
        "examples:\n  unisandbox data export --task math_2 --layout published exported\n"
        "  unisandbox data export --task math_1 --data split=train,samples=500 exported\n",
    )
    export.add_argument("--task", required=True, metavar="TASK", help="name of the task, or path of its file")
    export.add_argument(
        "--layout",
        choices=["jsonl", "published"],
        default="jsonl",
        help="jsonl: every field; published: the schema of the paper's files (default: jsonl)",
    )
    export.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a dataset option, such as split=train; may be given again",
    )
    export.add_argument(
        "--include-path",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="a folder with more task files; may be given again",
    )
    export.add_argument("--overwrite", action="store_true", help="replace files that are there")
    export.add_argument("folder", type=Path, metavar="DIR", help="where to write")


def _add_show(commands: Any) -> None:
    show = _command(
        commands,
        "show",
        "show:show",
        "print the results table of a run again",
        "examples:\n  unisandbox show\n  unisandbox show runs/night --tasks math_* --format latex\n",
    )
    show.add_argument("run", type=place, nargs="?", metavar="RUN", help="run folder; default: the latest")
    _add_filters(show, "tasks", "modes", "models", "judges")
    show.add_argument(
        "--format", choices=["table", "md", "csv", "latex", "json"], default="table", help="(default: table)"
    )
    show.add_argument(
        "--samples", action="store_true", help="one row a trial and judge instead (csv or json)"
    )
    show.add_argument(
        "--agreement", action="store_true", help="how far judges agree instead, where there are several"
    )
    _add_calibration(show)


def _add_calibration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="DIR",
        help="what `unisandbox calibrate` wrote, of one judge or several; corrected figures then stand "
        "beside the raw ones (default: what fits of runs/calibration/)",
    )


def _add_merge(commands: Any) -> None:
    merge = _command(
        commands,
        "merge",
        "merge:merge_",
        "join run folders of one matrix, such as the shards of a run",
        "examples:\n  unisandbox run --shard 1/2 --out runs/night-1   on one machine\n"
        "  unisandbox run --shard 2/2 --out runs/night-2   on another\n"
        "  unisandbox merge runs/night-1 runs/night-2 -o runs/night\n\n"
        "The same again, in any order, or with more runs, adds what is new. What is missing is asked by\n"
        "`unisandbox resume`.\n",
    )
    merge.add_argument("runs", type=place, nargs="+", metavar="RUN", help="run folders of the same command")
    merge.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="RUN",
        help="run folder to write: a new one, or an earlier merge",
    )
    merge.add_argument("--no-report", action="store_true", help="write no report.html at the end")


def _add_judge(commands: Any) -> None:
    judge = _command(
        commands,
        "judge",
        "judge:judge",
        "judge a run again with another judge; asks no model",
        "examples:\n  unisandbox judge runs/night --judges vlm\n"
        "  unisandbox judge --judges openai:base_url=http://localhost:8000/v1\n"
        "  unisandbox show runs/night --agreement --format csv\n\n"
        "The same command goes on after any stop, and tries again what was an error.\n"
        "exit codes: 0 done, 1 the judge gave up, 2 bad usage, 3 coverage below --min-coverage, "
        "130 interrupted\n",
    )
    judge.add_argument("run", type=place, nargs="?", metavar="RUN", help="run folder; default: the latest")
    action = judge.add_argument(
        "--judges",
        nargs="+",
        required=True,
        metavar="JUDGE",
        help="judges, each NAME or NAME:KEY=VALUE,KEY=VALUE; those of the run judge what they have not yet",
    )
    action.completer = lambda **_: _names("judges")  # type: ignore[attr-defined]
    judge.add_argument(
        "--again", action="store_true", help="also what they have judged already; the new verdicts count"
    )
    for name in (*JUDGING, "min_coverage"):
        if name != "executor":
            add_run_option(judge, name)
    judge.add_argument(
        "--executor",
        default=argparse.SUPPRESS,
        metavar="WHERE",
        help="where copies of judges run: local (processes of this machine), ray or ray:ADDRESS (a cluster) "
        "(default: local)",
    )
    judge.set_defaults(min_coverage=DEFAULTS.min_coverage)
    judge.add_argument("--quiet", action="store_true", help="no progress display")


def _add_calibrate(commands: Any) -> None:
    calibrate = _command(
        commands,
        "calibrate",
        "calibrate:calibrate_",
        "count a judge's errors on pictures whose truth is known",
        "examples:\n  unisandbox calibrate sprite\n"
        "  unisandbox calibrate openai:base_url=http://localhost:8000/v1 --rubrics object_count\n"
        "  unisandbox calibrate vlm --images pictures --labels labels.csv\n\n"
        "labels.csv, a line a picture; JSON lines (.jsonl) with the same keys do too:\n"
        "  file,rubric,label,count,object\n"
        "  a/1.png,object_count,yes,3,cup\n"
        "  a/2.png,object_count,no,2,hat\n\n"
        "The same command goes on after any stop, and tries again what was an error. `show`, `run` and\n"
        "`attribute` then put corrected figures beside those of this judge.\n"
        "exit codes: 0 done, 1 the judge gave up, 2 bad usage, 3 pictures without a verdict, "
        "130 interrupted\n",
    )
    action = calibrate.add_argument("judge", metavar="JUDGE", help="NAME or NAME:KEY=VALUE,KEY=VALUE")
    action.completer = lambda **_: _names("judges")  # type: ignore[attr-defined]
    calibrate.add_argument(
        "--rubrics",
        nargs="+",
        default=[],
        metavar="RUBRIC",
        help="only these (default: every one that scenes can be composed for, or that is labelled)",
    )
    calibrate.add_argument(
        "--samples",
        type=whole(1),
        default=200,
        metavar="N",
        help="right pictures to compose for each rubric, and as many wrong ones (default: 200)",
    )
    calibrate.add_argument(
        "--seed", type=whole(0), default=0, metavar="N", help="decides the pictures composed (default: 0)"
    )
    calibrate.add_argument("--images", type=Path, metavar="DIR", help="pictures of your own, instead")
    calibrate.add_argument(
        "--labels", type=Path, metavar="FILE", help="what each should show, and whether it does: see below"
    )
    calibrate.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder, continued where it stopped; default: one named after the judge in runs/calibration/",
    )
    calibrate.add_argument("--fresh", action="store_true", help="start over, deleting what is there")
    add_run_option(calibrate, "tries")
    calibrate.set_defaults(tries=DEFAULTS.tries)
    calibrate.add_argument(
        "--format", choices=["table", "md", "csv", "latex", "json"], default="table", help="(default: table)"
    )
    calibrate.add_argument("--quiet", action="store_true", help="no progress display")


def _add_attribute(commands: Any) -> None:
    attribute = _command(
        commands,
        "attribute",
        "attribute:attribute_",
        "say why direct pictures failed: rendering, knowledge, reasoning or transfer",
        "examples:\n  unisandbox attribute\n  unisandbox attribute runs/night --tasks math_* --format md\n"
        "  unisandbox attribute runs/night --accuracy vlm=96/100,88/100\n"
        "  unisandbox attribute runs/night --samples --format csv\n",
    )
    attribute.add_argument(
        "run", type=place, nargs="?", metavar="RUN", help="run folder; default: the latest"
    )
    _add_filters(attribute, "tasks", "models", "judges")
    attribute.add_argument(
        "--accuracy",
        nargs="+",
        default=[],
        metavar="JUDGE=P/R,F/W",
        help="a judge's errors as counted: of R right answers it passed P, of W wrong ones it failed F; "
        "corrected figures then stand beside the raw ones",
    )
    _add_calibration(attribute)
    attribute.add_argument(
        "--format", choices=["table", "md", "csv", "latex", "json"], default="table", help="(default: table)"
    )
    attribute.add_argument(
        "--samples", action="store_true", help="one row a failed sample and its cause instead (csv or json)"
    )


def _add_compare(commands: Any) -> None:
    compare = _command(
        commands,
        "compare",
        "compare:compare",
        "compare runs, paired by sample and seed; fail when one got worse",
        "examples:\n  unisandbox compare runs/before runs/after\n"
        "  unisandbox compare runs/bf16 runs/int8 runs/int4 --modes direct --fail-if-worse 0.05\n"
        "  unisandbox compare runs/before runs/after --samples --format csv\n\n"
        "exit codes: 0 done, 1 worse than --fail-if-worse allows, 2 bad usage\n",
    )
    compare.add_argument("run", type=place, metavar="RUN", help="run folder that the others are held against")
    compare.add_argument("others", type=place, nargs="*", metavar="RUN", help="run folders")
    _add_filters(compare, "tasks", "modes", "models", "judges")
    compare.add_argument(
        "--fail-if-worse",
        type=float,
        metavar="SHARE",
        help="exit with code 1 when a row is worse by more than this, significantly after Holm's correction",
    )
    compare.add_argument(
        "--format", choices=["table", "md", "csv", "latex", "json"], default="table", help="(default: table)"
    )
    compare.add_argument(
        "--samples", action="store_true", help="one row a unit that flipped instead (csv or json)"
    )
    power = _command(
        commands,
        "power",
        "compare:power",
        "how many samples a contrast needs",
        "examples:\n  unisandbox power --effect 0.1 --discordance 0.3\n"
        "  unisandbox power --effect 0.1 --discordance 0.3 --n 100\n",
    )
    for name, default, help_ in (
        ("effect", 0.1, "difference of two scores to be seen"),
        ("discordance", 0.3, "share of units that pass in one of the two only"),
        ("power", 0.8, "chance of seeing it"),
    ):
        power.add_argument(
            f"--{name}", type=float, default=default, metavar="SHARE", help=f"{help_} (default: {default})"
        )
    power.add_argument("--n", type=whole(1), metavar="N", help="say what this many units show")


def _add_probe(commands: Any) -> None:
    probe = _command(
        commands,
        "probe",
        "probe:probe_",
        "read the right answer off a model's hidden states, before it speaks and before it draws",
        "examples:\n  unisandbox probe --tasks math_1 -o probe.png\n"
        "  unisandbox probe --tasks math_1 --models tiny tiny:variant=base --modes answer direct cot\n"
        "  unisandbox probe --tasks inverse_search --format csv\n",
    )
    for name, default, metavar, help_ in (
        ("tasks", ["math_1"], "TASK", "names, families, tags or globs of tasks, or paths of task files"),
        ("models", ["tiny"], "MODEL", "models that hand out hidden states (unisandbox models: hidden)"),
        (
            "modes",
            ["answer", "direct", "render"],
            "MODE",
            "how they are asked; in render the question itself says what to draw",
        ),
    ):
        probe.add_argument(
            f"--{name}",
            nargs="+",
            default=default,
            metavar=metavar,
            help=f"{help_} (default: {' '.join(default)})",
        )
    probe.add_argument(
        "--after",
        type=int,
        nargs="*",
        default=[16, 32],
        metavar="N",
        help="also look into direct pictures, after N of their tokens (default: 16 32; no N: do not)",
    )
    probe.add_argument(
        "--samples",
        type=whole(1),
        default=600,
        metavar="N",
        help="rows of each split, where the task's dataset makes them (default: 600)",
    )
    probe.add_argument(
        "--limit", type=whole(1), metavar="N", help="use the first N samples of each split only"
    )
    probe.add_argument(
        "--seed", type=whole(0), default=0, metavar="N", help="decides the pictures looked into (default: 0)"
    )
    probe.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a dataset option of the tasks; may be given again",
    )
    probe.add_argument(
        "--include-path",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="a folder with more task files; may be given again",
    )
    probe.add_argument(
        "--format", choices=["table", "md", "csv", "json"], default="table", help="(default: table)"
    )
    probe.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="plot it too: a .png, .pdf or .svg file"
    )


def _add_report(commands: Any) -> None:
    report = _command(
        commands,
        "report",
        "report:report",
        "write one HTML page about a run: scores, charts, every sample with its pictures",
        "examples:\n  unisandbox report\n  unisandbox report runs/night --embed -o night.html\n"
        "  unisandbox report runs/before runs/after -o both.html      side by side, what changed first\n",
    )
    report.add_argument(
        "runs",
        type=place,
        nargs="*",
        metavar="RUN",
        help="run folders, several to be held side by side; default: the latest",
    )
    report.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="where to write (default: report.html in the run)"
    )
    report.add_argument(
        "--embed", action="store_true", help="put the pictures into the page instead of linking them"
    )


def _add_plot(commands: Any) -> None:
    plot = _command(
        commands,
        "plot",
        "plot:plot_",
        "draw a chart of runs for a paper: pdf, svg or png",
        "examples:\n  unisandbox plot -o gap.pdf\n"
        "  unisandbox plot runs/night --kind attribution --columns 2 -o causes.svg\n"
        "  unisandbox plot runs/before runs/after --tasks math_* -o gap.png\n"
        "  unisandbox plot stars/math --kind stars -o stars.pdf\n"
        "  unisandbox plot runs/calibration --kind calibration -o judges.pdf\n",
    )
    plot.add_argument("runs", type=place, nargs="*", metavar="RUN", help="run folders; default: the latest")
    plot.add_argument(
        "--kind",
        choices=["gap", "attribution", "stars", "calibration"],
        default="gap",
        help="gap: scores of direct, cot, refined, render and answer; attribution: why direct pictures "
        "failed; stars: what STARS changed; calibration: a judge's own errors (default: gap)",
    )
    plot.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="a .pdf, .svg or .png file"
    )
    plot.add_argument(
        "--columns", type=int, choices=[1, 2], default=1, help="columns of the paper it spans (default: 1)"
    )
    _add_filters(plot, "tasks", "models", "judges")


def _add_view(commands: Any) -> None:
    view = _command(
        commands,
        "view",
        "view:view",
        "look at runs in the browser: live progress, side by side, labelling",
        "examples:\n  unisandbox view\n  unisandbox view runs --port 9000\n\n"
        "Serves this machine only (127.0.0.1). Labels are kept in the run folder.\n",
    )
    view.add_argument(
        "folder",
        type=Path,
        nargs="?",
        metavar="RUNS_DIR",
        help="a folder of run folders, or one run (default: runs)",
    )
    view.add_argument("--port", type=int, default=8377, metavar="N", help="(default: 8377)")


STARS_EXAMPLES = """\
examples:
  unisandbox stars --tasks math_1 --out stars/math_1
  unisandbox stars --tasks math_1 math_2 math_3 --compare-curriculum --controls --hold-out object
  unisandbox stars show stars/math                         its table, again
one step at a time, the model in its own trainer:
  unisandbox stars sample --tasks math_1 --model tiny --out candidates
  unisandbox stars filter candidates --out accepted --parquet
  unisandbox stars train accepted --model tiny --out student
  unisandbox stars evaluate tiny tiny:checkpoint=student --tasks math_1

The same command goes on where it was stopped.
"""

INJECT_EXAMPLES = """\
examples:
  unisandbox inject --model tiny:variant=base --out taught
  unisandbox inject --model tiny:variant=base --in-context --out told     the upper bound: told, not taught
  unisandbox inject --people 10 --by pair --steps 60 --out pairs          two people a student, as published
"""


def _add_stars(commands: Any) -> None:
    parser = _command(
        commands,
        "stars",
        "stars:all_",
        "let a model think, keep what a judge accepts, teach it to draw the same at once",
        STARS_EXAMPLES,
    )
    _add_sampling(parser, out="folder of everything", required=False)
    _add_accepting(parser)
    _add_training(parser)
    parser.add_argument(
        "--rounds", type=whole(1), default=1, metavar="N", help="of drawing and learning (default: 1)"
    )
    parser.add_argument(
        "--curriculum",
        action="store_true",
        help="one task after another, in the order given; else all at once",
    )
    parser.add_argument(
        "--compare-curriculum", action="store_true", help="both, with the same number of steps"
    )
    parser.add_argument(
        "--controls",
        action="store_true",
        help="also students that learn from shuffled questions and from all candidates, right or wrong",
    )
    parser.add_argument(
        "--hold-out",
        nargs="+",
        default=[],
        metavar="FIELD",
        help="never learn from half the values of a field",
    )
    parser.add_argument("--also", nargs="+", default=[], metavar="TASK", help="more tasks to evaluate on")
    parser.add_argument(
        "--limit", type=whole(1), metavar="N", help="units of each task to evaluate; default: all"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress display")
    steps = parser.add_subparsers(title="single steps", metavar="STEP", required=False)
    sample = _command(steps, "sample", "stars:sample", "draw candidates for training prompts, and judge them")
    _add_sampling(sample, out="run folder of the candidates", required=True)
    sample.add_argument("--quiet", action="store_true", help="no progress display")
    filter_ = _command(steps, "filter", "stars:filter_", "keep the candidates that a judge accepts")
    filter_.add_argument("run", type=Path, help="run folder of candidates")
    filter_.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for what is kept")
    filter_.add_argument(
        "--judge", default="", metavar="JUDGE", help="which of the run's judges (default: first)"
    )
    filter_.add_argument("--seed", type=whole(0), default=0, help="decides which are kept (default: 0)")
    filter_.add_argument(
        "--parquet", action="store_true", help="also as BAGEL's text-to-image trainer reads it"
    )
    _add_accepting(filter_)
    train = _command(steps, "train", "stars:train_", "train a model on what was kept")
    train.add_argument("accepted", type=Path, help="folder with an examples.jsonl")
    train.add_argument("--model", default="tiny", metavar="MODEL", help="to begin with (default: tiny)")
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the student")
    train.add_argument("--seed", type=whole(0), default=0, help="decides the order (default: 0)")
    train.add_argument("--quiet", action="store_true", help="no progress display")
    _add_training(train)
    evaluate = _command(steps, "evaluate", "stars:evaluate", "compare a student with what it was before")
    evaluate.add_argument("before", metavar="BEFORE", help="model")
    evaluate.add_argument("after", metavar="AFTER", help="model")
    for name in ("tasks", "judges", "limit", "seed", "executor"):
        add_run_option(evaluate, name)
    evaluate.add_argument("--out", type=Path, metavar="DIR", help="default: a new folder under stars/")
    evaluate.add_argument("--quiet", action="store_true", help="no progress display")
    show = _command(steps, "show", "stars:show", "print the table again, also of a run under way")
    show.add_argument("folder", type=Path, help="folder of a STARS run")
    show.add_argument(
        "--format", choices=["table", "md", "csv", "latex", "json"], default="table", help="(default: table)"
    )


def _add_sampling(parser: argparse.ArgumentParser, *, out: str, required: bool) -> None:
    parser.add_argument("--tasks", nargs="+", default=["math_1"], metavar="TASK", help="default: math_1")
    parser.add_argument(
        "--model", default="tiny", metavar="MODEL", help="the one that learns (default: tiny)"
    )
    parser.add_argument(
        "--judges", nargs="+", default=[], metavar="JUDGE", help="default: what fits the model"
    )
    parser.add_argument(
        "--prompts", type=whole(1), default=1000, metavar="N", help="per task (default: 1000)"
    )
    parser.add_argument("--candidates", type=whole(1), default=2, metavar="K", help="per prompt (default: 2)")
    parser.add_argument(
        "--train-data",
        nargs="+",
        default=["split=train"],
        metavar="KEY=VALUE",
        help="dataset options that lead to training prompts (default: split=train)",
    )
    parser.add_argument("--seed", type=whole(0), default=0, help="decides all that is random (default: 0)")
    add_run_option(parser, "executor")
    parser.set_defaults(executor=DEFAULTS.executor)
    where = "default: a new folder under stars/" if not required else ""
    parser.add_argument(
        "--out", type=Path, required=required, metavar="DIR", help=f"{out}; {where}".rstrip("; ")
    )


def _add_accepting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--per-prompt", type=whole(1), default=1, metavar="N", help="the most kept per prompt (default: 1)"
    )
    parser.add_argument(
        "--rewards",
        choices=("binary", "soft"),
        default="binary",
        help="soft: prefer what the judge is surest of, where it gives probabilities (default: binary)",
    )


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--steps", type=whole(1), metavar="N", help="of the optimiser, a task; default: the model's"
    )
    parser.add_argument("--batch", type=whole(1), metavar="N", help="examples a step, in the model's units")
    parser.add_argument(
        "--rate", type=between(0, 1), metavar="R", help="highest learning rate; default: the model's own"
    )
    parser.add_argument(
        "--schedule", choices=("linear", "cosine", "constant"), default="linear", help="of the rate"
    )
    parser.add_argument(
        "--mix",
        type=between(0, 1, ends=True),
        metavar="SHARE",
        help="of what it learned before, against forgetting",
    )
    parser.add_argument("--precision", metavar="KIND", help="such as float32 or bfloat16")
    parser.add_argument("--freeze", nargs="+", default=[], metavar="PART", help="parts to leave as they are")
    parser.add_argument(
        "--lora", type=whole(0), default=0, metavar="RANK", help="train adapters of such rank"
    )


def _add_inject(commands: Any) -> None:
    parser = _command(
        commands,
        "inject",
        "inject:inject",
        "teach a model invented people in words alone, then ask what reached its pictures",
        INJECT_EXAMPLES,
    )
    parser.add_argument(
        "--model", default="tiny:variant=base", metavar="MODEL", help="default: tiny:variant=base"
    )
    parser.add_argument(
        "--judges", nargs="+", default=[], metavar="JUDGE", help="default: what fits the model"
    )
    parser.add_argument("--people", type=whole(1), default=64, metavar="N", help="how many (default: 64)")
    parser.add_argument(
        "--by",
        choices=("all", "person", "pair"),
        default="all",
        help="whom a student is taught: everyone (default), or, as published, one or two people each",
    )
    parser.add_argument(
        "--in-context", action="store_true", help="put what is known into the prompt; no training"
    )
    parser.add_argument(
        "--inverse-facts", action="store_true", help="also teach lines that lead from a favourite to a name"
    )
    parser.add_argument("--limit", type=whole(1), metavar="N", help="units of each task to ask; default: all")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: a new folder under inject/")
    parser.add_argument("--seed", type=whole(0), default=0, help="decides all that is random (default: 0)")
    add_run_option(parser, "executor")
    parser.set_defaults(executor=DEFAULTS.executor)
    parser.add_argument("--quiet", action="store_true", help="no progress display")
    _add_training(parser)
