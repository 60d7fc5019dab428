"""``command``: every request gets its own answer, whatever its worker does. Real workers throughout."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as pil

from tests.support_command import ECHO, gone, lives, request, write_worker
from unisandbox.backend import Backend
from unisandbox.errors import BackendError, UsageError
from unisandbox.model_backends.command.backend import Command, WorkerError, command_words
from unisandbox.records import Generation, Image, Prompt, Request, Turn
from unisandbox.specs import build, parse_spec

Start = Callable[..., Command]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start the backend on a worker; all are closed with the test, and leave no files behind."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    backends: list[Command] = []

    def begin(body: str = ECHO, **options: Any) -> Command:
        options = {"cmd": str(write_worker(tmp_path, body)), "timeout": 60.0, **options}
        backends.append(Command(**options))
        return backends[-1]

    yield begin
    for backend in backends:
        backend.close()
    assert [path.suffix for path in temporary.iterdir()] in ([], [".log"])


def answers(backend: Command, requests: Sequence[Request]) -> dict[str, Generation]:
    found = list(backend.generate(requests))
    assert len({generation.key for generation in found}) == len(found)
    return {generation.key: generation for generation in found}


# --- what goes out, what comes back ---


def test_it_is_a_backend_that_says_what_its_worker_says(start: Start) -> None:
    backend = start("""
hello(in_flight=3, device="cuda:0", versions={"torch": "2.5.1"}, weights="abc")
for request in asked(): pass
""")
    assert isinstance(backend, Backend)
    assert backend.batch_size == 12
    said = dict(backend.describe())
    assert said.pop("command").endswith("worker.py")
    assert said == {
        "protocol": 1,
        "model": "test",
        "does": ["image", "text", "think", "see"],
        "in_flight": 3,
        "device": "cuda:0",
        "versions": {"torch": "2.5.1"},
        "weights": "abc",
    }


def test_a_request_arrives_whole(start: Start) -> None:
    backend = start("""
hello()
for request in asked():
    pictures = [open(path, "rb").read().hex() for turn in request["turns"] for path in turn["images"]]
    for turn in request["turns"]:
        turn["images"] = [os.path.splitext(path)[1] for path in turn["images"]]
    folder = os.path.dirname(request.pop("save_as"))
    say(key=request["key"], text="seen", notes={"request": request, "pictures": pictures, "folder": folder})
""")
    images = Image(b"one"), Image(b"two", ".jpg")
    turns = (Turn("user", "Look: ☃", images), Turn("model", "I think.", thought=True), Turn("user", "Draw."))
    (found,) = backend.generate([Request("k", Prompt(turns, "text", think=True), 7, "task", "s", "cot")])
    assert found.notes["pictures"] == [b"one".hex(), b"two".hex()]
    assert found.notes["request"] == {  # and no more: neither task, sample and mode, nor the target
        "key": "k",
        "output": "text",
        "think": True,
        "seed": 7,
        "turns": [
            {"role": "user", "text": "Look: ☃", "thought": False, "images": [".png", ".jpg"]},
            {"role": "model", "text": "I think.", "thought": True, "images": []},
            {"role": "user", "text": "Draw.", "thought": False, "images": []},
        ],
    }
    assert not Path(found.notes["folder"]).exists()  # pictures do not pile up


def test_pictures_thoughts_and_finishes_come_back(start: Start, tmp_path: Path) -> None:
    picture = Image.from_pil(pil.new("RGB", (4, 4), "red"))
    (tmp_path / "own.png").write_bytes(picture.data)
    backend = start(f"""
hello()
for request in asked():
    key = request["key"]
    if key == "saved":
        open(request["save_as"], "wb").write(open({str(tmp_path / "own.png")!r}, "rb").read())
        say(key=key, image=request["save_as"], thought="So it is red.")
    elif key == "own":
        say(key=key, image={str(tmp_path / "own.png")!r})
    else:
        say(key=key, finish=key)
