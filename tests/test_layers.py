"""Who may import whom. The layers are a test and not a wish.

Both kinds of import count, those at the top of a module and those inside a function: an import that
is late is still an import.
"""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGE: Final = ROOT / "reconciler"

# Modules that every layer may use: they know nothing of gateways' ways.
SHARED: Final = (
    "reconciler",
    "reconciler.errors",
    "reconciler.clock",
    "reconciler.files",
    "reconciler.garbage",
    "reconciler.pem",
)

# What the service and its clients both speak.
BETWEEN: Final = (
    "reconciler.messages",
    "reconciler.tokens",
    "reconciler.wire",
    "reconciler.wire_mail",
    "reconciler.wire_reading",
    "reconciler.by_value",
    "reconciler.transitions",
)

# A layer, and what of ours it may import beside itself and what is shared.
ALLOWED: Final[Mapping[str, tuple[str, ...]]] = {
    "reconciler.model": (),
    "reconciler.errors": ("reconciler.model",),
    "reconciler.clock": (),
    "reconciler.files": ("reconciler.model",),
    "reconciler.garbage": (),
    "reconciler.pem": (),
    "reconciler.schemas": ("reconciler.model",),
    "reconciler.git": ("reconciler.model",),
    "reconciler.messages": (),
    "reconciler.tokens": ("reconciler.model",),
    "reconciler.wire": ("reconciler.model",),
    "reconciler.wire_mail": ("reconciler.messages",),
    "reconciler.wire_reading": ("reconciler.model", "reconciler.by_value"),
    "reconciler.by_value": ("reconciler.model",),
    "reconciler.transitions": ("reconciler.model",),
    "reconciler.declarations": ("reconciler.model", "reconciler.schemas"),
    "reconciler.discovery": ("reconciler.model", "reconciler.schemas"),
    "reconciler.engine": ("reconciler.model", "reconciler.schemas", "reconciler.platforms"),
    "reconciler.report": ("reconciler.model", "reconciler.schemas", "reconciler.messages"),
    "reconciler.forges": ("reconciler.model",),
    "reconciler.service": ("reconciler.model", "reconciler.schemas", *BETWEEN),
    "reconciler.platforms": ("reconciler.model", "reconciler.schemas", *BETWEEN),
    "reconciler.platforms.embedded": (
        "reconciler.model",
        "reconciler.schemas",
        "reconciler.platforms",
        "reconciler.service",
        *BETWEEN,
    ),
    "reconciler.platforms.embedded_mail": (
        "reconciler.model",
        "reconciler.schemas",
        "reconciler.platforms",
        "reconciler.service",
        *BETWEEN,
    ),
    "reconciler.pipeline": (
        "reconciler.model",
        "reconciler.declarations",
        "reconciler.engine",
        "reconciler.platforms",
        "reconciler.git",
        "reconciler.schemas",
    ),
    "reconciler.cli": ("reconciler",),
    "reconciler.__main__": ("reconciler.cli",),
}

PRINTERS: Final = {"print", "echo", "secho", "style", "prompt", "confirm"}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


PATHS: Final = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(module: str, *, top_only: bool = False) -> Iterator[str]:
    """Our modules that one module imports, by their full names."""
    tree = tree_of(PATHS[module])
    nodes = tree.body if top_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if is_ours(alias.name))
        elif isinstance(node, ast.ImportFrom):
            yield from from_import(module, node)


def from_import(module: str, node: ast.ImportFrom) -> Iterator[str]:
    base = node.module or ""
    if node.level:
        package = module.split(".") if is_package(module) else module.split(".")[:-1]
        base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
    if is_ours(base):
        for alias in node.names:
            whole = f"{base}.{alias.name}"
            yield whole if whole in PATHS else base


def is_ours(name: str) -> bool:
    return name == "reconciler" or name.startswith("reconciler.")


def is_package(module: str) -> bool:
    return PATHS[module].name == "__init__.py"


def within(module: str, layer: str) -> bool:
    return module == layer or module.startswith(f"{layer}.")


def layer_of(module: str) -> str | None:
    layers = [layer for layer in ALLOWED if within(module, layer)]
    return max(layers, key=len, default=None)


def may_import(layer: str, wanted: str) -> bool:
    return (
        wanted in SHARED
        or within(wanted, layer)
        or any(within(wanted, allowed) for allowed in ALLOWED[layer])
    )


def test_every_module_belongs_to_a_layer() -> None:
    assert [m for m in PATHS if m != "reconciler" and layer_of(m) is None] == []


@pytest.mark.parametrize("module", PATHS)
def test_layers(module: str) -> None:
    layer = layer_of(module)
    if layer is None:
        assert list(imported(module)) == []
        return
    assert [wanted for wanted in imported(module) if not may_import(layer, wanted)] == []


def test_model_imports_nothing_of_ours() -> None:
    assert list(imported("reconciler.model")) == []


def test_only_embedded_reaches_the_service() -> None:
    """And the command line, whose `check` climbs the service's ladder without a platform."""
    outside = [m for m in PATHS if layer_of(m) not in {"reconciler.service", "reconciler.cli"}]
    found = {m for m in outside for wanted in imported(m) if within(wanted, "reconciler.service")}
    assert found == {"reconciler.platforms.embedded", "reconciler.platforms.embedded_mail"}


def test_no_import_cycles() -> None:
    """Of the imports that happen when a module is loaded; one inside a function may point back."""
    graph = {m: {w for w in imported(m, top_only=True) if w != m and w in PATHS} for m in PATHS}
    for module, needs in graph.items():
        # importing a module of a package runs the package first, unless we are inside it
        needs.difference_update(own for own in list(needs) if module.startswith(f"{own}."))
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("import cycle: " + " imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("module", [m for m in PATHS if not within(m, "reconciler.cli")])
def test_only_the_command_line_prints(module: str) -> None:
    found = [
        f"line {node.lineno}: {ast.unparse(node.func)}"
        for node in ast.walk(tree_of(PATHS[module]))
        if isinstance(node, ast.Call) and prints(node.func)
    ]
    streams = [
        f"line {node.lineno}: sys.{node.attr}"
        for node in ast.walk(tree_of(PATHS[module]))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"sys.stdout", "sys.stderr"}
    ]
    assert found + streams == []


def prints(function: ast.expr) -> bool:
    match function:
        case ast.Name(id="print"):
            return True
        case ast.Attribute(value=ast.Name(id="click"), attr=name):
            return name in PRINTERS
        case _:
            return False


def test_the_checks_can_fail() -> None:
    assert not may_import("reconciler.declarations", "reconciler.engine.diff")
    assert not may_import("reconciler.service", "reconciler.declarations")
    assert not may_import("reconciler.report", "reconciler.cli.common")
    assert may_import("reconciler.cli", "reconciler.engine.diff")
    assert prints(ast.parse("click.echo").body[0].value)  # type: ignore[attr-defined]
