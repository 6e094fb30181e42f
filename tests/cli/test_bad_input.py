"""Whatever is wrong, one clear message says where, the exit code says what, nothing is written.

Each case damages a project whose two gateways are connected, and then runs the commands on it.
"""

import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pyrage import x25519

from demo.mailserver.process import ServerProcess
from reconciler.declarations.strict_yaml import MAX_BYTES
from tests.cli.inside import contents, copied, inside
from tests.cli.world import CANARY, Ran, World

COMMANDS: Final = {
    "validate": ("validate",),
    "plan": ("plan",),
    "apply": ("apply", "--yes", "--max-disconnects", "9"),
    "status": ("status",),
    "drift": ("drift",),
    "dump": ("dump",),
    "check": ("check",),
    "rebuild": ("rebuild", "a"),
    "disconnect": ("disconnect", "a"),
}
# `b` has what `a` has, from the same certificate file
A_TWIN: Final = re.compile(r"gateways.d/mail.yaml:17:23: ")
READING: Final = ("validate", "plan", "apply", "drift")
PLATFORM: Final = ("plan", "apply", "status", "drift", "dump", "rebuild", "disconnect")


@dataclass(frozen=True)
class Case:
    """What is damaged, what a command ends with, where it points and what it says.

    `codes` are those of the commands that end otherwise; `place` is empty where no file is wrong.
    """

    damage: Callable[[World], object]
    code: int
    place: str
    words: str
    codes: Mapping[str, int]
    commands: tuple[str, ...]


def case(
    damage: Callable[[World], object],
    code: int,
    place: str,
    words: str,
    *,
    commands: tuple[str, ...] = READING,
    **codes: int,
) -> Case:
    return Case(damage, code, place, words, codes, commands)


