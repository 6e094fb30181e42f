"""The corpus through the commands: where it is refused, where it is allowed, and from a server."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from demo.mailserver.process import ServerProcess
from reconciler import schemas
from reconciler.engine import planfile
from reconciler.model import EncryptionMode, ProtocolType
from tests.cli.faulty import faulty_server
from tests.cli.inside import inside
from tests.cli.served import served
from tests.cli.test_inbox import deliver
from tests.cli.world import USERS, Ran, World
from tests.hostile import everywhere
from tests.hostile.corpus import SHORT
from tests.hostile.judges import (
    expect_annotations,
    expect_json,
    expect_json_lines,
    expect_markdown,
    expect_terminal,
    expect_xml,
    page,
)
from tests.hostile.test_reports import COMMENT_TAGS, MARKDOWN_TAGS

PERSON: Final = "".join(SHORT.values()).translate({0: None}).encode("utf-8", "ignore").decode()
"""Who acts, as the environment of a job may say it: everything at once."""


@pytest.fixture
def world(mail_server: ServerProcess, tmp_path: Path) -> World:
    return World(tmp_path / "project", mail_server)


def run(world: World, *arguments: str, **environ: str) -> Ran:
    """Run it twice, so that standard error is judged in both of its forms."""
    as_json = inside(world, *arguments, "--log-format", "json", **environ)
    expect_json_lines(as_json.err)
    ran = inside(world, *arguments, "-v", **environ)
    expect_terminal(ran.err)
    return ran


def write_yaml(path: Path, data: Any) -> None:
    """As JSON, which is YAML but for characters of two escapes, and can hold any string."""
    pair = re.compile(r"\\u(d[89ab]..)\\u(d[c-f]..)")
    path.write_text(pair.sub(_as_one, json.dumps(data)))


def _as_one(pair: re.Match[str]) -> str:
    character: str = json.loads(f'"{pair.group()}"')
    return f"\\U{ord(character):08x}"


# --- where it is refused


@pytest.fixture
def refused(world: World) -> World:
    """Each string as the value of each field, as a name, as a key and as a file's name."""
    folder = world.root / "gateways.d"
    for number, text in enumerate(SHORT.values()):
        fields = {
            **world.gateway(),
            **dict.fromkeys(("protocol_type", "host", "port", "user_id", "encoding_mode"), text),
            "user_password": {"secret": text},
            "certificate_file": text,
            "default_email_address": text,
            "default_user_name": text,
            "labels": {text: text},
            text: text,
        }
        write_yaml(folder / f"{number}.yaml", {"gateways": {text: fields, "x": text}, text: text})
        name = text.replace("/", "").replace("\0", "")[:80]
        try:
            (folder / f"{name}{number}.yaml").write_text("- x\n")
        except UnicodeEncodeError:  # a lone surrogate is in no file's name
            continue
    return world


def test_refused(refused: World) -> None:
    """Faults A12, A19, A20, A21, A22: every problem in every format."""
    found = run(refused, "validate", "--format", "json")
    assert found.code == 3
    problems = expect_json(found.out)["problems"]
    assert len(problems) > len(SHORT) * 3
    expect_terminal(run(refused, "validate").out)
    expect_annotations(run(refused, "validate", "--format", "github").out, len(problems))
    sarif = expect_json(run(refused, "validate", "--format", "sarif").out)
    assert len(sarif["runs"][0]["results"]) == len(problems)
    junit = expect_xml(run(refused, "validate", "--format", "junit").out)
    assert set(junit) <= {"testsuites", "testsuite", "testcase", "failure", "system-out"}
    assert run(refused, "plan").code == 3
    assert run(refused, "apply", "--yes").code == 3


def test_settings_that_are_refused(world: World) -> None:
    """Names of targets, owners and variables."""
    for name in ("mention", "script", "colours", "command after a line break", "old command"):
        text = SHORT[name]
        target = {"platform": text, "variables": {text: text}, "errors": [text]}
        write_yaml(
            world.root / "gateways.yaml",
            {"owner": text, "targets": {text: target}, "default_target": text, text: text},
        )
        assert run(world, "plan").code == 3
        expect_terminal(inside(world, "validate").out)


def test_arguments_that_are_refused(world: World) -> None:
    """What was typed comes back in the message; a job may have put a branch's name there."""
    world.declare({"a": world.gateway()})
    for text in SHORT.values():
        if "\0" in text or not text.isprintable():
            continue
        for arguments in (("plan", "-t", text), ("status", text), ("show", text), (text,)):
            ran = inside(world, "-C", str(world.root), *arguments)
            assert ran.code, arguments
            expect_terminal(ran.out + ran.err)
    for arguments in (("plan", "\x1b[2J\n::error::x"), ("plan", "--format", "\x1b[2J")):
        ran = inside(world, *arguments)
        assert ran.code == 64
        expect_terminal(ran.err)


# --- where it is allowed


@pytest.fixture
def allowed(world: World) -> World:
    """A gateway for each string that validate lets through, with it wherever it may stand."""
    declared = {
        f"g{number}": _declared(world, text, fields)
        for number, text in enumerate(SHORT.values())
        if (fields := tuple(field for field in FIELDS if _passes(world, text, field)))
    }
    _declare(world, declared)
    problems = expect_json(inside(world, "validate", "--format", "json").out)["problems"]
    wrong = {one["path"].split(".")[1] for one in problems if one["severity"] == "error"}
    kept = {name: fields for name, fields in declared.items() if name not in wrong}
    assert len(kept) > len(SHORT) / 3, "much of it is legal"
    _declare(world, kept)
    return world


FIELDS: Final = ("default_user_name", "user_id", "labels")


