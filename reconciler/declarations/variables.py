"""Variables of a target in the text values of declarations: `{{ name }}`, and three filters.

Declarations come from whoever may open a pull request, so a text is parsed first and every node of
its syntax tree must be on a short list; only then does a sandbox render it, and the sandbox sees
the target's variables and nothing else.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from reconciler.declarations.wording import nearest, quote

MAX_RENDERED: Final = 1_000
MAX_TEMPLATE: Final = 4_000
"""No text is parsed that is longer: a parser's time and depth grow with it."""

FILTERS: Final = ("lower", "upper", "default")

# The common form. A text of such pieces is rendered piece by piece, so that a thousand different
# texts with one variable cost one rendering.
_TEXT: Final = r"""(?:'[^'{}\\]*'|"[^"{}\\]*")"""
_FILTER: Final = rf"\|[ ]*(?:lower|upper|default\({_TEXT}\))[ ]*"
_PIECE: Final = re.compile(
    r"(?<!\{)\{\{[ ]*[A-Za-z_][A-Za-z0-9_]*[ ]*" + rf"(?:{_FILTER}){{0,3}}" + r"\}\}"
)

_MARKS: Final = ("{{", "{%", "{#")
_HINT: Final = "write {{ name }}, if needed with a filter: lower, upper or default('text')"


class TemplateFault(Exception):
    """A text that cannot be rendered: a rule, a message and a hint."""

    def __init__(self, rule: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.hint = hint


def may_hold_template(text: bytes) -> bool:
    """Whether some value of a file may hold a variable; a backslash may hide a brace."""
    return b"{{" in text or b"{%" in text or b"{#" in text or b"\\" in text


def is_template(text: str) -> bool:
    return any(mark in text for mark in _MARKS)


def holds_template(value: Any) -> bool:
    """Whether a text anywhere in a value holds a variable; keys are never rendered."""
    match value:
        case str():
            return "{" in value and is_template(value)
        case dict():
            return any(holds_template(inner) for inner in value.values())
        case list():
            return any(holds_template(inner) for inner in value)
        case _:
            return False


class Renderer:
    """Renders the texts of one target. Each different text is parsed and rendered once."""

    def __init__(self, target: str, variables: Mapping[str, str]) -> None:
        self._target = target
        self._variables = dict(variables)
        self._environment: Any = None
        self._rendered: dict[str, str | TemplateFault] = {}

    def render(self, text: str) -> str:
        """The text with its variables filled in.

        Raises:
            TemplateFault: it holds something else than variables, or one that is not defined.

        """
        if len(text) > MAX_TEMPLATE:
            raise _not_allowed(f"a text with variables has at most {MAX_TEMPLATE:,} characters")
        if is_template(_PIECE.sub("", text)):
            rendered = self._once(text)
        else:
            rendered = _PIECE.sub(lambda piece: self._once(piece[0]), text)
        if len(rendered) > MAX_RENDERED:
            raise TemplateFault(
                "rendered-too-long",
                f"with its variables this has {len(rendered):,} characters",
                f"at most {MAX_RENDERED:,}; shorten the variables of target {quote(self._target)}",
            )
        return rendered

    def _once(self, text: str) -> str:
        result = self._rendered.get(text)
        if result is None:
            try:
                result = self._render(text)
            except TemplateFault as fault:
                result = fault
            self._rendered[text] = result
        if isinstance(result, TemplateFault):
            raise result.with_traceback(None)
        return result

    def _render(self, text: str) -> str:
        environment = self._environment = self._environment or _sandbox()
        for name in _checked_names(_parsed(environment, text)):
            if name not in self._variables or name == "self":  # a word of Jinja2
                raise self._undefined(name)
        rendered: str = environment.from_string(text).render(self._variables)
        return rendered

    def _undefined(self, name: str) -> TemplateFault:
        message = f"variable {quote(name)} is not defined for target {quote(self._target)}"
        meant = nearest(name, tuple(self._variables))
        if meant:
            message += f"; did you mean {quote(meant)}?"
        known = ", ".join(sorted(self._variables))
        hint = f"its variables: {known}" if known else "the target has no variables"
        return TemplateFault("undefined-variable", message, hint)


def _sandbox() -> Any:
    from jinja2 import StrictUndefined  # noqa: PLC0415
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        cache_size=0,
    )
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in FILTERS}
    environment.tests.clear()
    return environment


def _parsed(environment: Any, text: str) -> Any:
    from jinja2 import TemplateError  # noqa: PLC0415

    if "{%" in text or "{#" in text:
        raise _not_allowed("{% and {# are not accepted")
    try:
        return environment.parse(text)
    except (TemplateError, ValueError, RecursionError, OverflowError):
        raise _not_allowed("this is not a variable between {{ and }}") from None


def _checked_names(template: Any) -> list[str]:
    """The variables that must be defined, all nodes being on the list of what is accepted."""
    from jinja2 import nodes  # noqa: PLC0415

    names = []
    for output in template.body:
        if type(output) is not nodes.Output:
            raise _not_allowed("only variables are accepted here")
        for node in output.nodes:
            if type(node) is not nodes.TemplateData:
                names += _needed(node, nodes)
    return names


def _needed(node: Any, nodes: Any) -> list[str]:
    """The variable below a chain of filters, unless the innermost filter gives it a default."""
    guarded = False
    for _ in range(len(FILTERS) + 1):
        if type(node) is nodes.Name:
            return [] if guarded else [node.name]
        if type(node) is not nodes.Filter or node.node is None:
            break
        _check_filter(node, nodes)
        guarded = node.name == "default"
        node = node.node
    raise _not_allowed("only a variable and its filters are accepted here")


def _check_filter(node: Any, nodes: Any) -> None:
    if node.name not in FILTERS:
        raise _not_allowed(f"there is no filter {quote(node.name)}")
    if node.kwargs or node.dyn_args or node.dyn_kwargs:
        raise _not_allowed(f"the filter {node.name} takes no such arguments")
    if node.name != "default":
        if node.args:
            raise _not_allowed(f"the filter {node.name} takes no arguments")
    elif not _is_one_text(node.args, nodes):
        raise _not_allowed("the filter default takes one text in quotes")


def _is_one_text(arguments: Any, nodes: Any) -> bool:
    return (
        len(arguments) == 1
        and type(arguments[0]) is nodes.Const
        and isinstance(arguments[0].value, str)
    )


def _not_allowed(message: str) -> TemplateFault:
    return TemplateFault("template-not-allowed", message, _HINT)
