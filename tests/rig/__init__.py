"""Real mail servers, Postfix and Dovecot, in a temporary folder on loopback addresses.

    with MailRig() as rig:
        rig.ports["imaps"], rig.authority.certificate, rig.users

Nothing outside the folder is written, nothing but example.test is accepted, nothing is relayed.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.rig.certificates import Authority
from tests.rig.dovecot import write_dovecot
from tests.rig.faces import write_certificates
from tests.rig.ports import MAILBOX_PORTS, SMTP_PORTS, free_ports, wait_for
from tests.rig.postfix import MASTER, write_postfix

USERS = {
    "alice@example.test": "pw-alice",
    "bob@example.test": "pw-bob",
    "zoë@example.test": "pässwörd-秘密",
    "long@example.test": "x1Y-" * 16,  # 64 characters: the longest that a gateway may have
    "spaces@example.test": ' two  "words" \\ ',
    "EXAMPLE\\carol": "pw-carol",
    "u" * 488 + "@example.test"[:12]: "pw-longest-user",  # 500 characters
}


class MailRig:
    """`users` maps user names to passwords, `ports` the names of ports to their numbers."""

    def __init__(self, *, postfix: bool = True) -> None:
        self.users = dict(USERS)
        self.authority = Authority()
        self.folder = Path(tempfile.mkdtemp(prefix="mail-rig-"))
        self.ports = free_ports(SMTP_PORTS + MAILBOX_PORTS)
        self._postfix = postfix
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self) -> None:
        self.folder.chmod(0o755)  # the servers' users must get in
        write_certificates(self.folder, self.authority)
        ports = {name: self.ports[name] for name in MAILBOX_PORTS}
        self._run(write_dovecot(self.folder, self.users, ports))
        if self._postfix:
            ports |= {name: self.ports[name] for name in SMTP_PORTS}
            self._run(write_postfix(self.folder, {name: self.ports[name] for name in SMTP_PORTS}))
        for port in ports.values():
            wait_for(port, self._check_alive)

    def _run(self, command: Sequence[str]) -> None:
        # A session of its own: Postfix signals its whole process group when it ends.
        with (self.folder / "servers.out").open("ab") as out:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)

    def _check_alive(self) -> None:
        for process in self._processes:
            if process.poll() is not None:
                raise RuntimeError(f"{process.args!r} ended {process.returncode}:\n{self.logs()}")

    def logs(self) -> str:
        """The end of everything that the servers wrote."""
        names = ("servers.out", "dovecot.log", "dovecot-info.log", "postfix.log")
        files = [self.folder / name for name in names]
        return "\n".join(
            file.read_text(errors="replace")[-3000:] for file in files if file.exists()
        )

    def stop(self) -> None:
        for process in reversed(self._processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in reversed(self._processes):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def missing_for_rig() -> list[str]:
    """What this machine lacks for the whole rig."""
    missing = [name for name in ("dovecot", "postfix") if not shutil.which(name, path=_path())]
    if not missing and not MASTER.exists():
        missing.append(str(MASTER))
    if os.geteuid() != 0:
        missing.append("root, which Postfix needs")
    return missing


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin"