@pytest.fixture(scope="module")
def connected(mail_server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A project whose gateways `a` and `b` are connected; never damaged itself."""
    world = World(tmp_path_factory.mktemp("connected") / "project", mail_server)
    world.declare({"a": world.gateway(), "b": world.gateway(2)})
    assert inside(world, "apply", "--yes").code == 0
    return world


@pytest.fixture
def damaged(connected: World, tmp_path: Path) -> World:
    return copied(connected, tmp_path / "copy")


def _expect(world: World, one: Case) -> None:
    one.damage(world)
    before = contents(world.root)
    for name in one.commands:
        ran = inside(world, *COMMANDS[name])
        code = one.codes.get(name, one.code)
        assert ran.code == code, f"{name}: {ran}"
        if code:
            _expect_message(ran, one)
        assert contents(world.root) == before, f"{name} wrote"


def _expect_message(ran: Ran, one: Case) -> None:
    said = (ran.out + ran.err).splitlines()
    start = f"{one.place}: error[" if one.place else "error: "
    found = [line for line in said if line.startswith(start)]
    assert len(found) == 1, f"{start} once in: {said}"
    assert one.words in found[0]
    if one.place:
        others = [line for line in said if ": error[" in line and line not in found]
        # of a bomb each line is a mistake of its own, which is told too
        if one.damage is not BOMB:
            assert all(A_TWIN.match(line) for line in others), f"nothing that follows: {said}"


# --- declarations


def text(content: str | bytes) -> Callable[[World], object]:
    """A further declaration file."""
    data = content.encode() if isinstance(content, str) else content
    return lambda world: (world.root / "gateways.d/x.yaml").write_bytes(data)


def named(name: str, last_fields: str = "host: h") -> Callable[[World], object]:
    """A further gateway, whole with the last fields, which begin on line 7."""
    return text(
        f"gateways:\n  {name}:\n    protocol_type: IMAP\n    user_id: x\n"
        "    user_password: {secret: one}\n    certificate_file: certs/root.pem\n"
        + "".join(f"    {line}\n" for line in last_fields.splitlines())
    )


def fields(last_fields: str) -> Callable[[World], object]:
    return named("x", last_fields)


def file(make: Callable[[Path], object]) -> Callable[[World], object]:
    return lambda world: make(world.root / "gateways.d/x.yaml")


X: Final = "gateways.d/x.yaml"
ALIASES: Final = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)
MERGES: Final = "a0: &a0 {k: v}\n" + "".join(
    f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 25)
)
BOMB: Final = text(MERGES)
DECLARATIONS: Final = {
    "not YAML": case(text("gateways: ["), 3, f"{X}:2:1", "a value is missing here"),
    "not UTF-8": case(text(b"gateways:\n  \xff: 1\n"), 3, f"{X}:2:3", "not UTF-8"),
    "UTF-16": case(text("gateways: {}\n".encode("utf-16")), 3, f"{X}:1:1", "UTF-16"),
    "a tab": case(text("gateways:\n\tx: 1\n"), 3, f"{X}:2:1", "tab"),
    "a NUL": case(text("gateways: {}\n\0"), 3, f"{X}:2:1", "U+0000"),
    "an escape sequence": case(text("gateways: {}\n# \x1b[2J"), 3, f"{X}:2:3", "U+001B"),
    "10 MB": case(text("#" * 10_000_000), 3, f"{X}:1:1", "larger than 1 MiB"),
    "one byte too much": case(text("#" * (MAX_BYTES + 1)), 3, f"{X}:1:1", "larger than 1 MiB"),
    "alias bomb": case(text(ALIASES), 3, f"{X}:5:10", "10,000 values"),
    "merge bomb": case(BOMB, 3, f"{X}:2:10", "merge keys"),
    "3,000 deep": case(text("gateways: " + "[" * 3000), 3, f"{X}:1:74", "more than 64"),
    "duplicate key": case(
        text("gateways:\n  x: {host: a}\n  x: {host: b}\n"), 3, f"{X}:3:3", "is on line 2"
    ),
    "two documents": case(text("gateways: {}\n---\n"), 3, f"{X}:2:1", "second document"),
    "a list at the top": case(text("- a\n"), 3, f"{X}:1:1", "must be a map"),
    "a list of gateways": case(text("gateways:\n- a\n"), 3, f"{X}:2:1", "not a list"),
    "an unknown key": case(fields("host: h\nprot: 993"), 3, f"{X}:8:5", "prot"),
    "a number as text": case(fields('host: h\nport: "993"'), 3, f"{X}:8:11", "port"),
    "yes": case(fields("host: h\nauthentication_flag: yes"), 3, f"{X}:8:26", "'yes'"),
    "NO": case(fields("host: NO"), 3, f"{X}:7:11", "'NO'"),
    "port 0": case(fields("host: h\nport: 0"), 3, f"{X}:8:11", "port"),
    "port 65536": case(fields("host: h\nport: 65536"), 3, f"{X}:8:11", "port"),
    "port -1": case(fields("host: h\nport: -1"), 3, f"{X}:8:11", "port"),
    "port 1e3": case(fields("host: h\nport: 1e3"), 3, f"{X}:8:11", "'1e3'"),
    "an endless port": case(fields("host: h\nport: " + "9" * 5000), 3, f"{X}:8:11", ""),
    "IPv6 in brackets": case(fields("host: '[::1]'"), 3, f"{X}:7:11", "host"),
    "a host beyond ASCII": case(fields("host: bücher.example"), 3, f"{X}:7:11", "host"),
    "a name like an option": case(named("-rf"), 3, f"{X}:2:3", "'-rf'"),
    "a name that is null": case(named("null"), 3, f"{X}:2:3", "'null'"),
    "a name that is true": case(named("true"), 3, f"{X}:2:3", "'true'"),
    "a name of 65": case(named("x" * 65), 3, f"{X}:2:3", "65"),
    "a name of 10,000": case(named("x" * 10_000), 3, f"{X}:2:10003", ""),
    "a name beyond ASCII": case(named("n\u0430me"), 3, f"{X}:2:3", "cannot be the name"),
    "a hostile label": case(
        fields('host: h\nlabels: {l: "::error::x\\u001b[2J"}'), 3, f"{X}:8:17", ""
    ),
    "a literal password": case(
        text(
            "gateways:\n  x:\n    protocol_type: IMAP\n    host: h\n    user_id: x\n"
            f"    certificate_file: certs/root.pem\n    user_password: {CANARY}\n"
        ),
        3,
        f"{X}:7:20",
        "password",
    ),
    "a password under another key": case(
        fields(f"host: h\npassword: {CANARY}"), 3, f"{X}:8:5", "password"
    ),
    "an undefined variable": case(
        fields('host: "{{ mail_domain }}"'), 3, f"{X}:7:11", "'mail_domain' is not defined"
    ),
    "a class": case(fields("host: \"{{ ''.__class__ }}\""), 3, f"{X}:7:11", "only a variable"),
    "globals": case(
        fields('host: "{{ cycler.__init__.__globals__ }}"'), 3, f"{X}:7:11", "only a variable"
    ),
    "a loop": case(fields('host: "{% for a in b %}{% endfor %}"'), 3, f"{X}:7:11", "{%"),
    "a folder": case(file(Path.mkdir), 3, f"{X}:1:1", "not a regular file"),
    "a pipe": case(file(os.mkfifo), 3, f"{X}:1:1", "not a regular file"),
    "a link to nowhere": case(file(lambda x: x.symlink_to("nowhere")), 3, f"{X}:1:1", "nowhere"),
    "a link out": case(
        file(lambda x: x.symlink_to("/etc/passwd")), 3, f"{X}:1:1", "out of the project"
    ),
    "a link to a device": case(
        file(lambda x: x.symlink_to("/dev/zero")), 3, f"{X}:1:1", "out of the project"
    ),
}


@pytest.mark.parametrize("name", DECLARATIONS)
def test_declarations(damaged: World, name: str) -> None:
    """Faults A9, A10, A11, A13, A18, A19, P22, P23."""
    _expect(damaged, DECLARATIONS[name])


def test_one_name_in_two_files_is_told_in_both(damaged: World) -> None:
    """Faults A11, P23."""
    damaged.declare({"a": damaged.gateway()}, "x.yaml")
    for name in READING:
        ran = inside(damaged, *COMMANDS[name])
        assert ran.code == 3
        assert "mail.yaml:2:3: error[duplicate-gateway]" in ran.out + ran.err
        assert "x.yaml:2:3: error[duplicate-gateway]" in ran.out + ran.err
        assert "duplicate-mailbox" not in ran.out + ran.err, "it is one gateway, and not two"


# --- certificates and secrets


def certificate(change: Callable[[bytes], bytes]) -> Callable[[World], object]:
    def damage(world: World) -> None:
        path = world.root / "gateways.d/certs/root.pem"
        path.write_bytes(change(path.read_bytes()))

    return damage


def secrets(change: Callable[[str], str]) -> Callable[[World], object]:
    def damage(world: World) -> None:
        path = world.root / "gateways.d/secrets/main.sops.yaml"
        before = path.read_text()
        path.write_text(change(before))
        assert path.read_text() != before

    return damage


def password(value: str) -> Callable[[World], object]:
    return lambda world: world.write_secrets(two=value)


def _secret_gone(world: World) -> None:
    del world.passwords["two"]
    world.write_secrets()


def _other_key(world: World) -> None:
    world.environ["SOPS_AGE_KEY"] = str(x25519.Identity.generate())


def _flipped(text_of_file: str, after: str) -> str:
    """Another letter right after `after`."""
    at = text_of_file.index(after) + len(after)
    letter = "B" if text_of_file[at] == "A" else "A"
    return text_of_file[:at] + letter + text_of_file[at + 1 :]


EXPIRED: Final = (
    Path(__file__).parents[1] / "bad/certificate-expired/gateways.d/certs/root.pem"
).read_bytes()
KEY: Final = b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n"
A_CERTIFICATE: Final = "gateways.d/mail.yaml:9:23"
B_PASSWORD: Final = "gateways.d/mail.yaml:16:7"
SOPS: Final = "gateways.d/secrets/main.sops.yaml"
MATERIAL: Final = {
    "no certificate": case(
        lambda world: (world.root / "gateways.d/certs/root.pem").unlink(),
        3,
        A_CERTIFICATE,
        "does not exist",
    ),
    "no certificate in the file": case(
        certificate(lambda _: b"garbage"), 3, A_CERTIFICATE, "neither PEM nor DER"
    ),
    "an empty certificate": case(certificate(lambda _: b""), 3, A_CERTIFICATE, "neither"),
    "half a certificate": case(certificate(lambda pem: pem[:300]), 3, A_CERTIFICATE, ""),
    "a private key": case(certificate(lambda pem: pem + KEY), 3, A_CERTIFICATE, "private key"),
    "an expired anchor": case(certificate(lambda _: EXPIRED), 3, A_CERTIFICATE, "expired"),
    "another key": case(_other_key, 8, "", "no key at hand fits", validate=0),
    "no key": case(
        lambda world: world.environ.pop("SOPS_AGE_KEY"),
        8,
        "",
        "no key is at hand",
        commands=("validate", "plan", "apply", "check"),
        validate=0,
        plan=0,
    ),
    "a value flipped": case(
        secrets(lambda sops: _flipped(sops, "two: ENC[AES256_GCM,data:")),
        8,
        "",
        f"{SOPS}:3:6: the value of two was altered",
        validate=0,
    ),
    "the MAC flipped": case(
        secrets(lambda sops: _flipped(sops, "mac: ENC[AES256_GCM,data:")),
        8,
        "",
        SOPS,
        validate=0,
    ),
    "a value in clear": case(
        secrets(lambda sops: re.sub("(?m)^two: .*$", f"two: {CANARY}", sops)),
        3,
        f"{SOPS}:3:6",
        "not encrypted",
    ),
    "an empty value": case(
        secrets(lambda sops: re.sub("(?m)^two: .*$", 'two: ""', sops)), 3, f"{SOPS}:3:6", "empty"
    ),
    "not UTF-8": case(
        lambda world: (world.root / SOPS).write_bytes(b"\xff\xfe"), 3, f"{SOPS}:1:1", "UTF-8"
    ),
    "a pipe": case(
        lambda world: os.mkfifo(world.root / "gateways.d/secrets/x.sops.yaml"),
        3,
        "gateways.d/secrets/x.sops.yaml:1:1",
        "not a regular file",
    ),
    "a plain file": case(
        secrets(lambda _: f"one: {CANARY}\ntwo: b\nfingerprint_key: k\n"),
        3,
        f"{SOPS}:1:6",
        "not encrypted",
    ),
    "no such secret": case(
        _secret_gone,
        3,
        "gateways.d/mail.yaml:16:15",
        "'two'",
    ),
    "65 characters": case(password("x" * 65), 3, B_PASSWORD, "more than 64", validate=0),
    "a mask": case(password("*" * 8), 3, B_PASSWORD, "in place of one", validate=0),
    "a line break": case(password("a\nb"), 3, B_PASSWORD, "line break", validate=0),
}


@pytest.mark.parametrize("name", MATERIAL)
def test_certificates_and_secrets(damaged: World, name: str) -> None:
    """Faults A8, A17, P19, P20."""
    _expect(damaged, MATERIAL[name])


def test_der_in_a_file_named_pem_draws_a_warning_and_works(damaged: World) -> None:
    path = damaged.root / "gateways.d/certs/root.pem"
    anchor = x509.load_pem_x509_certificate(path.read_bytes())
    path.write_bytes(anchor.public_bytes(Encoding.DER))
    ran = inside(damaged, "validate")
    assert ran.code == 0
    assert f"{A_CERTIFICATE}: warning[certificate-extension]" in ran.out
    assert inside(damaged, "plan", "--detailed-exitcode").code == 0, "the same certificate"


# --- settings


def settings(content: str) -> Callable[[World], object]:
    return lambda world: (world.root / "gateways.yaml").write_text(content)


def target(**more: object) -> Callable[[World], object]:
    def damage(world: World) -> None:
        world.settings["targets"]["local"].update(more)
        world.write_settings()

    return damage


def instead_of_settings(make: Callable[[Path], object]) -> Callable[[World], object]:
    def damage(world: World) -> None:
        (world.root / "gateways.yaml").unlink()
        make(world.root / "gateways.yaml")

    return damage


EVERY: Final = tuple(COMMANDS)
S: Final = "gateways.yaml"
AWS: Final = {
    "platform": "http",
    "url": "https://gateways.example.com",
    "tenant": "acme",
    "token": {"env": "AWS_SECRET_ACCESS_KEY"},
}
SETTINGS: Final = {
    "none": case(instead_of_settings(lambda _: None), 3, "", "no gateways.yaml", commands=EVERY),
    "empty": case(settings(""), 3, f"{S}:1:1", "is empty", commands=EVERY),
    "a list": case(settings("- a\n"), 3, f"{S}:1:1", "must be a map", commands=EVERY),
    "not YAML": case(settings("owner: ["), 3, f"{S}:2:1", "a value is missing", commands=EVERY),
    "an unknown platform": case(target(platform="ftp"), 3, f"{S}:4:15", "'ftp'", commands=EVERY),
    "a token that is not ours": case(target(**AWS), 3, f"{S}:7:12", "begin with GATEWAYS_"),
    "a folder": case(instead_of_settings(Path.mkdir), 3, "", "not a regular file"),
    "a pipe": case(instead_of_settings(os.mkfifo), 3, "", "not a regular file"),
    "a link to nowhere": case(
        instead_of_settings(lambda path: path.symlink_to("nowhere")), 3, "", "leads nowhere"
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings(damaged: World, name: str) -> None:
    """Faults A3, P24."""
    _expect(damaged, SETTINGS[name])


def test_a_broken_link_to_settings_does_not_lead_to_another_project(damaged: World) -> None:
    """P24: what is found instead, further up, must not be planned and applied."""
    shutil.copy(damaged.root / "gateways.yaml", damaged.root.parent)
    _expect(damaged, SETTINGS["a link to nowhere"])


@pytest.mark.parametrize("command", EVERY)
def test_unknown_target(damaged: World, command: str) -> None:
    ran = inside(damaged, *COMMANDS[command], "-t", "nowhere")
    assert ran.code == 64
    assert "targets: local" in ran.err


@pytest.mark.parametrize("folder", ["nowhere", "gateways.yaml"])
def test_a_folder_that_is_none(damaged: World, folder: str) -> None:
    """P24: the project around it is not meant."""
    ran = inside(damaged, "-C", folder, "plan")
    assert ran.code == 64
    assert "no such folder" in ran.err


def test_a_file_to_validate_that_is_none(damaged: World) -> None:
    ran = inside(damaged, "validate", "gateways.d/mial.yaml")
    assert ran.code == 64
    assert "no such file" in ran.err


# --- P24: an incomplete checkout is never an empty wish


def _only_settings(world: World) -> None:
    shutil.rmtree(world.root / "gateways.d")


def _no_files(world: World) -> None:
    (world.root / "gateways.d/mail.yaml").unlink()


def _renamed(world: World) -> None:
    (world.root / "gateways.d/mail.yaml").rename(world.root / "gateways.d/mail.yaml.bak")


def _moved_down(world: World) -> None:
    (world.root / "gateways.d/team").mkdir()
    (world.root / "gateways.d/mail.yaml").rename(world.root / "gateways.d/team/mail.yaml")


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (_only_settings, 3),
        (_no_files, 4),
        (_renamed, 4),
        (_moved_down, 4),
        (lambda world: (world.root / "gateways.d/mail.yaml").write_text("gateways:\n"), 4),
        (lambda world: (world.root / "gateways.d/mail.yaml").write_text("# later\n"), 4),
        (lambda world: (world.root / "gateways.d/mail.yaml").write_text(""), 4),
    ],
    ids=["no folder", "no files", "renamed", "moved down", "no gateways", "comments", "empty"],
)
def test_nothing_declared_disconnects_nothing(
    damaged: World, damage: Callable[[World], object], code: int
) -> None:
    """Faults A26, P24: not even where the budget would allow it."""
    damage(damaged)
    before = contents(damaged.root)
    assert inside(damaged, "plan").code == code
    assert inside(damaged, *COMMANDS["apply"]).code == code
    assert contents(damaged.root) == before
    assert inside(damaged, "status").out.count("Connection succeeded") == 2


def test_half_a_checkout_is_stopped_by_the_budget(damaged: World) -> None:
    """P24: some files missing are removals, and a removal must be meant."""
    declared = yaml.safe_load((damaged.root / "gateways.d/mail.yaml").read_text())["gateways"]
    damaged.declare({"a": declared["a"]})
    before = contents(damaged.root)
    assert inside(damaged, "apply", "--yes").code == 4
    assert contents(damaged.root) == before


def test_another_working_folder_is_another_project(damaged: World, tmp_path: Path) -> None:
    """P24: from outside there is nothing to plan; from a folder of it there is."""
    assert inside(damaged, "-C", str(tmp_path), "plan").code == 3
    assert inside(damaged, "-C", "gateways.d", "plan").code == 0


# --- the platform's database


def database(change: Callable[[bytes], bytes]) -> Callable[[World], object]:
    def damage(world: World) -> None:
        path = world.root / ".gateways/platform.db"
        path.write_bytes(change(path.read_bytes()))

    return damage


def statement(sql: str) -> Callable[[World], object]:
    def damage(world: World) -> None:
        connection = sqlite3.connect(world.root / ".gateways/platform.db")
        connection.execute(sql)
        connection.commit()
        connection.close()

    return damage


def _folder_for_database(world: World) -> None:
    (world.root / ".gateways/platform.db").unlink()
    (world.root / ".gateways/platform.db").mkdir()


DATABASES: Final = {
    "a newer version": (statement("PRAGMA user_version = 99"), "a newer version"),
    "another program's": (statement("PRAGMA application_id = 1"), "another program"),
    "garbage": (database(lambda data: b"x" * len(data)), "damaged"),
    "cut": (database(lambda data: data[:5000]), "damaged"),
    "a page of zeros": (
        database(lambda data: data[:4096] + bytes(4096) + data[8192:]),
        "damaged",
    ),
    "a folder": (_folder_for_database, "is not a file"),
}


@pytest.mark.parametrize("name", DATABASES)
def test_databases(damaged: World, name: str) -> None:
    """Faults G27, G36: it is refused and left as it is."""
    damage, words = DATABASES[name]
    _expect(damaged, case(damage, 10, "", words, commands=PLATFORM))


def test_the_key_of_the_database_is_missing(damaged: World) -> None:
    """G37: what needs a password is refused, what only reads goes on."""
    (damaged.root / ".gateways/platform.db.key").unlink()
    assert inside(damaged, "status").code == 0
    damaged.write_secrets(one=CANARY + "-new")
    before = contents(damaged.root / "gateways.d")
    ran = inside(damaged, "apply", "--yes")
    assert ran.code == 10
    assert "platform.db.key" in ran.out + ran.err
    assert contents(damaged.root / "gateways.d") == before
    assert not (damaged.root / ".gateways/platform.db.key").exists(), "no other one is made"
