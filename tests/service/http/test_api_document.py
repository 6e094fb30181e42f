"""The published document: valid, complete, equal to the routes, and what requests are judged by."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from openapi_spec_validator import validate

from reconciler import schemas
from reconciler.service.http import contract
from reconciler.service.http.app import ROUTES, make_app
from reconciler.service.http.document import METHODS
from reconciler.service.http.problems import TITLES, TYPE
from tests.service.http.api import wish
from tests.service.running import running

DOCUMENT: Final = contract.document()
OPEN: Final = {"none", "browser"}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method in METHODS:
            if method in item:
                yield method.upper(), path, item[method]


def test_it_is_openapi() -> None:
    validate(DOCUMENT)


def test_it_is_published_with_the_other_schemas() -> None:
    """The folder is what the wheel takes."""
    assert (schemas.folder() / contract.NAME).read_bytes() == contract.text()


async def test_it_has_every_route_with_its_role_and_nothing_else(tmp_path: Path) -> None:
    """But for the files that pages are made of."""
    async with running(tmp_path) as run:
        served = {
            (route.method, route.resource.canonical)
            for route in make_app(run.site).router.routes()
            if route.resource
        }
    guarded = {(route.method, route.path): route.role.value for route in ROUTES}
    documented = {(method, path): data["x-role"] for method, path, data in operations()}
    asked = {key: role for key, role in documented.items() if role not in OPEN}
    assert asked == guarded
    files = {one for one in served if one[1].startswith("/static/") or one[0] == "*"}
    assert served - files == set(documented)


def test_an_operation_says_who_may_and_what_may_go_wrong() -> None:
    names = [data["operationId"] for _, _, data in operations()]
    assert len(set(names)) == len(names)
    for _, path, data in operations():
        open_to_all = data["x-role"] in OPEN
        assert (data.get("security") == []) is open_to_all, path
        if not open_to_all:
            assert {"401", "403", "429", "503"} <= set(data["responses"]), path
        if "requestBody" in data and not open_to_all:
            assert {"400", "408", "413", "415", "422"} <= set(data["responses"]), path


def test_every_problem_is_in_it() -> None:
    documented = DOCUMENT["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]
    assert {one.removeprefix(TYPE) for one in documented} == set(TITLES)
    described = str(DOCUMENT["components"]["responses"])
    for slug in set(TITLES) - {"not-allowed", "internal"}:
        assert f"`{slug}`" in described, slug


def test_the_fields_of_a_gateway_are_those_of_a_declaration() -> None:
    declared = schemas.load("gateways")["$defs"]["gateway"]["properties"]
    for name in ("Gateway", "GatewayFields"):
        fields = DOCUMENT["components"]["schemas"][name]["properties"]
        assert set(fields) - {"name"} == set(declared) - {"user_password"}
        for key, rule in declared.items():
            allowed = schemas.load("gateways")["$defs"][rule["$ref"].rpartition("/")[2]].get("enum")
            shown = [one for one in fields.get(key, {}).get("enum", []) if one is not None]
            assert not shown or shown == allowed, key


@pytest.mark.parametrize("path", [path for _, path, data in operations() if "requestBody" in data])
def test_examples_fit(path: str) -> None:
    for data in DOCUMENT["paths"][path].values():
        content = data.get("requestBody", {}).get("content", {}) if isinstance(data, dict) else {}
        for media in content.values():
            name = media["schema"].get("$ref", "").rpartition("/")[2]
            for example in media.get("examples", {}).values():
                value = example["value"]
                if name == "GatewayWrite":  # its digest and its certificate are shortened
                    value = {
                        **wish(),
                        **{key: value[key] for key in ("owner", "actor", "password")},
                    }
                assert contract.errors(name, value) == []


def test_no_example_is_a_secret() -> None:
    text = contract.text().decode()
    assert not re.search(r"gwt_[a-z0-9]{12}|whsec_[A-Za-z0-9+/]{8}|PRIVATE KEY", text)


async def test_it_is_served_as_it_is(tmp_path: Path) -> None:
    async with running(tmp_path) as run, run.http.get("/openapi.yaml") as answer:
        assert answer.status == 200
        assert answer.content_type == "application/yaml"
        assert yaml.safe_load(await answer.text()) == DOCUMENT


class Page(HTMLParser):
    """What a browser would fetch or run, where it can jump to, and what it shows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.fetched += [found[name] for name in ("src", "data", "style") if name in found]
        self.ids += [found["id"]] if "id" in found else []
        self.targets += [found["href"]] if "href" in found else []


async def test_the_page_needs_no_script_and_nothing_from_elsewhere(tmp_path: Path) -> None:
    async with running(tmp_path) as run, run.http.get("/docs") as answer:
        text, policy = await answer.text(), answer.headers["Content-Security-Policy"]
    page = Page(text)
    assert "script" not in page.tags
    assert page.fetched == []
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    inside = {one.removeprefix("#") for one in page.targets if one.startswith("#")}
    assert inside <= set(page.ids)
    assert {one for one in page.targets if not one.startswith("#")} == {"/openapi.yaml"}
    assert len(set(page.ids)) == len(page.ids)
    assert {data["operationId"] for _, _, data in operations()} <= set(page.ids)
    assert {f"schema-{name}" for name in DOCUMENT["components"]["schemas"]} <= set(page.ids)
