"""Trying what was filled in on the real servers, and what to do where a server says no."""

from dataclasses import dataclass, field, replace
from typing import Final

from reconciler.cli.common import wait_for
from reconciler.cli.new_anchor import Anchors
from reconciler.cli.new_draft import Draft, Mailbox, Surroundings, by_schema
from reconciler.cli.new_form import Form
from reconciler.cli.new_servers import Network, ask_server
from reconciler.discovery import Findings
from reconciler.model import Failure, FailureKind, Ladder, ProtocolType, Secret
from reconciler.report.safe import line

MAX_REFUSALS: Final = 3
"""Logins that may be refused before no more is tried, so that no mailbox is locked."""

CORRECT, AGAIN, KEEP, GIVE_UP = "correct", "again", "keep", "give-up"
_MEANINGS: Final = {
    CORRECT: "answer anew what is to blame",
    AGAIN: "try the same once more",
    KEEP: "write it all the same",
    GIVE_UP: "write nothing",
}
_OF_THE_LOGIN: Final = frozenset({"user_id", "user_password"})


@dataclass
class Trial:
    """The servers and the login of one mailbox, settled with whoever answers."""

    form: Form
    around: Surroundings
    network: Network
    findings: Findings
    anchors: Anchors
    password_from_stdin: bool = False
    refused: list[tuple[str, str, Secret]] = field(default_factory=list)
    """Host, user id and password of each login that was refused."""

    def server(self, mailbox: Mailbox, protocol: ProtocolType) -> Draft:
        """Ask for a server until one answers and its root is confirmed."""
        from reconciler.service.sessions import SessionError

        findings = self.findings
        while True:
            chosen = ask_server(self.form, self.around, protocol, mailbox.domain, findings)
            draft = Draft(protocol, chosen)
            while True:
                try:
                    server = self.anchors.settle(self.form, draft, self.network.settings())
                except SessionError as error:
                    self.form.failed(error.failure)
                    answers = (CORRECT, AGAIN, GIVE_UP)
                    if self._what_now(error.failure, answers) == AGAIN:
                        continue
                    break
                return replace(draft, server=server)

    def login(self, mailbox: Mailbox) -> tuple[Mailbox, bool]:
        """Try each gateway's login, one after the other; whether all of them worked."""
        self.form.head("Login")
        passed: set[ProtocolType] = set()
        while True:
            failed = self._try(mailbox, passed)
            if failed is None:
                return mailbox, True
            draft, failure = failed
            action = self._what_now(failure, self._answers(failure))
            if action == KEEP:
                return mailbox, False
            if action == CORRECT and failure.field in _OF_THE_LOGIN:
                mailbox = self.credentials(mailbox)
                passed.clear()
            elif action == CORRECT:
                corrected = self.server(mailbox, draft.protocol)
                mailbox = mailbox.with_server(draft, corrected.server)

    def credentials(self, mailbox: Mailbox) -> Mailbox:
        user_id = self.form.text(
            "User id", mailbox.user_id or mailbox.address, by_schema("user_id")
        )
        password = self.form.password(from_stdin=self.password_from_stdin)
        return replace(mailbox, user_id=user_id, password=password)

    def _try(self, mailbox: Mailbox, passed: set[ProtocolType]) -> tuple[Draft, Failure] | None:
        """The first gateway that does not connect, if there is one."""
        from reconciler.report.ladder import ladders_text

        for draft in mailbox.drafts:
            if draft.protocol in passed:
                continue
            if failure := self._not_to_be_tried(mailbox, draft):
                self.form.failed(failure)
                return draft, failure
            ladder = self._climb(mailbox, draft)
            self.form.tell(ladders_text([ladder], self.form.style).rstrip("\n"))
            if ladder.failure:
                if ladder.failure.kind is FailureKind.AUTH:
                    self.refused.append(_credential(mailbox, draft))
                return draft, ladder.failure
            passed.add(draft.protocol)
        return None

    def _climb(self, mailbox: Mailbox, draft: Draft) -> Ladder:
        from reconciler.clock import now
        from reconciler.service.ladder import climb

        gateway, settings = mailbox.gateway(draft), self.network.settings()
        return wait_for(climb(gateway, mailbox.password, now=now(), settings=settings))

    def _not_to_be_tried(self, mailbox: Mailbox, draft: Draft) -> Failure | None:
        if len(self.refused) >= MAX_REFUSALS:
            return Failure(
                FailureKind.AUTH,
                "user_password",
                f"{MAX_REFUSALS} logins were refused: no more is tried, so that the mailbox is"
                " not locked",
            )
        if _credential(mailbox, draft) in self.refused:
            return Failure(
                FailureKind.AUTH,
                "user_password",
                "this user id and password were refused already, and are not tried again",
            )
        return None

    def _answers(self, failure: Failure) -> tuple[str, ...]:
        if len(self.refused) >= MAX_REFUSALS:
            return KEEP, GIVE_UP
        if failure.kind is FailureKind.AUTH:
            return CORRECT, KEEP, GIVE_UP
        return CORRECT, AGAIN, KEEP, GIVE_UP

    def _what_now(self, failure: Failure, answers: tuple[str, ...]) -> str:
        """What the user wants to do about a failure. Raises GaveUp."""
        if self.form.yes:
            raise self.form.give_up(line(failure.message), failure.hint)
        for answer in answers:
            self.form.tell(f"  {answer:<8}  {_MEANINGS[answer]}")
        chosen = self.form.choice("What now", answers, answers[0])
        if chosen == GIVE_UP:
            raise self.form.give_up("given up")
        return chosen


def _credential(mailbox: Mailbox, draft: Draft) -> tuple[str, str, Secret]:
    return draft.server.host, mailbox.user_id, mailbox.password
