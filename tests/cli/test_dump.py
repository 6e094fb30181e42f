"""gateways dump: what is on the platform, as declarations that a plan has nothing to add to."""

import asyncio
import errno
import itertools
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demo.mailserver.process import ServerProcess
from reconciler.model import (
    Cause,
    Certificate,
    DesiredGateway,
    Fingerprint,
    Gateway,
    Place,
    ProtocolType,
    Secret,
)
from reconciler.platforms.embedded import EmbeddedPlatform
from tests import certs
from tests.cli.conftest import ACCOUNTS
from tests.cli.elsewhere import Elsewhere, elsewhere, live_on
from tests.cli.inside import contents, inside
from tests.cli.world import CANARY, Ran, World
from tests.declarations.test_writer import gateways
from tests.platforms.contract import write

ROOT = certs.ca().pem.decode()
DATABASE = ".gateways/platform.db"


def desired(gateway: Gateway) -> DesiredGateway:
    secret = Secret(CANARY) if gateway.user_id else None
    key = Secret("k" * 40)
    mark = Fingerprint.of(secret, key, target="local", gateway=gateway.name) if secret else None
    return DesiredGateway(
        gateway,
        lambda: Place("gateways.d/mail.yaml"),
        secret="one" if secret else None,
        password=secret,
        fingerprint=mark,
    )


def put(world: World, some: Sequence[Gateway], owner: str = "acme") -> None:
    """Put gateways on the platform of a project, as another checkout would have."""
    platform = EmbeddedPlatform(world.root / DATABASE, owner)

    async def create() -> None:
        for one in some:
            await platform.create(desired(one), write())
        await platform.close()

    asyncio.run(create())


def filled_in(world: World) -> Ran:
    """Store every password that the declarations ask for, and plan."""
    world.passwords = {}
    for file in (world.root / "gateways.d").glob("*.yaml"):
        for fields in yaml.safe_load(file.read_text())["gateways"].values():
            if "user_password" in fields:
                world.passwords[fields["user_password"]["secret"]] = CANARY
    world.write_secrets()
    return inside(world, "plan", "--format", "json")


def emptied(world: World) -> Path:
    """The folder of declarations with nothing but secrets in it."""
    folder = world.root / "gateways.d"
    shutil.rmtree(folder / "certs", ignore_errors=True)
    for file in folder.glob("*.yaml"):
        file.unlink()
    return folder


def smtp(name: str, host: str = "mail.example.com", **fields: Any) -> Gateway:
    anchor = Certificate("gateways.d/certs/root.pem", ROOT)
    given = {
        "protocol_type": "SMTP",
        "host": host,
        "user_id": f"{name}@example.com",
        "default_email_address": f"{name}@example.com",
        "state": "disconnected",
        **fields,
    }
    return Gateway.of(name, given, anchor)


# dump, then plan


@st.composite
def fleets(draw: st.DrawFn) -> list[Gateway]:
    names = draw(
        st.lists(
            st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,7}", fullmatch=True),
            min_size=1,
            max_size=5,
            unique_by=str.lower,
        )
    )
    return [draw(gateways(name, f"h{number}.example.com")) for number, name in enumerate(names)]


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(fleet=fleets(), out=st.booleans())
def test_a_plan_after_a_dump_is_empty(world: World, fleet: list[Gateway], *, out: bool) -> None:
    """Through files or through standard output; what has no session yet is only connected."""
    folder = emptied(world)
    shutil.rmtree(world.root / ".gateways", ignore_errors=True)
    put(world, fleet)
    if out:
        assert inside(world, "dump", "--out", "gateways.d", "-q").err == ""
    else:
        (folder / "mail.yaml").write_text(inside(world, "dump").out)
        anchors = {one.certificate for one in fleet if one.certificate}
        for anchor in anchors:
            (folder / "certs").mkdir()
            (world.root / anchor.file).write_text(anchor.pem)
    plan = filled_in(world)
    assert plan.code == 0, plan.err
    changes = plan.json("plan")["changes"]
    assert {(one["action"], *one["fields"]) for one in changes} <= {("rebuild",)}
    connected = [one.name for one in fleet if one.state == "connected"]
    assert [one["gateway"] for one in changes] == sorted(connected)
    assert inside(world, "drift").code == 0


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Elsewhere]:
    with elsewhere(tmp_path / "service") as found:
        yield found


