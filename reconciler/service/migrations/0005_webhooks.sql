-- Where a tenant's received messages are announced. No gateway means every one of the tenant's.
-- `failures` counts those in a row since `failing_since`; nothing is tried again before `opens_at`.
CREATE TABLE webhooks (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    gateway TEXT,
    url TEXT NOT NULL,
    created_at TEXT NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    failing_since TEXT,
    opens_at TEXT NOT NULL DEFAULT '',
    answer TEXT NOT NULL DEFAULT '',
    disabled_at TEXT
);

CREATE INDEX webhooks_of_tenant ON webhooks (tenant, created_at);

-- What announcements are signed with. The current one has no end; those before it have a day.
-- `request_key` is that of the request which it was made for, so that repeating that is harmless.
CREATE TABLE webhook_secrets (
    webhook TEXT NOT NULL,
    number INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    created_at TEXT NOT NULL,
    ends_at TEXT,
    request_key TEXT,
    request TEXT NOT NULL,
    PRIMARY KEY (webhook, number),
    FOREIGN KEY (webhook) REFERENCES webhooks (id) ON DELETE CASCADE
);

-- What is still to be told, or was given up. `number` is the order in which messages became whole.
-- Told is gone: the row is removed once the target has taken it. Those of a webhook that was removed
-- go a few at a time, and no id is ever given twice.
CREATE TABLE deliveries (
    number INTEGER PRIMARY KEY,
    webhook TEXT NOT NULL,
    gateway TEXT NOT NULL,
    message TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting',
    created_at TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    first_attempt_at TEXT,
    next_attempt_at TEXT NOT NULL DEFAULT '',
    answer TEXT NOT NULL DEFAULT '',
    -- whether it was made due at once after an outage of the target: that is done once
    spared INTEGER NOT NULL DEFAULT 0,
    UNIQUE (webhook, message)
);

CREATE INDEX deliveries_in_order
ON deliveries (webhook, state, gateway, number, next_attempt_at);

CREATE INDEX deliveries_given_up ON deliveries (webhook, number) WHERE state = 'given up';

CREATE INDEX deliveries_put_off
ON deliveries (webhook) WHERE state = 'waiting' AND attempts >= 3 AND spared = 0;
