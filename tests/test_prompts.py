"""Templates: strict, sandboxed, and no slower path gives another text."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment

from unisandbox.errors import TaskFileError
from unisandbox.prompts import Template, conclusion, render_all, with_thought


def render(source: str, **fields: Any) -> str:
    return Template(source, "file.yaml:3: prompts.direct").render(fields)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("Draw {{ n }} {{ noun }}.", "Draw 3 cups."),
        ("{{ noun }}", "cups"),
        ("{{noun}}", "cups"),
        ("{{ n }}", "3"),
        ("plain words", "plain words"),
        ("{% if n > 2 %}many{% else %}few{% endif %}", "many"),
        ("{% for i in range(n) %}{{ i }}{% endfor %}", "012"),
        ("{{ noun | upper }}{# a comment #}", "CUPS"),
        ("<b>&amp; 'quotes'</b>{{ html }}", "<b>&amp; 'quotes'</b><i>"),
        ("{ n }", "{ n }"),
        ("50 %", "50 %"),
    ],
)
def test_fields_fill_templates(source: str, text: str) -> None:
    assert render(source, n=3, noun="cups", html="<i>") == text


@given(st.text(alphabet="ab {}%#\n'", max_size=12))
def test_shortcuts_give_what_jinja_gives(source: str) -> None:
    fields = {"a": "A {{ b }}", "b": 2, "ab": None}
    try:
        expected = Environment().from_string(source).render(fields)
    except Exception:
        return
    try:
        assert render(source, **fields) == expected
    except TaskFileError as error:
        assert "variable" in str(error) or "in the template" in str(error)


def test_a_value_is_never_taken_for_a_template() -> None:
    assert render("{{ a }}", a="{{ b }}", b="secret") == "{{ b }}"
    assert render("x {{ a }}", a="{{ b }}", b="secret") == "x {{ b }}"


@pytest.mark.parametrize(
    "source", ["{{ quetsion }}", "Draw: {{ quetsion }}", "{% if quetsion %}x{% endif %}"]
)
def test_a_missing_variable_is_named_with_the_ones_there_are(source: str) -> None:
    with pytest.raises(TaskFileError) as caught:
        render(source, question="?", n=1)
    assert str(caught.value) == (
        "file.yaml:3: prompts.direct: Unknown variable 'quetsion'. Did you mean 'question'? "
        "Known: n, question."
    )


def test_a_missing_part_of_a_variable_is_an_error_too() -> None:
    with pytest.raises(TaskFileError, match=r"file.yaml:3.*has no attribute 'colour'"):
        render("{{ cup.colour }}", cup={"size": 1})


@pytest.mark.parametrize("source", ["{{ n", "{% if n %}", "{{ n | nofilter }}", "{% for %}", "{{ }}"])
def test_what_is_not_jinja_is_refused_when_compiled(source: str) -> None:
    with pytest.raises(TaskFileError, match=r"file.yaml:3: prompts.direct: not a valid Jinja template: "):
        Template(source, "file.yaml:3: prompts.direct")


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ s.__class__ }}{{ s.__class__.__base__.__subclasses__() }}",
        "{{ s.format.__globals__ }}",
        "{{ '{0.__class__.__mro__}'.format(s) }}",
        "{{ items.append(1) }}",
        "{{ table.update({'a': 2}) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ lipsum.__globals__['os'].popen('id').read() }}",
        "{{ self.__init__ }}",
        "{{ range(99999999) | list }}",
        "{% include 'other' %}",
        "{% import 'os' as os %}{{ os }}",
    ],
)
def test_templates_reach_no_python(source: str) -> None:
    fields: dict[str, Any] = {"s": "text", "items": [0], "table": {"a": 1}}
    with pytest.raises(TaskFileError, match=r"^demo: "):
        text = Template(source, "demo").render(fields)
        assert "class" not in text, text
    assert fields == {"s": "text", "items": [0], "table": {"a": 1}}


@pytest.mark.parametrize("source", ["{{ 1 / n }}", "{{ n + word }}", "{{ n() }}", "{{ word[0:'a'] }}"])
def test_what_an_expression_raises_names_the_template(source: str) -> None:
    with pytest.raises(TaskFileError, match=r"^demo: \w+Error in the template: "):
        Template(source, "demo").render({"n": 0, "word": "a"})


def test_a_lone_field_keeps_its_type_and_nothing_else_does() -> None:
    fields = {"n": 3, "slots": {"hair": "red"}}
    templates = {key: Template(key, "demo") for key in ("{{ n }}", "{{ slots }}", "{{ n }}!", "{{ n + 1 }}")}
    assert list(render_all(templates, fields).values()) == [3, {"hair": "red"}, "3!", "4"]
    with pytest.raises(TaskFileError, match="Unknown variable 'm'"):
        Template("{{ m }}", "demo").value(fields)


@pytest.mark.parametrize(
    ("thought", "said"),
    [
        ("8 / 4 = 2.\nDraw: 2 cups.", "Draw 2 cups."),
        ("draw: a dog? No.\n**Draw:** a cat", "Draw a cat"),
        ("**Draw: a cat**", "Draw a cat"),
        ("I think so.\n\nIt is a cat", "It is a cat"),
        ("四除以二等于二。画两个杯子。", "四除以二等于二。画两个杯子。"),
        ("四除以二等于二。 画两个杯子。", "画两个杯子。"),
        ("One. Two! Three?", "Three?"),
        ("It is 2.5 cups", "It is 2.5 cups"),
        ("Draw:", "Draw:"),
        ("", ""),
        ("  \n ", ""),
    ],
)
def test_a_thought_is_cut_down_to_what_it_says_to_draw(thought: str, said: str) -> None:
    assert conclusion(thought) == said


def test_a_thought_stands_between_the_question_and_its_conclusion() -> None:
    turns = with_thought("What is 8 / 4?", "It is 2.\nDraw: 2 cups.")
    assert [(turn.role, turn.text, turn.thought) for turn in turns] == [
        ("user", "What is 8 / 4?", False),
        ("model", "It is 2.\nDraw: 2 cups.", True),
        ("user", "Draw 2 cups.", False),
    ]
