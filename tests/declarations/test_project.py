"""gateways.yaml: what settings become, and where the file is found. Mistakes are in tests/bad."""

from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import pytest

from reconciler import schemas
from reconciler.declarations.project import FILE, find_root, load_project, read_project
from reconciler.errors import InvalidInput, WrongUsage
from reconciler.model import Limits, Place, Target

ROOT: Final = Path("/project")
EVERYTHING: Final = b"""
owner: acme-mail-config
declarations: mail/gateways.d/
secrets: [secrets/*.sops.yaml]
fingerprint_key: shared_key
targets:
  local: {platform: embedded}
  production:
    platform: http
    url: https://gateways.example.com
    tenant: acme
    token: {env: GATEWAYS_TOKEN}
    variables: {mail_domain: example.com}
    select: {env: production, area: eu}
    allow_hosts: ["*.example.com", 192.0.2.25]
    errors: [plaintext-connection]
    max_disconnects: 2
    max_reconnects: 10
    secrets: [secrets/production/*.sops.yaml]
    fingerprint_key: production_key
    sops_key_services: ["https://vault.example.com"]
  aicc: {platform: runbook, record: aicc.json}
default_target: local
"""


def test_every_setting_reaches_its_target() -> None:
    project = read_project(EVERYTHING, ROOT)
    assert project.root == ROOT
    assert list(project.targets) == ["local", "production", "aicc"]
    assert project.targets["production"] == Target(
        name="production",
        platform="http",
        place=Place(FILE, 8, 3),
        owner="acme-mail-config",
        declarations="mail/gateways.d",
        secrets=("secrets/production/*.sops.yaml",),
        fingerprint_key="production_key",
        url="https://gateways.example.com",
        tenant="acme",
        token_env="GATEWAYS_TOKEN",
        variables={"mail_domain": "example.com"},
        select=(("area", "eu"), ("env", "production")),
        limits=Limits(2, 10, ("*.example.com", "192.0.2.25")),
        errors=frozenset({"plaintext-connection"}),
        sops_key_services=("https://vault.example.com",),
    )
    assert project.targets["aicc"].record == "aicc.json"
    assert project.targets["local"].secrets == ("secrets/*.sops.yaml",)
    assert project.targets["local"].fingerprint_key == "shared_key"


def test_defaults() -> None:
    project = read_project(b"targets: {local: {platform: embedded}}", ROOT)
    assert project.default_target == "local"
    assert project.targets["local"] == Target(
        name="local",
        platform="embedded",
        place=Place(FILE, 1, 11),
        owner="local",
        declarations="gateways.d",
        secrets=("gateways.d/secrets/*.sops.yaml",),
    )


def test_defaults_are_those_that_the_schema_tells() -> None:
    schema = schemas.load("project")
    target = read_project(b"targets: {local: {platform: embedded}}", ROOT).targets["local"]
    told: dict[str, Any] = {
        key: setting["default"]
        for place in (schema["properties"], schema["$defs"]["target"]["properties"])
        for key, setting in place.items()
        if "default" in setting
    }
    assert told.pop("max_disconnects") == target.limits.max_disconnects
    assert told.pop("freeze") == list(target.limits.freeze)
    for key, value in told.items():
        actual = getattr(target, key)
        assert (type(value)(actual) if isinstance(value, list | dict) else actual) == value, key


def test_every_setting_of_a_target_can_be_written() -> None:
    """Whoever adds a setting to the model must also let people write it."""
    schema = schemas.load("project")
    keys = {*schema["properties"], *schema["$defs"]["target"]["properties"]}
    known = {field.name for field in fields(Target)} | {field.name for field in fields(Limits)}
    assert known - keys == {"name", "place", "limits", "token_env"}
    assert keys - known == {"targets", "default_target", "token"}


def test_settings_of_another_commit_need_no_file() -> None:
    assert read_project(EVERYTHING, Path("/nowhere")).default_target == "local"


def test_the_root_is_found_from_below(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(EVERYTHING)
    deep = tmp_path / "gateways.d" / "certs"
    deep.mkdir(parents=True)
    assert find_root(deep) == tmp_path.resolve()
    assert load_project(tmp_path).default_target == "local"


def test_a_missing_file_says_how_to_begin(tmp_path: Path) -> None:
    for call in (find_root, load_project):
        with pytest.raises(InvalidInput, match=FILE) as caught:
            call(tmp_path)
        assert "gateways init" in caught.value.hint


def test_a_target_by_its_name() -> None:
    project = read_project(EVERYTHING, ROOT)
    assert project.target().name == "local"
    assert project.target("aicc").name == "aicc"
    with pytest.raises(WrongUsage, match="did you mean 'production'"):
        project.target("prodution")


def test_an_add_on_brings_its_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"targets: {console: {platform: other-console}}"
    with pytest.raises(InvalidInput):
        read_project(text, ROOT)
    installed = tmp_path / "other_console-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Name: other-console\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        "[gateways.platforms]\nother-console = other:open\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert read_project(text, ROOT).targets["console"].platform == "other-console"


def test_a_broken_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"targets: {\n")
    with pytest.raises(InvalidInput) as caught:
        load_project(tmp_path)
    assert [problem.place.file for problem in caught.value.problems] == [FILE]


@pytest.mark.parametrize(
    "url",
    [
        "https://gateways.example.com",
        "https://gateways.example.com:8443/",
        "https://[2001:db8::1]",
        "http://localhost:8080",
        "http://127.0.0.1",
        "http://[::1]:1",
    ],
)
def test_urls(url: str) -> None:
    assert _fits(url)


@pytest.mark.parametrize(
    "url",
    [
        "gateways.example.com",
        "http://gateways.example.com",
        "http://localhost.example.com",
        "https://user:password@gateways.example.com",
        "https://gateways.example.com/v1",
        "https://gateways.example.com?x",
        "https://gateways.example.com\n",
        "file:///etc/passwd",
        "HTTPS://gateways.example.com",
    ],
)
def test_no_urls(url: str) -> None:
    assert not _fits(url)


def _fits(url: str) -> bool:
    return schemas.gate("project")({"targets": {"a": {"platform": "embedded", "url": url}}})


def test_the_sample_of_this_repository_is_valid() -> None:
    root = Path(__file__).resolve().parent.parent.parent
    project = load_project(root)
    assert project.target().platform == "embedded"
    assert project.target().variables
