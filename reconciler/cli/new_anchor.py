"""The certificates that a server shows, and the root that is saved to be trusted for it."""

import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.cli.common import wait_for
from reconciler.cli.new_draft import Draft, Server, Surroundings
from reconciler.cli.new_form import Form
from reconciler.errors import InvalidInput
from reconciler.model import Certificate, EncryptionMode, Gateway
from reconciler.report.safe import line

if TYPE_CHECKING:
    from reconciler.discovery.chain import Link
    from reconciler.service.look import Shown
    from reconciler.service.sessions import SessionSettings

_NOT_IN_NAMES: Final = re.compile("[^a-z0-9]+")
_LONGEST: Final = 50


@dataclass
class Anchors:
    """Certificate files, by their path beside the declarations: those there, and those to come."""

    around: Surroundings
    given: Path | None = None
    made: dict[str, str] = field(default_factory=dict)
    """The PEM of each file that is to be written, by its path relative to the declarations."""
    confirmed: set[str] = field(default_factory=set)
    """The files that were said yes to."""

    def settle(self, form: Form, draft: Draft, settings: "SessionSettings") -> Server:
        """Look at a draft's server and have its root confirmed.

        Raises:
            SessionError: there is no such server.
            GaveUp: its root was not confirmed.

        """
        from reconciler.service.look import look

        server = replace(draft.server, certificate=None)
        gateway = Gateway(
            draft.name, draft.protocol, server.host, server.port, encryption_mode=server.encryption
        )
        shown = wait_for(look(gateway, settings))
        if server.encryption is EncryptionMode.NONE:
            return server
        if self.given:
            return replace(server, certificate=self.of_file(self.given))
        return replace(server, certificate=self._confirmed(form, server, shown))

    def of_file(self, path: Path) -> Certificate:
        """The certificates of a file of the user's own. Raises InvalidInput."""
        from reconciler.declarations.certificate_facts import NotACertificate, facts_of, split
        from reconciler.declarations.certificates import LARGEST

        try:
            with path.open("rb") as file:
                ders, _ = split(file.read(LARGEST))
            for der in ders:
                facts_of(der)
        except NotACertificate as fault:
            raise InvalidInput(f"{line(str(path))} {fault.message}", fault.hint) from None
        except OSError as error:
            raise InvalidInput(f"{line(str(path))} cannot be read: {error.strerror}") from None
        return self._keep(ders, path.stem)

    def _confirmed(self, form: Form, server: Server, shown: "Shown") -> Certificate:
        from reconciler.discovery.chain import NotReadable, links, root_of

        where = f"{server.host}:{server.port}"
        try:
            chain = links(shown.certificates)
            whole = len(chain) > 1 or chain[-1].self_signed  # or this Python shows no more of it
            trusted = shown.distrust is None and whole
            root = chain[-1] if trusted else root_of(chain, self._ders())
        except NotReadable:
            form.warn(f"{where} shows a certificate that cannot be read")
            return self._by_path(form)
        known = self._known(root)
        if known and known.file in self.confirmed:
            form.tell(f"  {where} has the same root, {line(known.file)}")
            return known
        _show(form, where, chain, root)
        if shown.distrust:
            form.tell(f"  {form.style.bad('NOT trusted by your system')}: {_why(shown)}")
        else:
            form.tell(f"  {form.style.good('trusted by your system')}, for this host name")
        if root is None:
            form.warn(
                "the server does not send its root, and your system has none that fits:"
                " ask the server's operator for it"
            )
            return self._by_path(form)
        if shown.distrust:
            form.tell("  compare the root's fingerprint with your administrator's")
        file = known.file if known else self._free_name(root.common_name or server.host)
        verb = "Trust" if known else "Save the root, and trust"
        question = f"{verb} {self.around.target.declarations}/{line(file)} for this server?"
        if form.confirm(question, proposal=shown.distrust is None):
            self.confirmed.add(file)
            return self._keep((root.der,), file)
        return self._by_path(form)

    def _by_path(self, form: Form) -> Certificate:
        """A certificate file that is typed."""
        if form.yes:
            raise form.give_up(
                "the server's certificate is not trusted by this system",
                "name the root that it must chain to: --certificate FILE",
            )
        while True:
            path = form.text("Another certificate file, to trust instead (empty: give up)", "")
            if not path:
                raise form.give_up("no certificate was chosen")
            try:
                return self.of_file(Path(path).expanduser())
            except InvalidInput as fault:
                form.tell(f"  {form.style.bad(fault.message)}")

    def _known(self, root: "Link | None") -> Certificate | None:
        """The same certificate in a file that is there, or that is to be made."""
        from reconciler.pem import pem_of

        return self._with(pem_of((root.der,))) if root else None

    def _with(self, pem: str) -> Certificate | None:
        return next((one for one in self._all() if one.pem == pem), None)

    def _ders(self) -> tuple[bytes, ...]:
        from reconciler.declarations.certificate_facts import split

        return tuple(der for one in self._all() for der in split(one.pem.encode())[0])

    def _all(self) -> Iterator[Certificate]:
        """Those that are to be made, and those of the project, by their path for a declaration."""
        from reconciler.declarations.certificates import CertificateFiles

        for file, pem in self.made.items():
            yield Certificate(file, pem)
        folder = f"{self.around.target.declarations}/certs"
        for one in CertificateFiles(self.around.project.root).inside(folder):
            if one.certificate:
                yield Certificate(f"certs/{posixpath.basename(one.file)}", one.certificate.pem)

    def _keep(self, ders: tuple[bytes, ...], name: str) -> Certificate:
        from reconciler.pem import pem_of

        pem = pem_of(ders)
        if known := self._with(pem):
            return known
        file = name if name.startswith("certs/") else self._free_name(name)
        self.made[file] = pem
        return Certificate(file, pem)

    def _free_name(self, name: str) -> str:
        """A path for a file that is not there yet. The name may be anything."""
        stem = _NOT_IN_NAMES.sub("-", name.lower()).strip("-")[:_LONGEST].strip("-") or "root"
        folder = self.around.project.root / self.around.target.declarations
        number, file = 2, f"certs/{stem}.pem"
        while os.path.lexists(folder / file) or file in self.made:
            number, file = number + 1, f"certs/{stem}-{number}.pem"
        return file


def _show(form: Form, where: str, chain: tuple["Link", ...], root: "Link | None") -> None:
    form.tell(f"\n  The certificates of {where}, its own first")
    found = chain if root is None or root.der in [one.der for one in chain] else (*chain, root)
    for number, one in enumerate(found, 1):
        kind = "  (the root)" if root and one.der == root.der else ""
        source = ", which the server does not send" if number > len(chain) else ""
        form.tell(f"  {number}. {line(one.subject) or 'no name'}{kind}{source}")
        form.tell(f"     issued by {line(one.issuer) or 'no name'}")
        form.tell(f"     valid {one.not_before:%Y-%m-%d} to {one.not_after:%Y-%m-%d}")
        form.tell(f"     SHA-256 {one.fingerprint}")


def _why(shown: "Shown") -> str:
    return line(shown.distrust.message) if shown.distrust else ""
