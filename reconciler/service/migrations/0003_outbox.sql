-- Mail that was accepted for sending. `number` is the order of acceptance; `id` is what callers see.
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    gateway TEXT NOT NULL,
    kind TEXT NOT NULL,
    message_id TEXT NOT NULL,
    sender TEXT NOT NULL,
    size INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    next_attempt_at TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    -- while an attempt is under way: whether the whole message may have reached the server
    in_flight INTEGER NOT NULL DEFAULT 0,
    request_key TEXT,
    request TEXT NOT NULL,
    UNIQUE (tenant, id),
    UNIQUE (tenant, gateway, request_key)
);

CREATE INDEX outbox_due ON outbox (tenant, gateway, next_attempt_at, number);

CREATE TABLE outbox_recipients (
    message INTEGER NOT NULL,
    position INTEGER NOT NULL,
    address TEXT NOT NULL,
    state TEXT NOT NULL,
    answer TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (message, position),
    FOREIGN KEY (message) REFERENCES outbox (number) ON DELETE CASCADE
);

CREATE TABLE outbox_content (
    message INTEGER NOT NULL,
    part INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (message, part),
    FOREIGN KEY (message) REFERENCES outbox (number) ON DELETE CASCADE
);
