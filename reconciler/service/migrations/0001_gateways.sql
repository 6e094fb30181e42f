-- Gateways, their trust anchors, the audit trail, and what keeps writes apart and repeatable.
-- Every table has a tenant. Timestamps are UTC, ISO 8601 with a Z. Truth values are 0 and 1.
-- `applied` is a JSON list of the columns from name to labels as last applied, in their order here:
-- a migration that changes those columns changes it too, and empties `answers`.

CREATE TABLE certificates (
    tenant TEXT NOT NULL,
    digest TEXT NOT NULL,
    pem TEXT NOT NULL,
    PRIMARY KEY (tenant, digest)
);

CREATE TABLE gateways (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    protocol_type TEXT NOT NULL,
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    user_id TEXT,
    default_email_address TEXT,
    default_user_name TEXT,
    authentication_flag INTEGER NOT NULL,
    encoding_mode TEXT NOT NULL,
    encryption_mode TEXT NOT NULL,
    certificate_file TEXT,
    certificate_digest TEXT,
    case_sensitivity INTEGER NOT NULL,
    receive_from TEXT NOT NULL,
    state TEXT NOT NULL,
    when_failed TEXT NOT NULL,
    protect INTEGER NOT NULL,
    labels TEXT NOT NULL,
    applied TEXT,
    owner TEXT,
    revision INTEGER NOT NULL,
    password BLOB,
    fingerprint TEXT,
    status TEXT NOT NULL,
    status_since TEXT NOT NULL,
    status_checked_at TEXT NOT NULL,
    failure_kind TEXT,
    failure_field TEXT,
    failure_message TEXT,
    failure_hint TEXT,
    cause TEXT,
    actor TEXT NOT NULL,
    epoch INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (tenant, name),
    FOREIGN KEY (tenant, certificate_digest) REFERENCES certificates (tenant, digest)
);

CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    at TEXT NOT NULL,
    actor TEXT NOT NULL,
    git_commit TEXT,
    run TEXT NOT NULL,
    gateway TEXT NOT NULL,
    action TEXT NOT NULL,
    revision INTEGER NOT NULL,
    changes TEXT NOT NULL
);

CREATE INDEX audit_of_gateway ON audit (tenant, gateway, id);

-- The answer to each write, by its key, so that repeating a write is harmless.
CREATE TABLE answers (
    tenant TEXT NOT NULL,
    write_key TEXT NOT NULL,
    request TEXT NOT NULL,
    gateway TEXT NOT NULL,
    answer TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (tenant, write_key)
);

CREATE INDEX answers_of_gateway ON answers (tenant, gateway);

CREATE INDEX answers_by_age ON answers (tenant, at);

-- The row stays when a lock is given back, so that `fence` only ever grows.
CREATE TABLE locks (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    fence INTEGER NOT NULL,
    token TEXT,
    holder TEXT NOT NULL,
    run TEXT NOT NULL,
    since TEXT NOT NULL,
    expires TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
);

-- Refused logins of one host, user and password, named by a keyed digest. Gateways may share one.
CREATE TABLE refusals (
    tenant TEXT NOT NULL,
    credential TEXT NOT NULL,
    gateway TEXT NOT NULL,
    logins INTEGER NOT NULL,
    last_at TEXT NOT NULL,
    PRIMARY KEY (tenant, credential, gateway)
);

-- Tells a wrong key at once; it says nothing of the key.
CREATE TABLE key_checks (
    tenant TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
