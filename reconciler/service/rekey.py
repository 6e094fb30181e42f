"""Another key for what is sealed at rest: all of it in one transaction, or nothing."""

import sqlite3

from reconciler.errors import PlatformUnavailable, Sealed
from reconciler.service.mail.webhook_store import secret_binding
from reconciler.service.store import Store
from reconciler.service.vault import Binding, Vault


def rekey(connection: sqlite3.Connection, old: Vault, new: Vault) -> int:
    """Seal with `new` what `old` has sealed; how many passwords and secrets these were.

    It needs a caller's transaction. Where it was done already nothing happens, so it may be asked
    for again. What does not open even with the old key stays as it is: it opens for nobody.

    Raises:
        Sealed: `old` is not the key of this database, or one of the two cannot be read.

    """
    known = Store(connection, "").key_check()
    if known is None or _opens(new, known):
        return 0
    old.unlock(known)
    check = new.unlock(None)
    done = _passwords(connection, old, new) + _webhook_secrets(connection, old, new)
    connection.execute("UPDATE key_checks SET value = ?", (check,))
    return done


def _opens(vault: Vault, key_check: str) -> bool:
    try:
        vault.unlock(key_check)
    except Sealed:
        return False
    return True


def _passwords(connection: sqlite3.Connection, old: Vault, new: Vault) -> int:
    rows = connection.execute(
        "SELECT tenant, name, host, user_id, password FROM gateways WHERE password IS NOT NULL"
    ).fetchall()
    done = 0
    for tenant, name, host, user, sealed in rows:
        binding = Binding(tenant, name, host)
        try:
            password = old.open(sealed, binding)
        except PlatformUnavailable:
            continue
        connection.execute(
            "UPDATE gateways SET password = ? WHERE tenant = ? AND name = ?",
            (new.seal(password, binding), tenant, name),
        )
        # refused logins are counted under a digest of the key, and must not be forgotten with it
        connection.execute(
            "UPDATE refusals SET credential = ? WHERE tenant = ? AND credential = ?",
            (new.credential(host, user, password), tenant, old.credential(host, user, password)),
        )
        done += 1
    return done


def _webhook_secrets(connection: sqlite3.Connection, old: Vault, new: Vault) -> int:
    rows = connection.execute(
        "SELECT id, tenant, url, number, sealed FROM webhook_secrets "
        "JOIN webhooks ON webhooks.id = webhook_secrets.webhook"
    ).fetchall()
    done = 0
    for webhook, tenant, url, number, sealed in rows:
        binding = secret_binding(tenant, webhook, url, number)
        try:
            secret = old.open(sealed, binding)
        except PlatformUnavailable:
            continue
        connection.execute(
            "UPDATE webhook_secrets SET sealed = ? WHERE webhook = ? AND number = ?",
            (new.seal(secret, binding), webhook, number),
        )
        done += 1
    return done