def _declare(world: World, gateways: Mapping[str, Any]) -> None:
    write_yaml(world.root / "gateways.d/mail.yaml", {"gateways": gateways})


def _declared(world: World, text: str, fields: tuple[str, ...]) -> dict[str, Any]:
    value: Mapping[str, Any] = {
        "default_user_name": text,
        "user_id": text,
        "labels": {"l": text[:60]},
    }
    return {
        **world.gateway(protocol_type="SMTP", state="disconnected"),
        **{field: value[field] for field in fields},
    }


def _passes(world: World, text: str, field: str) -> bool:
    gateway = schemas.gate("gateways", "gateway")
    return gateway(_declared(world, text, (field,)))


def test_allowed(allowed: World) -> None:
    """Faults A19, A20, A21, A22: a plan in every format, and what comes of it."""
    assert run(allowed, "validate").code == 0
    planned = inside(allowed, "plan", "--out", "plan.json", GATEWAYS_ACTOR=PERSON)
    assert planned.code == 0, planned.err
    _expect_every_format(allowed, "plan.json")
    applied = inside(allowed, "apply", "plan.json", "--format", "json", GATEWAYS_ACTOR=PERSON)
    assert applied.code == 0, applied.err
    expect_json_lines(applied.out)
    again = run(allowed, "apply", "--yes", GATEWAYS_ACTOR=PERSON)
    expect_terminal(again.out)
    assert inside(allowed, "rebuild", "g0", GATEWAYS_ACTOR=PERSON).code in {0, 9}
    assert run(allowed, "disconnect", "g0", GATEWAYS_ACTOR=PERSON).code == 0
    for command in ("status", "drift", "plan", "dump"):
        expect_terminal(run(allowed, command).out)
        expect_json(run(allowed, command, "--format", "json").out)


def _expect_every_format(world: World, file: str) -> None:
    expect_terminal(run(world, "show", file).out)
    expect_json(run(world, "show", file, "--format", "json").out)
    expect_markdown(run(world, "show", file, "--format", "markdown").out, tags=MARKDOWN_TAGS)
    page(run(world, "show", file, "--format", "html").out)
    expect_markdown(run(world, "comment", file, "--print").out, tags=COMMENT_TAGS)
    body = expect_json(run(world, "comment", file, "--print", "--format", "json").out)["body"]
    expect_markdown(body, tags=COMMENT_TAGS)


@pytest.mark.parametrize("name", ["mention", "script", "clipboard", "end of a comment", "NUL"])
def test_a_plan_that_somebody_forged(world: World, name: str) -> None:
    """A23: a file with a good digest, and a string in every place of it."""
    forged = replace(planfile.sealed(everywhere.plan(SHORT[name])))
    data = json.loads(json.dumps(planfile.to_data(forged)))
    data["digests"] |= dict.fromkeys(("desired", "actual"), "sha256:" + "0" * 64)
    data["digests"]["plan"] = planfile._digest_of(data)
    (world.root / "plan.json").write_text(json.dumps(data))
    _expect_every_format(world, "plan.json")


# --- from a server, and from who writes mail


def test_what_a_mail_server_says(world: World) -> None:
    """A21: its words are shown, and do nothing."""
    with faulty_server() as server:
        (world.root / "gateways.d/certs/root.pem").write_bytes(server.ca_file.read_bytes())
        port = server.port(ProtocolType.SMTP, EncryptionMode.TLS)
        world.declare({"a": world.gateway(protocol_type="SMTP", port=port)})
        assert inside(world, "apply", "--yes").code == 0
        for text in _lines():
            server.faults = replace(server.faults, recipient_reply=f"550 5.1.1 {text}")
            mail = ("--to", "b@example.test", "--subject", text, "--text", "x", "--kind", "agent")
            for format_ in ("text", "json"):
                ran = inside(world, "send", "a", *mail, "--format", format_)
                expect_terminal(ran.out + ran.err)


def _lines() -> Iterator[str]:
    """What a line of SMTP can hold, all in a few lines."""
    texts = [text for text in SHORT.values() if text.isascii() and text.isprintable()]
    for start in range(0, len(texts), 12):
        yield " ".join(texts[start : start + 12])[:400]


def test_what_customers_write(world: World) -> None:
    """A21: subjects, senders and file names of mail that came in."""
    world.declare({"a": world.gateway()})
    assert inside(world, "apply", "--yes").code == 0
    assert inside(world, "inbox", "a").code == 0
    for text in SHORT.values():
        word = base64.b64encode(text.encode("utf-8", "replace")).decode()
        head = f"Subject: =?utf-8?B?{word}?=\r\nFrom: =?utf-8?B?{word}?= <a@b.example>\r\n"
        deliver(world, f"{head}To: {USERS[0]}\r\n\r\nx\r\n".encode())
    expect_terminal(run(world, "inbox", "a").out)
    found = expect_json(run(world, "inbox", "a", "--format", "json").out)
    assert len(found["messages"]) == len(SHORT)


def test_a_service_says_it_in_its_log(tmp_path: Path) -> None:
    """A21: what a stranger asks for is told in a line of JSON, or of text, and no more."""
    for form in ("json", "text"):
        with served(tmp_path / form / "platform.db", "-v", "--log-format", form) as service:
            for name in ("script", "mention", "old command"):
                asked = "/v1/" + SHORT[name].replace(" ", "%20") + "%0a::error::x%1b[2J"
                service.ask("GET", asked, token="x\u00ff::error", User_Agent="##[error]x")
            lines = "\n".join(service.lines)
        if form == "json":
            expect_json_lines(lines)
        expect_terminal(lines)