def test_a_plan_after_a_dump_of_a_service_is_empty(
    mail_server: ServerProcess, tmp_path: Path, there: Elsewhere
) -> None:
    mail_server.change_accounts(ACCOUNTS)
    world = World(tmp_path / "project", mail_server)
    live_on(there, world)
    world.passwords = {"one": CANARY}
    world.write_secrets()
    mail_server.change_accounts(dict.fromkeys(ACCOUNTS, CANARY))
    second = {"secret": "one"}
    odd = {"user_password": second, "default_user_name": "yes, {{ ü }}: #1".replace("{{", "{")}
    world.declare({"a": world.gateway(labels={"0": "no"}), "b": world.gateway(2, **odd)})
    assert inside(world, "apply", "--yes").code == 0
    world.environ["GATEWAYS_TOKEN"] = there.token("read")
    emptied(world)
    dumped = inside(world, "dump", "--out", "gateways.d")
    assert (dumped.code, dumped.out) == (0, "")
    assert "store a, b" in dumped.err
    plan = filled_in(world)
    assert (plan.code, plan.json("plan")["changes"]) == (0, [])


# what is written


def test_one_document_on_standard_output(world: World) -> None:
    put(world, [smtp("b"), smtp("a", labels={"env": "no"})])
    dumped = inside(world, "dump")
    assert dumped.code == 0
    assert dumped.out == (
        "# What target local has, as declarations. Save this as a file in gateways.d/.\n"
        "# Passwords are not here: sops stores each under the name in {secret: NAME}.\n"
        "# Certificates are not here either: gateways dump --out DIR writes them.\n"
        "gateways:\n"
        "  a:\n"
        "    protocol_type: SMTP\n"
        "    host: mail.example.com\n"
        "    user_id: a@example.com\n"
        "    user_password: {secret: a}\n"
        "    default_email_address: a@example.com\n"
        "    certificate_file: certs/root.pem\n"
        "    state: disconnected\n"
        '    labels: {env: "no"}\n'
        "  b:\n"
        "    protocol_type: SMTP\n"
        "    host: mail.example.com\n"
        "    user_id: b@example.com\n"
        "    user_password: {secret: b}\n"
        "    default_email_address: b@example.com\n"
        "    certificate_file: certs/root.pem\n"
        "    state: disconnected\n"
    )
    assert "sops edit gateways.d/secrets/NAME.sops.yaml    # store a, b" in dumped.err
    assert inside(world, "dump", "-q").err == ""
    data = inside(world, "dump", "--format", "json", "b").json("gateways")
    assert data == {"gateways": {"b": yaml.safe_load(dumped.out)["gateways"]["b"]}}
    assert list(yaml.safe_load(inside(world, "dump", "-l", "env=no").out)["gateways"]) == ["a"]
    plain = inside(world, "dump", "--only", "b", LC_ALL="C", PYTHONUTF8="0")
    assert list(yaml.safe_load(plain.out)["gateways"]) == ["b"]


def test_a_file_for_each_host_and_the_certificates(world: World) -> None:
    other = Certificate("elsewhere/root.pem", certs.ca("another").pem.decode())
    some = [
        smtp("a"),
        smtp("b"),
        smtp("c", host="2001:db8::25"),
        Gateway.of("d", {"protocol_type": "IMAP", "host": "imap.example.com"}, other),
    ]
    put(world, some)
    dumped = inside(world, "dump", "--out", "new/declarations")
    assert dumped.code == 0, dumped.err
    folder = world.root / "new/declarations"
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    names = [name for name in files if name.endswith(".yaml")]
    assert names == ["2001-db8--25.yaml", "imap.example.com.yaml", "mail.example.com.yaml"]
    assert len(files) == len(names) + 2
    for name in names:
        for fields in yaml.safe_load((folder / name).read_text())["gateways"].values():
            assert (folder / fields["certificate_file"]).is_file()
    assert list(yaml.safe_load((folder / names[2]).read_text())["gateways"]) == ["a", "b"]
    assert f"written: new/declarations/{names[0]}" in dumped.err


