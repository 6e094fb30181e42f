"""How eagerly sessions are opened: limits that mail servers are owed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """Limits and waits; seconds but for the first three.

    `host_connections` and `all_connections` are the most new connections in any second, to one mail
    host and of the whole process. `more_sessions` is how many a gateway may have beside its own.
    A session that lived for `stable` has proved its server: only then the back-off starts anew.
    `refused` is the least wait after a refused login; `watch` is how often this process looks
    whether it still owns its gateways; `end` is what closing all sessions may take.
    """

    host_connections: int = 50
    all_connections: int = 200
    more_sessions: int = 4
    stable: float = 300
    refused: float = 300
    watch: float = 10
    end: float = 20
