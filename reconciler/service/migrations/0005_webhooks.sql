-- Where a tenant's received messages are announced, and what is still to be told.
CREATE TABLE webhooks (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    gateway TEXT,
    url TEXT NOT NULL,
    secret BLOB NOT NULL,
    created_at TEXT NOT NULL,
    disabled_at TEXT,
    disabled_why TEXT NOT NULL DEFAULT ''
);

CREATE INDEX webhooks_of_tenant ON webhooks (tenant);

CREATE TABLE deliveries (
    webhook TEXT NOT NULL,
    message INTEGER NOT NULL,
    event TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_at TEXT,
    answer TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL,
    PRIMARY KEY (webhook, message),
    FOREIGN KEY (webhook) REFERENCES webhooks (id) ON DELETE CASCADE
);

CREATE INDEX deliveries_due ON deliveries (state, next_attempt_at);
