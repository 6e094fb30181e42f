"""What each write to a gateway means, whoever asks for it: a command or the HTTP API.

Every method runs inside a transaction of its caller's, so that the gateway, its audit entry and
the answer to a repeated write are stored together or not at all.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler import transitions
from reconciler.clock import Clock, stamp
from reconciler.errors import (
    AlreadyThere,
    Blocked,
    KeyReused,
    PlatformUnavailable,
)
from reconciler.model import (
    CONNECTION_FIELDS,
    PASSWORD_FIELD,
    Action,
    Actor,
    ActualGateway,
    Cause,
    DesiredGateway,
    Gateway,
    Secret,
    SecretState,
    State,
)
from reconciler.service.audit import describe
from reconciler.service.refusals import Notes, Refusals
from reconciler.service.rows import declared_values
from reconciler.service.store import AuditEntry, Store
from reconciler.service.vault import Binding, Vault


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks, the key that makes asking again harmless, and the revision it was decided on.

    `request` is a digest of all that was asked, from a caller who was sent more than is known here.
    `applies` says that declarations are carried out: an edit past them leaves what was last applied
    as it is, and so shows as drift.
    """

    actor: Actor
    key: str
    revision: str | None
    request: str = ""
    applies: bool = True


@dataclass(frozen=True, slots=True)
class Writes:
    """The five writes, for gateways of one owner."""

    store: Store
    vault: Vault
    owner: str
    clock: Clock
    notes: Notes = field(default_factory=lambda: Notes(None))

    def create(self, desired: DesiredGateway, asked: Asked) -> ActualGateway:
        def carry_out() -> None:
            gateway = desired.gateway
            if self.store.row(gateway.name):
                raise AlreadyThere(
                    f"gateway {gateway.name!r} is on the platform already", "make a new plan"
                )
            status = transitions.at_first(gateway, asked.actor, stamp(self.clock()))
            self.store.insert(gateway, self.owner, status, status.since)
            word = self._store_password(desired, None)
            changes = describe(None, gateway, password=word)
            self._audit(Action.CREATE, asked, changes, gateway.name, None)

        return self._once(Action.CREATE, asked, _request(desired), carry_out, desired.gateway.name)

    def edit(self, desired: DesiredGateway, asked: Asked, *, reconnect: bool) -> ActualGateway:
        """Store the declared fields; with `reconnect` the connection is to be made anew.

        A password that is not known stays as it is.
        """

        def carry_out() -> None:
            actual = self._ours(desired.gateway.name, asked)
            self._replace(Action.EDIT, actual, desired, asked, reconnect=reconnect)

        request = [*_request(desired), reconnect]
        return self._once(Action.EDIT, asked, request, carry_out, desired.gateway.name)

    def adopt(self, desired: DesiredGateway, asked: Asked) -> ActualGateway:
        """Make a gateway ours and store the declared fields.

        Its status stays where its connection stays the same.
        """

        def carry_out() -> None:
            actual = self._at_revision(desired.gateway.name, asked)
            reconnect = self._connects_anew(actual, desired)
            self._replace(Action.ADOPT, actual, desired, asked, reconnect=reconnect)

        return self._once(Action.ADOPT, asked, _request(desired), carry_out, desired.gateway.name)

    def rebuild(self, name: str, asked: Asked, *, force: bool = False) -> ActualGateway:
        """Ask for the connection to be made anew; `force` lets a parked login be tried once."""

        def carry_out() -> None:
            actual = self._at_revision(name, asked)
            now = stamp(self.clock())
            if force:
                self._allow_one_more(actual, now)
            self.store.advance(name, transitions.connecting(asked.actor, now), now)
            changes = '[{"forced":true}]' if force else "[]"
            self._audit(Action.REBUILD, asked, changes, name, actual)

        request = [name, "force"] if force else [name]
        return self._once(Action.REBUILD, asked, request, carry_out, name)

    def disconnect(self, name: str, asked: Asked, *, cause: Cause) -> ActualGateway:
        """End the connection for good; an undeclared gateway loses its password too."""

        def carry_out() -> None:
            by_hand = cause is Cause.BY_HAND
            actual = self._at_revision(name, asked) if by_hand else self._ours(name, asked)
            gateway = actual.gateway
            if cause is Cause.DECLARED:
                gateway = replace(gateway, state=State.DISCONNECTED)
                self.store.write_fields(gateway, self.owner)
            password = SecretState.UNCHANGED
            if cause is Cause.UNDECLARED:
                password = self._erase(actual)
            now = stamp(self.clock())
            self.store.advance(name, transitions.disconnected(cause, asked.actor, now), now)
            changes = describe(actual.gateway, gateway, password=password, cause=cause)
            self._audit(Action.DISCONNECT, asked, changes, name, actual)

        return self._once(Action.DISCONNECT, asked, [name, cause], carry_out, name)

    def _once(
        self,
        action: Action,
        asked: Asked,
        request: list[Any],
        carry_out: Callable[[], None],
        name: str,
    ) -> ActualGateway:
        """Carry out, or answer as before if the key was used for the same request."""
        text = json.dumps([action, asked.revision, *request]) + asked.request
        digest = hashlib.sha256(text.encode()).hexdigest()
        answered = self.store.answer(asked.key)
        if answered is None:
            carry_out()
            now = stamp(self.clock())
            return self.store.restore(self.store.remember_answer(asked.key, digest, name, now))
        if answered[0] != digest:
            raise KeyReused(
                f"the key of this write to gateway {name!r} was used for another write",
                "give every write a key of its own, and the same only to repeat it unchanged",
            )
        return self.store.restore(answered[1])

    def _replace(
        self,
        action: Action,
        actual: ActualGateway,
        desired: DesiredGateway,
        asked: Asked,
        *,
        reconnect: bool,
    ) -> None:
        gateway, now = desired.gateway, stamp(self.clock())
        owner = (actual.owner, self.owner) if actual.owner != self.owner else None
        password = self._store_password(desired, actual)
        self.store.write_fields(gateway, self.owner, applied=asked.applies)
        status = transitions.after_edit(actual, gateway, asked.actor, now, reconnect=reconnect)
        self.store.advance(gateway.name, status, now)
        changes = describe(actual.gateway, gateway, owner=owner, password=password)
        self._audit(action, asked, changes, gateway.name, actual)

    def _at_revision(self, name: str, asked: Asked) -> ActualGateway:
        return transitions.at_revision(name, self.store.find(name), asked.revision)

    def _ours(self, name: str, asked: Asked) -> ActualGateway:
        return transitions.owned_by(self.owner, self._at_revision(name, asked))

    def _connects_anew(self, actual: ActualGateway, desired: DesiredGateway) -> bool:
        if _connection(actual.gateway) != _connection(desired.gateway):
            return True
        if not desired.password_known:
            return False
        return self._stored_password(actual) != desired.password

    def _stored_password(self, actual: ActualGateway) -> Secret | None:
        sealed = self.store.password(actual.gateway.name)
        if sealed is None:
            return None
        self._unlock()
        try:
            return self.vault.open(sealed, self._binding(actual.gateway))
        except PlatformUnavailable:
            return None  # it opens for nobody: as good as none

    def _store_password(self, desired: DesiredGateway, actual: ActualGateway | None) -> SecretState:
        """Store, keep or clear the password, and say which."""
        gateway = desired.gateway
        had = actual is not None and actual.has_password
        if not desired.password_known:
            if actual and had and actual.gateway.host != gateway.host:
                raise Blocked(
                    f"gateway {gateway.name!r}: its password is not at hand, and a stored one is "
                    f"never moved to another host ({gateway.host!r})",
                    "apply where the secrets can be read",
                )
            return SecretState.UNCHANGED
        if desired.password is None:
            self.store.write_password(gateway.name, None, None)
            return SecretState.CLEARED if had else SecretState.UNCHANGED
        self._unlock()
        sealed = self.vault.seal(desired.password, self._binding(gateway))
        self.store.write_password(gateway.name, sealed, desired.fingerprint)
        if actual is None or not had:
            return SecretState.SET
        same = actual.fingerprint is not None and actual.fingerprint == desired.fingerprint
        return SecretState.UNCHANGED if same else SecretState.ROTATED

    def _allow_one_more(self, actual: ActualGateway, now: str) -> None:
        password = self._stored_password(actual)
        if password is None:
            return
        gateway = actual.gateway
        credential = self.vault.credential(gateway.host, gateway.user_id, password)
        Refusals(self.store, self.notes).allow_one_more(credential, gateway.name, now)

    def _erase(self, actual: ActualGateway) -> SecretState:
        """No key is needed to forget."""
        name = actual.gateway.name
        self.store.write_password(name, None, None)
        self.store.forget_refusals(gateway=name)
        # earlier answers hold the fingerprint too
        self.store.forget_answers(gateway=name)
        return SecretState.CLEARED if actual.has_password else SecretState.UNCHANGED

    def _unlock(self) -> None:
        """Read at each use: what was remembered may have been rolled back."""
        known = self.store.key_check()
        found = self.vault.unlock(known)
        if known is None:
            self.store.remember_key_check(found)

    def _binding(self, gateway: Gateway) -> Binding:
        return Binding(self.store.tenant, gateway.name, gateway.host)

    def _audit(
        self, action: Action, asked: Asked, changes: str, name: str, before: ActualGateway | None
    ) -> None:
        entry = AuditEntry(
            at=stamp(self.clock()),
            actor=asked.actor.name,
            commit=asked.actor.commit,
            run=asked.actor.run,
            gateway=name,
            action=action.value,
            revision=str(int(before.revision) + 1 if before else 1),
            changes=changes,
            token=asked.actor.token,
        )
        self.store.write_audit(entry)


def _connection(gateway: Gateway) -> tuple[Any, ...]:
    """What a session is made of, but for the password."""
    fields = gateway.fields()
    return tuple(fields[name] for name in sorted(CONNECTION_FIELDS - {PASSWORD_FIELD}))


def _request(desired: DesiredGateway) -> list[Any]:
    """What tells one write from another; the password by its fingerprint and ciphertext."""
    fingerprint = str(desired.fingerprint) if desired.fingerprint else None
    known = desired.password_known
    return [declared_values(desired.gateway), fingerprint, desired.ciphertext, known]