""")
    found = answers(
        backend, [request(key, output="image") for key in ("saved", "own", "refused", "truncated")]
    )
    assert (found["saved"].image, found["saved"].thought) == (picture, "So it is red.")
    assert found["own"].image == picture
    assert (tmp_path / "own.png").exists()  # what is not ours stays
    assert (found["refused"].finish, found["truncated"].finish) == ("refused", "truncated")


@pytest.mark.parametrize("in_flight", [1, 3, 8])
def test_answers_come_in_any_order_while_many_are_in_flight(start: Start, in_flight: int) -> None:
    backend = start(
        f"""
hello()
held = []
for request in asked():
    held.append(request)
    if len(held) == {in_flight}:  # it would wait for ever if fewer were sent
        while held:
            request = held.pop()
            say(key=request["key"], text=text(request))
""",
        in_flight=in_flight,
    )
    keys = [str(number) for number in range(2 * in_flight)]
    found = list(backend.generate([request(key) for key in keys]))
    assert {generation.key: generation.text for generation in found} == {key: f"to {key}" for key in keys}
    if in_flight > 1:
        assert [generation.key for generation in found] != keys


def test_no_more_is_in_flight_than_asked_for(start: Start) -> None:
    backend = start(
        """
import itertools, threading, queue
lines = queue.Queue()
def read():
    for line in itertools.chain(asked(), [None]):
        lines.put(line)
threading.Thread(target=read, daemon=True).start()
hello()
while request := lines.get():
    time.sleep(0.05)  # long enough for more to come in, if more were sent
    say(key=request["key"], text="", notes={"waiting": lines.qsize()})
""",
        in_flight=2,
    )
    found = answers(backend, [request(str(number)) for number in range(6)])
    assert max(generation.notes["waiting"] for generation in found.values()) <= 1


def test_one_worker_answers_call_after_call(start: Start) -> None:
    backend = start()
    assert answers(backend, [request("a")])["a"].text == "to a"
    assert answers(backend, [request("a", "again")])["a"].text == "again"  # two-call thinking keeps the key


def test_answers_to_an_abandoned_call_do_not_come_later(start: Start) -> None:
    backend = start()
    first = backend.generate([request("a"), request("b")])
    next(first)
    first.close()  # type: ignore[attr-defined]
    assert answers(backend, [request("c")])["c"].text == "to c"


# --- what goes wrong ---


def test_errors_of_the_worker_come_last_and_are_left_to_the_harness(start: Start) -> None:
    backend = start("""
hello()
for request in asked():
    if request["key"] == "b":
        say(key="b", error="out of memory")
    else:
        say(key=request["key"], text="fine")
""")
    generations = backend.generate([request(key) for key in "abc"])
    assert [next(generations).key, next(generations).key] == ["a", "c"]
    with pytest.raises(WorkerError, match=r"^out of memory$"):
        next(generations)


@pytest.mark.parametrize("data", [None, b"", b"no picture"])
def test_a_picture_that_is_none_is_an_error(start: Start, tmp_path: Path, data: bytes | None) -> None:
    if data is not None:
        (tmp_path / "picture.png").write_bytes(data)
    backend = start(f"""
hello()
for request in asked():
    say(key=request["key"], image={str(tmp_path / "picture.png")!r})
""")
    with pytest.raises(WorkerError, match=r"^no picture: .*picture\.png: "):
        list(backend.generate([request("a", output="image")]))


CRASH = """
first = first_life()
hello()
for number, request in enumerate(asked()):
    if first and number == 3:
        print("the card fell off", file=sys.stderr)
        os._exit(9)
    say(key=request["key"], text=text(request))
