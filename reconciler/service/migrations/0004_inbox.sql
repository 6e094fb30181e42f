-- Mail that came in. A row is whole only once `complete` is 1: its bytes come in pieces.
CREATE TABLE inbox (
    number INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    gateway TEXT NOT NULL,
    -- what the server calls it: UIDVALIDITY and UID, or a UIDL with its ordinal
    identity TEXT NOT NULL,
    -- what tells it from others wherever it is numbered anew
    print TEXT NOT NULL,
    received_at TEXT NOT NULL,
    size INTEGER NOT NULL,
    complete INTEGER NOT NULL DEFAULT 0,
    resync INTEGER NOT NULL DEFAULT 0,
    -- attempts are counted before parsing: after three the message is listed without its parts
    parse_attempts INTEGER NOT NULL DEFAULT 0,
    parsed TEXT,
    UNIQUE (tenant, id),
    UNIQUE (tenant, gateway, identity)
);

CREATE INDEX inbox_of_gateway ON inbox (tenant, gateway, complete, number);

CREATE INDEX inbox_by_print ON inbox (tenant, gateway, print);

CREATE TABLE inbox_content (
    message INTEGER NOT NULL,
    part INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (message, part),
    FOREIGN KEY (message) REFERENCES inbox (number) ON DELETE CASCADE
);

-- How far a gateway has read its mailbox.
CREATE TABLE inbox_cursors (
    tenant TEXT NOT NULL,
    gateway TEXT NOT NULL,
    mailbox TEXT NOT NULL,
    cursor TEXT NOT NULL,
    PRIMARY KEY (tenant, gateway)
);
