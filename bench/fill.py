"""Fills a project's database as an apply that connected would: `python -m bench.fill FOLDER`.

`python -m bench.fill FOLDER DATABASE` fills another, and disconnects all of it by hand: a service
that works on it is asked, and has no sessions to open beside.

Everything goes through the service's own writes, passwords sealed and audit trail kept. Only the
login is left out, whose outcome is written instead: 100,000 logins take minutes and leave the same
rows behind.
"""

import sys
from dataclasses import replace
from pathlib import Path

from reconciler.clock import now
from reconciler.declarations.project import load_project
from reconciler.model import Actor, Cause, DesiredGateway, StatusState
from reconciler.pipeline import state
from reconciler.platforms.embedded import TENANT
from reconciler.service.database import open_writable
from reconciler.service.store import Store
from reconciler.service.upgrade import transaction
from reconciler.service.vault import Vault
from reconciler.service.writes import Asked, Writes


def fill(folder: Path, paused: Path | None = None) -> int:
    """Store every declared gateway as connected, or as disconnected; how many there are."""
    project = load_project(folder)
    target = project.targets[project.default_target]
    stated = state(project, target, now(), key_needed=True)
    database = paused or folder / target.database
    connection = open_writable(database)
    store = Store(connection, TENANT)
    writes = Writes(store, Vault(database, {}), target.owner, now)
    with transaction(connection):
        for one in stated.desired.gateways:
            _store_connected(writes, store, one)
            if paused:
                asked = Asked(Actor("bench"), f"pause {one.gateway.name}", None)
                writes.disconnect(one.gateway.name, asked, cause=Cause.BY_HAND)
    connection.close()
    return len(stated.desired.gateways)


def _store_connected(writes: Writes, store: Store, one: DesiredGateway) -> None:
    name = one.gateway.name
    actual = writes.create(one, Asked(Actor("bench"), name, None))
    connected = replace(actual.status, state=StatusState.SUCCEEDED)
    store.record_status(name, actual.revision, connected)


if __name__ == "__main__":
    print(fill(*(Path(word).resolve() for word in sys.argv[1:3])))