"""


@pytest.mark.parametrize("in_flight", [1, 4])
def test_after_a_crash_what_is_left_is_asked_again(start: Start, tmp_path: Path, in_flight: int) -> None:
    backend = start(CRASH, in_flight=in_flight)
    keys = [str(number) for number in range(10)]
    found = answers(backend, [request(key) for key in keys])
    assert {key: found[key].text for key in keys} == {key: f"to {key}" for key in keys}
    assert lives(tmp_path / "worker.py") == 2


POISON = """
first_life()
hello()
for request in asked():
    if text(request) == "poison":
        print("segmentation fault", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(1000)
    say(key=request["key"], text="fine")
"""


@pytest.mark.parametrize("in_flight", [1, 4])
def test_a_request_that_crashes_the_worker_twice_is_an_error_of_its_own(
    start: Start, tmp_path: Path, in_flight: int
) -> None:
    backend = start(POISON, in_flight=in_flight)
    requests = [request(str(number), "poison" if number == 4 else "") for number in range(10)]
    found = answers(backend, requests)
    poisoned = found.pop("4")
    assert {generation.text for generation in found.values()} == {"fine"} and len(found) == 9
    assert poisoned.finish == "error"
    assert poisoned.error == (
        "the worker stopped twice on this request: it was killed by SIGSEGV. "
        "Its last words: segmentation fault"
    )
    assert lives(tmp_path / "worker.py") == 3


def test_a_worker_that_hangs_is_started_again(start: Start, tmp_path: Path) -> None:
    backend = start(
        """
first = first_life()
hello(pid=os.getpid())
for request in asked():
    if first and request["key"] == "b":
        time.sleep(1000)
    say(key=request["key"], text=text(request))
""",
        timeout=3.0,
    )
    hung = backend.describe()["pid"]
    found = answers(backend, [request(key) for key in "abcd"])
    assert {key: found[key].text for key in "abcd"} == {key: f"to {key}" for key in "abcd"}
    assert lives(tmp_path / "worker.py") == 2
    assert gone(hung)


def test_restarts_without_an_answer_in_between_are_limited(start: Start, tmp_path: Path) -> None:
    backend = start(
        "first_life(); hello(); print('no luck', file=sys.stderr); next(asked()); os._exit(3)", restarts=2
    )
    with pytest.raises(BackendError) as error:
        list(backend.generate([request(str(number)) for number in range(10)]))
    message = str(error.value)
    assert message.startswith(
        "model 'command': the worker stopped 3 times without an answer in between (restarts=2). "
        "The last time it ended with exit code 3. Its last words: no luck. All it said: "
    )
    assert lives(tmp_path / "worker.py") == 3
    assert Path(message.split("All it said: ")[1]).read_text() == 3 * "no luck\n"


def test_a_worker_that_crashes_now_and_then_is_restarted_for_ever(start: Start) -> None:
    backend = start(
        """
hello()
for number, request in enumerate(asked()):
    if number == 1:
        os._exit(1)
    say(key=request["key"], text="fine")
""",
        in_flight=2,
        restarts=1,
    )
    assert len(answers(backend, [request(str(number)) for number in range(5)])) == 5


def test_other_weights_after_a_restart_end_the_run(start: Start) -> None:
    backend = start("hello(weights='old' if first_life() else 'new'); next(asked()); os._exit(1)")
    with pytest.raises(BackendError, match=r"has other weights \(new\) than before \(old\)"):
        list(backend.generate([request("a")]))


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ('img="a.png"', "Unknown field 'img'. Did you mean 'image'? Known: error, finish, image, key, "),
        ("text=5", "text: Input should be a valid string. It was: {'key': 'a', 'text': 5}"),
        ('finish="done"', "finish: Input should be 'complete', 'truncated', 'empty', 'refused' or 'error'."),
        ('notes="none"', "notes: Input should be a valid dictionary."),
    ],
)
def test_an_answer_that_is_none_ends_the_run(start: Start, answer: str, fault: str) -> None:
    backend = start(f"hello()\nfor request in asked(): say(key=request['key'], {answer})")
    with pytest.raises(BackendError) as error:
        list(backend.generate([request("a")]))
    assert str(error.value).startswith(
        f"model 'command': the worker's answer is none the protocol knows: {fault}"
    )


@pytest.mark.parametrize("say", ["say(key='other', text='')", "say(key='a', text=''); say(key='a', text='')"])
def test_a_key_that_was_not_asked_ends_the_run(start: Start, say: str) -> None:
    backend = start(f"hello()\nfor request in asked(): {say}", in_flight=1)
    with pytest.raises(BackendError, match="which it was not asked, or had answered"):
        list(backend.generate([request("a"), request("b")]))


# --- how it begins and ends ---


def test_a_worker_that_dies_at_start(start: Start) -> None:
    with pytest.raises(BackendError) as error:
        start("import no_such_library")
    message = str(error.value)
    assert message.startswith("model 'command': the worker ended with exit code 1. Its last words: ")
    assert "ModuleNotFoundError: No module named 'no_such_library'. It had not said hello yet" in message
    assert "import no_such_library" in Path(message.split("All it said: ")[1]).read_text()
    assert "\n" not in message


@pytest.mark.parametrize(
    ("hello", "fault"),
    [
        ("hello(protocol=2)", "protocol: Input should be 1. It was: {'protocol': 2, "),
        ("hello(does=['images'])", "does.0: Input should be 'image', 'text', 'think' or 'see'."),
        ("hello(in_flight=0)", "in_flight: Input should be greater than or equal to 1."),
        ("say(key='a', text='early')", "protocol: Field required."),
    ],
)
def test_a_hello_that_is_none(start: Start, hello: str, fault: str) -> None:
    with pytest.raises(BackendError) as error:
        start(f"{hello}; time.sleep(1000)")
    assert str(error.value).startswith(
        f"model 'command': the worker's first line is none the protocol knows: {fault}"
    )


def test_what_the_worker_does_must_be_what_the_run_was_planned_for(start: Start) -> None:
    hello = "hello(does=['image', 'text'])\nfor request in asked(): pass"
    with pytest.raises(UsageError) as error:
        start(hello)
    assert str(error.value) == (
        "model 'command': the worker 'test' does image+text, and the run was planned for "
        "image+text+think+see. Say so: command:...,does=image+text"
    )
    with pytest.raises(UsageError, match="was planned for image\\+see"):
        start(hello, does=("image", "see"))
    assert start(hello, does=("image", "text")).describe()["does"] == ["image", "text"]
    assert start(does=("image",)).describe()["model"] == "test"  # less than it can, asked for by name


def test_close_leaves_no_process_and_no_file(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    backend = start(
        "print('loading', file=sys.stderr)\nhello(pid=os.getpid())\nfor r in asked(): pass", log=log
    )
    backend.close()
    assert gone(backend.describe()["pid"])
    assert log.read_text() == "loading\n"  # asked for, so kept
    backend.close()  # twice is once


def test_a_log_that_cannot_be_written(start: Start, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"log=.*nowhere/log: cannot be written: No such file or directory\.$"
    ):
        start(log=tmp_path / "nowhere" / "log")


# --- the command line ---


def test_python_files_are_run_by_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    script = write_worker(tmp_path)
    assert command_words(f"{script} --size 'a b'") == [sys.executable, str(script), "--size", "a b"]
    assert command_words("~/worker.py")[1] == str(script)
    assert command_words(str(script), "sh") == ["sh", str(script)]
    assert command_words("-m worker", "sh") == ["sh", "-m", "worker"]


@pytest.mark.parametrize(
    ("cmd", "message"),
    [
        ("", "model 'command': cmd= is empty. Expected a command line, such as cmd=worker.py."),
        ("sh -c 'exit", "model 'command': cmd=sh -c 'exit: No closing quotation."),
        ("missing.py --size 5", "model 'command': cmd=missing.py --size 5: there is no file missing.py."),
        ("./missing", "model 'command': ./missing is no program: not there, or not executable (chmod +x)."),
    ],
)
def test_what_cannot_be_run(in_tmp: Path, cmd: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        command_words(cmd)
    assert str(error.value) == message


def test_an_executable_that_is_none(in_tmp: Path) -> None:
    Path("worker").write_bytes(b"\x00\x01")
    Path("worker").chmod(0o755)
    with pytest.raises(
        BackendError, match=r"^model 'command': \./worker cannot be run: Exec format error\.$"
    ):
        Command(cmd="./worker")


def test_as_typed(in_tmp: Path) -> None:
    write_worker(in_tmp, "hello(args=sys.argv[1:])\nfor request in asked(): pass")
    typed = 'command:cmd="worker.py --sizes 1,2 --title=x=y",in_flight=3,timeout=60,does=image+text'
    backend: Command = build("model 'command'", Command, parse_spec(typed).options)
    backend.close()
    assert backend.describe()["args"] == ["--sizes", "1,2", "--title=x=y"]
    assert backend.describe()["in_flight"] == 3
    assert not os.path.exists("worker.log")