def test_nothing_is_ever_overwritten(world: World) -> None:
    put(world, [smtp("a"), smtp("b", host="z.example.com")])
    assert inside(world, "dump", "--out", "out").code == 0
    (world.root / "out/mail.example.com.yaml").unlink()
    before = contents(world.root / "out")
    refused = inside(world, "dump", "--out", "out")
    assert (refused.code, refused.out) == (64, "")
    assert "is there already, and dump overwrites nothing" in refused.err
    assert contents(world.root / "out") == before
    (world.root / "out/z.example.com.yaml").unlink()
    (world.root / "out/z.example.com.yaml").symlink_to("nowhere")
    shutil.rmtree(world.root / "out/certs")
    assert inside(world, "dump", "--out", "out").code == 64
    assert (world.root / "out/z.example.com.yaml").is_symlink()


def test_beside_the_declarations_a_certificate_that_is_there_is_used_again(world: World) -> None:
    """As docs/drift-and-dump.md takes a gateway over: dump --out gateways.d."""
    put(world, [smtp("a")])
    certificate = world.root / "gateways.d/certs/root.pem"
    note = "# the root of our provider\n" + ROOT
    certificate.write_text(note)
    before = contents(world.root / "gateways.d")
    dumped = inside(world, "dump", "--out", "gateways.d")
    assert dumped.code == 0, dumped.err
    declared = world.root / "gateways.d/mail.example.com.yaml"
    assert "certificate_file: certs/root.pem" in declared.read_text()
    assert certificate.read_text() == note
    declared.unlink()
    assert contents(world.root / "gateways.d") == before
    certificate.write_text(certs.ca("another").pem.decode())
    refused = inside(world, "dump", "--out", "gateways.d")
    assert refused.code == 64
    assert "root.pem is there already" in refused.err
    assert not declared.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EEXIST])
def test_a_failure_half_way_leaves_no_file(world: World, number: int) -> None:
    """Also where somebody else makes the file meanwhile."""
    put(world, [smtp("a"), smtp("b", host="z.example.com")])
    calls = itertools.count(1)
    real = Path.hardlink_to

    def fail_later(self: Path, target: Any) -> None:
        if next(calls) == 3:
            raise OSError(number, os.strerror(number))
        real(self, target)

    with mock.patch.object(Path, "hardlink_to", fail_later):
        failed = inside(world, "dump", "--out", "out")
    assert failed.code == (1 if number == errno.ENOSPC else 64)
    assert f"out cannot be written: {os.strerror(number)}" in failed.err
    assert [path for path in (world.root / "out").rglob("*") if path.is_file()] == []
    assert inside(world, "dump", "--out", "out").code == 0


def test_a_folder_that_cannot_be_one(world: World) -> None:
    put(world, [smtp("a")])
    (world.root / "file").write_text("x")
    for out in ("file", "file/below", "-"):
        refused = inside(world, "dump", "--out", out)
        assert (refused.code, refused.out) == (64, "")
    assert inside(world, "dump", "--out", "out", "--format", "json").code == 64


# which gateways


def test_those_of_others_only_where_that_is_asked_for(world: World) -> None:
    put(world, [smtp("ours")])
    put(world, [smtp("theirs")], owner="others")
    dumped = inside(world, "dump")
    assert list(yaml.safe_load(dumped.out)["gateways"]) == ["ours"]
    assert "left out are those of other owners: 1; --all dumps them" in dumped.err
    refused = inside(world, "dump", "theirs")
    assert (refused.code, refused.out) == (64, "")
    assert "gateway 'theirs' is not ours" in refused.err
    named = inside(world, "dump", "theirs", "--all")
    assert list(yaml.safe_load(named.out)["gateways"]) == ["theirs"]
    assert "gateways adopt theirs" in named.err
    both = inside(world, "dump", "--all")
    assert list(yaml.safe_load(both.out)["gateways"]) == ["ours", "theirs"]


