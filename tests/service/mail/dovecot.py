"""One user's mailbox on the rig's Dovecot, as others who use it see it."""

import imaplib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from reconciler.model import Gateway, ProtocolType, ReceiveFrom
from tests.rig import MailRig
from tests.rig.gateways import PORTS, TLS, USER, make_gateway

_ATTEMPTS = 100


@dataclass(frozen=True)
class DovecotMailbox:
    """`doveadm` acts on it as its operator does, everything else as its user."""

    rig: MailRig
    user: str = USER

    @contextmanager
    def session(self, *, read_only: bool = False) -> Iterator[imaplib.IMAP4]:
        connection = self._logged_in()
        connection.select("INBOX", readonly=read_only)
        try:
            yield connection
        finally:
            connection.logout()

    def append(self, messages: Iterable[bytes]) -> None:
        with self.session() as session:
            for raw in messages:
                answer, _ = session.append("INBOX", "", "", raw)
                assert answer == "OK"

    def clear(self) -> None:
        with self.session() as session:
            if session.search(None, "ALL")[1][0]:
                session.store("1:*", "+FLAGS.SILENT", "\\Deleted")
                session.expunge()

    def flags(self) -> set[str]:
        """Every flag that any message has, as a reader finds them who changes none."""
        with self.session(read_only=True) as session:
            _, found = session.fetch("1:*", "(FLAGS)")
        lines = [line for line in found if isinstance(line, bytes)]
        return set(re.findall(r"\\\w+", " ".join(line.decode() for line in lines))) - {"\\Recent"}

    def doveadm(self, *arguments: str) -> str:
        program = shutil.which("doveadm", path=os.environ.get("PATH", "") + ":/usr/sbin")
        assert program
        configuration = str(self.rig.folder / "dovecot.conf")
        done = subprocess.run(
            [program, "-c", configuration, *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return done.stdout

    def number_anew(self, validity: int) -> None:
        self.doveadm("mailbox", "update", "-u", self.user, "--uid-validity", str(validity), "INBOX")

    @contextmanager
    def unique_ids(self, form: str) -> Iterator[None]:
        """Have POP3 name messages in another way."""
        file = self.rig.folder / "dovecot.conf"
        before = file.read_text()
        file.write_text(before + f"\npop3_uidl_format = {form}\n")
        self._reload()
        try:
            yield
        finally:
            file.write_text(before)
            self._reload()

    def _reload(self) -> None:
        """Read the configuration anew, and wait until both servers greet again."""
        self.doveadm("reload")
        for name in ("imap", "pop3"):
            end = time.monotonic() + 10
            while not self._greets(self.rig.ports[name]):
                assert time.monotonic() < end
                time.sleep(0.02)

    def _logged_in(self) -> imaplib.IMAP4:
        """A server that reads its configuration anew may still hang up once or twice."""
        for _ in range(_ATTEMPTS):
            connection = imaplib.IMAP4("127.0.0.1", self.rig.ports["imap"])
            try:
                connection.login(self.user, self.rig.users[self.user])
            except imaplib.IMAP4.abort:
                connection.shutdown()
                time.sleep(0.05)
            else:
                return connection
        raise AssertionError("no login")

    def _greets(self, port: int) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                return bool(connection.recv(1))
        except OSError:
            return False

    def gateway(self, protocol: ProtocolType, **fields: Any) -> Gateway:
        """A gateway over TLS that takes in everything, unless told otherwise."""
        port = self.rig.ports[PORTS[protocol, TLS]]
        given = {"user_id": self.user, "receive_from": ReceiveFrom.ALL, **fields}
        return make_gateway(protocol, TLS, port, anchor=self.rig.authority.certificate, **given)
