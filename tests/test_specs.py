"""``name:key=value``: what is typed becomes what a factory asks for, or one clear line."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from unisandbox.errors import UsageError
from unisandbox.specs import Spec, build, checked_options, parse_spec


class Model:
    def __init__(
        self,
        *,
        rate: Annotated[float, Field(ge=0, le=1)] = 1.0,
        size: int = 8,
        words: tuple[str, ...] = (),
        form: Literal["a", "b"] = "a",
        path: Path | None = None,
        fast: bool = False,
        note: str = "",
    ) -> None:
        self.given = {
            "rate": rate, "size": size, "words": words, "form": form, "path": path, "fast": fast, "note": note
        }  # fmt: skip


def needs(*, name: str, folder: Path, size: int = 1) -> tuple[str, Path, int]:
    return name, folder, size


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("oracle", "oracle", {}),
        ("oracle:", "oracle", {}),
        ("  oracle:a=1 ", "oracle", {"a": "1"}),
        ("oracle:a=1,b=x+y", "oracle", {"a": "1", "b": "x+y"}),
        ("oracle: a = 1 , b = 2", "oracle", {"a": "1", "b": "2"}),
        ("folder:path=C:/pictures", "folder", {"path": "C:/pictures"}),
        ("server:url=http://host:80/v1?a=b", "server", {"url": "http://host:80/v1?a=b"}),
        ("oracle:a=", "oracle", {"a": ""}),
        ("oracle:a=1,", "oracle", {"a": "1"}),
        ('command:cmd="draw --sizes 1,2",size=3', "command", {"cmd": "draw --sizes 1,2", "size": "3"}),
        ('command:cmd=draw --title "a, b",size=3', "command", {"cmd": 'draw --title "a, b"', "size": "3"}),
        ('command:cmd="my draw" --to "a",size=3', "command", {"cmd": '"my draw" --to "a"', "size": "3"}),
        ('oracle:a=5",b=6', "oracle", {"a": '5"', "b": "6"}),
    ],
)
def test_names_and_options_are_told_apart(text: str, name: str, options: dict[str, str]) -> None:
    assert parse_spec(text) == Spec(name, options)


@pytest.mark.parametrize("text", ['a:b="1,2",c=3', 'a:b=x "1,2",c=3', "a:b=1,c=2", 'a:b="1,2,"', "a:b="])
def test_a_label_is_read_as_what_it_names(text: str) -> None:
    assert parse_spec(parse_spec(text).label) == parse_spec(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("oracle:transfer", "'oracle:transfer': 'transfer' is no option. Write NAME:KEY=VALUE,KEY=VALUE"),
        ("oracle:=1", "'=1' is no option"),
        ("oracle:a=1,a=2", "the option 'a' stands twice"),
        (":a=1", "the name is missing"),
        ("", "the name is missing"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_spec(text)
    assert message in str(caught.value)


def test_a_label_does_not_depend_on_the_order_of_options() -> None:
    assert parse_spec("m:b=2,a=1").label == parse_spec("m:a=1,b=2").label == "m:a=1,b=2"


@pytest.mark.parametrize(
    "key", ["key", "api_key", "API_KEY", "token", "hf_token", "password", "client_secret"]
)
def test_secrets_are_hidden_in_labels_and_kept_in_options(key: str) -> None:
    spec = parse_spec(f"server:{key}=s3cr3t,model=x")
    assert "s3cr3t" not in spec.label
    assert f"{key}=***" in spec.label
    assert spec.options[key] == "s3cr3t"


@pytest.mark.parametrize("key", ["keys", "tokens", "max_tokens", "monkey", "keypoints"])
def test_words_that_only_sound_secret_are_shown(key: str) -> None:
    assert parse_spec(f"server:{key}=7").label == f"server:{key}=7"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"rate": "0.5"}, {"rate": 0.5}),
        ({"rate": "1"}, {"rate": 1.0}),
        ({"rate": 1}, {"rate": 1.0}),
        ({"size": "-3"}, {"size": -3}),
        ({"words": "cup+hat"}, {"words": ("cup", "hat")}),
        ({"words": "cup"}, {"words": ("cup",)}),
        ({"words": ["cup", "hat"]}, {"words": ("cup", "hat")}),
        ({"form": "b"}, {"form": "b"}),
        ({"path": "a/b"}, {"path": Path("a/b")}),
        ({"fast": "true"}, {"fast": True}),
        ({"words": ""}, {"words": ()}),
        ({"note": "a+b"}, {"note": "a+b"}),
        ({"note": "0.50"}, {"note": "0.50"}),
    ],
)
def test_values_become_what_the_factory_asks_for(options: dict[str, Any], expected: dict[str, Any]) -> None:
    found = build("model 'm'", Model, options).given
    assert {key: found[key] for key in expected} == expected
    assert {key: type(found[key]) for key in expected} == {key: type(v) for key, v in expected.items()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"raet": "1"}, "model 'm': Unknown option 'raet'. Did you mean 'rate'? Known: fast, form,"),
        ({"rate": "2"}, "model 'm': option rate='2': input should be less than or equal to 1."),
        ({"size": "big"}, "model 'm': option size='big': input should be a valid integer"),
        ({"size": "1.5"}, "model 'm': option size='1.5': input should be a valid integer"),
        ({"form": "c"}, "model 'm': option form='c': input should be 'a' or 'b'."),
        ({"self": "1"}, "Unknown option 'self'"),
    ],
)
def test_what_does_not_fit_the_factory_is_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        build("model 'm'", Model, options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_without_a_default_are_asked_for() -> None:
    with pytest.raises(UsageError, match=r"dataset 'd' needs the options name, folder="):
        checked_options("dataset 'd'", needs, {})
    with pytest.raises(UsageError, match=r"dataset 'd' needs the option folder="):
        checked_options("dataset 'd'", needs, {"name": "n"})
    assert checked_options("dataset 'd'", needs, {"name": "n"}, complete=False) == {"name": "n"}
    assert build("dataset 'd'", needs, {"name": "n", "folder": "f"}) == ("n", Path("f"), 1)