def test_from_another_owner_to_ours_by_dump_and_a_saved_plan(world: World) -> None:
    """The takeover is a change that is reviewed, and nothing but the owner changes by it."""
    key = world.environ["SOPS_AGE_KEY"]
    put(world, [smtp("a")], owner="others")
    emptied(world)
    assert inside(world, "dump", "--all", "--out", "gateways.d").code == 0
    blocked = filled_in(world)
    assert blocked.code == 4
    assert [one["action"] for one in blocked.json("plan")["changes"]] == ["adopt"]
    del world.environ["SOPS_AGE_KEY"]  # whoever reviews has none
    saved = inside(world, "adopt", "a", "--out", "plan.json", "--format", "json")
    world.environ["SOPS_AGE_KEY"] = key
    assert saved.code == 0, saved.err
    (change,) = saved.json("plan")["changes"]
    assert (change["action"], change["status"], change["fields"]) == ("adopt", "planned", [])
    applied = inside(world, "apply", "plan.json")
    assert applied.code == 0, applied.err
    assert inside(world, "plan", "--detailed-exitcode").code == 0
    again = inside(world, "apply", "plan.json")
    assert (again.code, "0 done" in again.out) == (0, True)


def test_a_saved_takeover_takes_over_nothing_else(world: World) -> None:
    put(world, [smtp("a"), smtp("b")], owner="others")
    emptied(world)
    assert inside(world, "dump", "--all", "--out", "gateways.d").code == 0
    filled_in(world)
    assert inside(world, "plan", "--out", "blocked.json").code == 4
    assert inside(world, "apply", "blocked.json").code == 4
    assert inside(world, "adopt", "a", "--out", "plan.json").code == 0
    put(world, [smtp("c")], owner="others")
    assert inside(world, "apply", "plan.json").code == 0
    changes = inside(world, "plan", "--format", "json").json("plan")["changes"]
    assert [(one["gateway"], one["action"]) for one in changes] == [("b", "adopt")]
    for name in ("a", "c", "nobody"):
        refused = inside(world, "adopt", name, "--out", "plan.json")
        assert refused.code == 64
    moved = inside(world, "adopt", "b", "--out", "moved.json")
    assert moved.code == 0
    assert inside(world, "rebuild", "b").code in {0, 9}
    assert inside(world, "apply", "moved.json").code == 5


def test_what_nobody_declares_any_more_is_left_out(world: World) -> None:
    put(world, [smtp("a"), smtp("gone")])
    platform = EmbeddedPlatform(world.root / DATABASE, "acme")

    async def disconnect() -> None:
        await platform.disconnect("gone", write(), cause=Cause.UNDECLARED)
        await platform.close()

    asyncio.run(disconnect())
    dumped = inside(world, "dump")
    assert list(yaml.safe_load(dumped.out)["gateways"]) == ["a"]
    assert "disconnected since nobody declares them: 1" in dumped.err
    named = inside(world, "dump", "gone")
    assert list(yaml.safe_load(named.out)["gateways"]) == ["gone"]
    assert "# the platform has no password of this gateway" in named.out


def test_a_platform_with_nothing_on_it(world: World) -> None:
    dumped = inside(world, "dump")
    assert (dumped.code, yaml.safe_load(dumped.out)) == (0, {"gateways": {}})
    assert "there is nothing to dump" in dumped.err
    assert inside(world, "dump", "--out", "out").code == 0
    assert not (world.root / "out").exists()
    assert not (world.root / ".gateways").exists()
    unknown = inside(world, "dump", "a")
    assert (unknown.code, unknown.out) == (64, "")
    assert "there is no gateway 'a'" in unknown.err


def test_it_needs_neither_key_nor_declarations(world: World) -> None:
    put(world, [Gateway("a", ProtocolType.IMAP, "mail.example.com", 993, "me")])
    shutil.rmtree(world.root / "gateways.d")
    del world.environ["SOPS_AGE_KEY"]
    assert inside(world, "dump").code == 0
