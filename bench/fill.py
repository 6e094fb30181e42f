"""Fills a project's database as an apply that connected would: `python -m bench.fill FOLDER`.

Everything goes through the service's own writes, passwords sealed and audit trail kept. Only the
login is left out, whose outcome is written instead: 100,000 logins take minutes and leave the same
rows behind.
"""

import sys
from dataclasses import replace
from pathlib import Path

from reconciler.clock import now
from reconciler.declarations.project import load_project
from reconciler.model import Actor, DesiredGateway, StatusState
from reconciler.pipeline import state
from reconciler.platforms.embedded import TENANT
from reconciler.service.database import open_writable
from reconciler.service.store import Store
from reconciler.service.upgrade import transaction
from reconciler.service.vault import Vault
from reconciler.service.writes import Asked, Writes


def fill(folder: Path) -> int:
    """Store every declared gateway as connected; how many there are."""
    project = load_project(folder)
    target = project.targets[project.default_target]
    stated = state(project, target, now(), key_needed=True)
    database = folder / target.database
    connection = open_writable(database)
    store = Store(connection, TENANT)
    writes = Writes(store, Vault(database, {}), target.owner, now)
    with transaction(connection):
        for one in stated.desired.gateways:
            _store_connected(writes, store, one)
    connection.close()
    return len(stated.desired.gateways)


def _store_connected(writes: Writes, store: Store, one: DesiredGateway) -> None:
    name = one.gateway.name
    actual = writes.create(one, Asked(Actor("bench"), name, None))
    connected = replace(actual.status, state=StatusState.SUCCEEDED)
    store.record_status(name, actual.revision, connected)


if __name__ == "__main__":
    print(fill(Path(sys.argv[1]).resolve()))
