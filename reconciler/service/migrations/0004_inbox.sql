-- Mail that came in. A row is whole only once `complete` is 1: its bytes come in pieces.
-- No number is ever given twice, whatever was dropped meanwhile.
CREATE TABLE inbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    gateway TEXT NOT NULL,
    -- its place among the messages of its gateway, from 1, given when it is whole: a cursor
    position INTEGER,
    received_at TEXT NOT NULL,
    size INTEGER NOT NULL,
    -- 0 where the message was left on the server
    has_content INTEGER NOT NULL DEFAULT 1,
    complete INTEGER NOT NULL DEFAULT 0,
    -- found when the mailbox was numbered anew, so it may have been seen before
    resync INTEGER NOT NULL DEFAULT 0,
    -- counted before each reading, until one has succeeded: after three there is no other
    parse_attempts INTEGER NOT NULL DEFAULT 0,
    parsed TEXT NOT NULL DEFAULT '{}',
    UNIQUE (tenant, id),
    UNIQUE (tenant, gateway, position)
);

CREATE INDEX inbox_of_gateway ON inbox (tenant, gateway, complete, number);

CREATE INDEX inbox_by_age ON inbox (received_at);

CREATE TABLE inbox_content (
    message INTEGER NOT NULL,
    part INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (message, part),
    FOREIGN KEY (message) REFERENCES inbox (number) ON DELETE CASCADE
);

-- What of a mailbox has been dealt with, by what the server calls it: UIDVALIDITY and UID, or a
-- UIDL. `print` tells a message from others wherever it is numbered anew; it is empty where the
-- message was never looked at. Rows stay when a message is dropped, or it would be new again.
CREATE TABLE inbox_known (
    tenant TEXT NOT NULL,
    gateway TEXT NOT NULL,
    mailbox TEXT NOT NULL,
    identity TEXT NOT NULL,
    print TEXT NOT NULL,
    seen_at TEXT NOT NULL,
    PRIMARY KEY (tenant, gateway, mailbox, identity)
);

CREATE INDEX inbox_known_by_print ON inbox_known (tenant, gateway, print);

CREATE INDEX inbox_known_by_age ON inbox_known (tenant, gateway, seen_at);

-- How far a gateway has read its mailbox. What arrived there before `floor` is not new, whatever
-- its number. `last` is the position of the newest message, `dropped` how many are no longer kept.
-- A message that could not be fetched is tried again until `stumbles` says that it was enough.
CREATE TABLE inbox_cursors (
    tenant TEXT NOT NULL,
    gateway TEXT NOT NULL,
    mailbox TEXT NOT NULL DEFAULT '',
    cursor TEXT NOT NULL DEFAULT '',
    floor TEXT NOT NULL DEFAULT '',
    last INTEGER NOT NULL DEFAULT 0,
    dropped INTEGER NOT NULL DEFAULT 0,
    stumbled_on TEXT NOT NULL DEFAULT '',
    stumbles INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, gateway)
);
