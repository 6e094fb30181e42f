"""Variables: what is rendered, and everything else that is refused before anything is rendered."""

import subprocess
import sys
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.declarations.variables import (
    MAX_RENDERED,
    MAX_TEMPLATE,
    Renderer,
    TemplateFault,
    holds_template,
    is_template,
    may_hold_template,
)

VARIABLES: Final = {"mail_domain": "Example.com", "self": "me", "long": "x" * 999}


def render(text: str) -> str:
    return Renderer("local", VARIABLES).render(text)


def rule_of(text: str) -> str:
    with pytest.raises(TemplateFault) as caught:
        render(text)
    assert caught.value.message
    assert caught.value.hint
    return caught.value.rule


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("mail.{{ mail_domain }}", "mail.Example.com"),
        ("{{mail_domain|lower}}", "example.com"),
        ("{{ mail_domain | upper }}:{{ mail_domain }}", "EXAMPLE.COM:Example.com"),
        ("{{ (mail_domain) }}", "Example.com"),
        ("{{ absent | default('a') }}", "a"),
        ("{{ absent | default('a') | upper }}", "A"),
        ("{{ mail_domain | default('a') }}", "Example.com"),
        ("{{ absent | default('{{ mail_domain }}') }}", "{{ mail_domain }}"),
        ("{{mail_domain}}}", "Example.com}"),
        ("{{ mail_domain }}\n", "Example.com\n"),
        (" {{ mail_domain }} ", " Example.com "),
        ("no variable }}", "no variable }}"),
    ],
)
def test_variables_are_filled_in(text: str, rendered: str) -> None:
    assert render(text) == rendered


@pytest.mark.parametrize(
    "text",
    [
        "{{ mail_domain.upper() }}",
        "{{ mail_domain.__class__.__mro__ }}",
        "{{ mail_domain['__class__'] }}",
        "{{ ''.__class__ }}",
        "{{ range(9) }}",
        "{{ lipsum }}{{ mail_domain() }}",
        "{% for x in y %}a{% endfor %}",
        "{% set x = 1 %}",
        "{# comment #}",
        "{{ mail_domain }}{# comment #}",
        "{{ 'text' }}",
        "{{ 1 + 1 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ mail_domain ~ 'x' }}",
        "{{ a if b else c }}",
        "{{ mail_domain is defined }}",
        "{{ mail_domain, mail_domain }}",
        "{{ [mail_domain] }}",
        "{{ mail_domain | replace('a', 'b') }}",
        "{{ mail_domain | attr('upper') }}",
        "{{ mail_domain | lower('a') }}",
        "{{ absent | default }}",
        "{{ absent | default(1) }}",
        "{{ absent | default(mail_domain) }}",
        "{{ absent | default(value='a') }}",
        "{{ absent | default('a', true) }}",
        "{{ absent | default(*mail_domain) }}",
        "{{ true }}",
        "{{ -mail_domain }}",
        "{{ mail_domain",
        "{{ }}",
        "{{",
        "{{{ mail_domain }}",
        "{{ '\\N{nothing}' }}",
        "{{ mail_domain" + " | lower" * 300 + " }}",
        "{{ " + "(" * 900 + "mail_domain" + ")" * 900 + " }}",
        "{{ " + "9" * 3_900 + " }}",
        "{{ mail_domain }}" + "x" * MAX_TEMPLATE,
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    assert rule_of(text) == "template-not-allowed"


@pytest.mark.parametrize(
    "text", ["{{ absent }}", "{{ absent | lower | default('a') }}", "{{ self }}", "{{ loop }}"]
)
def test_a_variable_must_be_defined(text: str) -> None:
    assert rule_of(text) == "undefined-variable"


def test_the_nearest_variable_is_named() -> None:
    with pytest.raises(TemplateFault, match="did you mean 'mail_domain'") as caught:
        render("{{ mail_domian }}")
    assert "mail_domain" in caught.value.hint


def test_a_result_has_an_end() -> None:
    assert len(render("{{ long }}x")) == MAX_RENDERED
    assert rule_of("{{ long }}xx") == "rendered-too-long"


def test_a_fault_is_the_same_the_second_time() -> None:
    renderer = Renderer("local", VARIABLES)
    for _ in range(2):
        with pytest.raises(TemplateFault):
            renderer.render("{{ absent }}")


@given(st.text(alphabet="{}%# |()'ad.e+-_lower\n", max_size=40))
@settings(deadline=None)
def test_no_text_makes_anything_else_happen(text: str) -> None:
    """Rendered or refused: never another exception."""
    try:
        rendered = Renderer("local", {"a": "1", "d": "2"}).render(text)
    except TemplateFault:
        return
    if not is_template(text):
        assert rendered == text


PIECES: Final = ["{{ a }}", "{{b|lower}}", "{{ c | default('d') | upper }}", "x", "}", "}}", "|"]


@given(st.lists(st.sampled_from(PIECES), max_size=8))
@settings(deadline=None)
def test_pieces_are_rendered_as_the_whole(pieces: list[str]) -> None:
    """The short cut for the common form gives what Jinja2 gives for the whole text."""
    text = "".join(pieces)
    renderer = Renderer("local", {"a": "1", "b": "B"})
    assert renderer.render(text) == renderer._once(text)


def test_a_template_is_found_wherever_text_stands() -> None:
    assert holds_template({"labels": {"a": "{{ b }}"}})
    assert holds_template(["{% b %}"])
    assert not holds_template({"{{ a }}": "b", "port": 465})


def test_a_file_may_hide_a_brace() -> None:
    assert may_hold_template(b'host: "\\x7b{ a }}"')
    assert may_hold_template(b"host: '{{ a }}'")
    assert not may_hold_template(b"labels: {a: b}")


def test_jinja2_is_imported_only_for_variables() -> None:
    """Importing it costs more than judging a small project."""
    code = (
        "import sys; from reconciler.declarations.variables import Renderer, is_template;"
        "import reconciler.declarations.validate, reconciler.declarations.project;"
        "heavy = {'jinja2', 'jsonschema', 'asyncio', 'sqlite3'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
