-- Mail that was accepted for sending. `number` is the order of acceptance; `id` is what callers see
-- and is made of tenant, gateway and key, so that the same key is the same message.
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    gateway TEXT NOT NULL,
    kind TEXT NOT NULL,
    message_id TEXT NOT NULL,
    sender TEXT NOT NULL,
    -- 1 where a server must offer SMTPUTF8 to take it
    utf8 INTEGER NOT NULL,
    size INTEGER NOT NULL,
    parts INTEGER NOT NULL,
    -- a digest of what was asked for, which tells a repeated request from another
    request TEXT NOT NULL,
    -- JSON: a list of address, state, answer and attempts of each
    recipients TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    -- NULL while an attempt is under way, and when there will be none
    next_attempt_at TEXT,
    -- while an attempt is under way: the epoch of the process that makes it
    in_flight INTEGER NOT NULL DEFAULT 0,
    -- when the last recipient was settled, be it as unknown
    finished_at TEXT
);

CREATE INDEX outbox_of_gateway ON outbox (tenant, gateway, number);

CREATE INDEX outbox_due ON outbox (tenant, gateway, next_attempt_at, number)
WHERE next_attempt_at IS NOT NULL;

CREATE INDEX outbox_in_flight ON outbox (in_flight) WHERE in_flight <> 0;

-- the few that somebody should look at, so that they are counted without reading all
CREATE INDEX outbox_troubled ON outbox (tenant, gateway, number)
WHERE state IN ('failed', 'partly sent', 'unknown');

CREATE INDEX outbox_finished ON outbox (finished_at) WHERE finished_at IS NOT NULL;

-- A message in pieces of whole lines, until nobody needs it any more.
CREATE TABLE outbox_content (
    message INTEGER NOT NULL,
    part INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (message, part),
    FOREIGN KEY (message) REFERENCES outbox (number) ON DELETE CASCADE
);

-- How much content is kept for each gateway: too much of it refuses more.
CREATE TABLE outbox_queues (
    tenant TEXT NOT NULL,
    gateway TEXT NOT NULL,
    messages INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (tenant, gateway)
);
