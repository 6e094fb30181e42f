-- Who may call the service. A token's secret is kept as a hash; it is shown once, when it is made.
CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    role TEXT NOT NULL,
    hash TEXT NOT NULL,
    origin TEXT,
    note TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    revoked_at TEXT
);

CREATE INDEX tokens_of_tenant ON tokens (tenant, created_at);

-- Browsers that were signed in with a token. Kept is a hash of the cookie, as with tokens.
CREATE TABLE visits (
    hash TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    token TEXT NOT NULL,
    began_at TEXT NOT NULL,
    ends_at TEXT NOT NULL
);

-- Which process owns the sessions: every write of a session carries the number, which only grows.
CREATE TABLE epochs (
    name TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL
);

-- Which token a change came with, beside the name that its bearer gave.
ALTER TABLE audit ADD COLUMN token TEXT NOT NULL DEFAULT '';
