-- The embedded store. Times are Unix seconds unless a name ends in _ms; event ids are 32-byte blobs.

CREATE TABLE worker (
    name          TEXT PRIMARY KEY,
    incarnation   TEXT NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    renewed_at    INTEGER NOT NULL
) STRICT;

-- AUTOINCREMENT: the ledger and late reports name upstreams and batches that may be gone; a number never comes twice.
CREATE TABLE relay (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    url           TEXT NOT NULL UNIQUE,
    role          TEXT NOT NULL CHECK (role IN ('home', 'bootstrap', 'listed')),
    refused       INTEGER NOT NULL DEFAULT 0,      -- 1: never dialed; last_detail says why
    epoch         INTEGER NOT NULL DEFAULT 0,
    owner         TEXT,                            -- worker.name and worker.incarnation
    owner_inc     TEXT,
    link          TEXT NOT NULL DEFAULT 'down' CHECK (link IN ('down', 'up')),
    opened        INTEGER NOT NULL DEFAULT 0,
    caught_up     INTEGER NOT NULL DEFAULT 0,
    resume_since  INTEGER,                         -- NULL: fresh
    up_since      INTEGER,
    last_up       INTEGER,                         -- written when a link ends
    behind        INTEGER,
    last_sequence INTEGER NOT NULL DEFAULT -1,     -- of this epoch; which of the 64 below it were applied
    seen_below    INTEGER NOT NULL DEFAULT 0,
    layout        INTEGER NOT NULL DEFAULT 0,      -- counts the changes of chunks while the link is up
    layout_taken  INTEGER NOT NULL DEFAULT 0,      -- the layout whose live filters the session has taken
    dial_at       INTEGER NOT NULL,
    failures      INTEGER NOT NULL DEFAULT 0,
    failing_since INTEGER,
    last_class    TEXT,
    last_detail   TEXT,
    learned       TEXT NOT NULL DEFAULT '{}',
    refresh_at    INTEGER,
    ask_at        INTEGER,
    ask_failures  INTEGER NOT NULL DEFAULT 0,
    incomplete    TEXT,
    empty_since   INTEGER,
    events        INTEGER NOT NULL DEFAULT 0,
    fresh         INTEGER NOT NULL DEFAULT 0,
    rounds        INTEGER NOT NULL DEFAULT 0,
    bytes_in      INTEGER NOT NULL DEFAULT 0,
    bytes_out     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX relay_home ON relay (role) WHERE role = 'home';
CREATE INDEX relay_owner ON relay (owner);

CREATE TABLE item (
    id   INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,                         -- 0 repo, 1 root
    key  TEXT NOT NULL UNIQUE                      -- a repository address, or an event id in hex
) STRICT;

-- event NULL: not announced (deleted, or known only as what a root tags).
CREATE TABLE repo (
    item          INTEGER PRIMARY KEY,
    event         BLOB,
    created_at    INTEGER,
    removed_until INTEGER,
    maintainers   TEXT NOT NULL,                   -- keys in hex, a JSON list
    identifier    BLOB NOT NULL                    -- SHA-256 of what stands behind the author in its address
) STRICT;
CREATE INDEX repo_identifier ON repo (identifier) WHERE event IS NOT NULL;

CREATE TABLE repo_relay (
    repo  INTEGER NOT NULL,
    relay INTEGER NOT NULL,
    PRIMARY KEY (repo, relay)
) STRICT, WITHOUT ROWID;
CREATE INDEX repo_relay_relay ON repo_relay (relay);

CREATE TABLE root (
    item       INTEGER PRIMARY KEY,
    kind       INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE root_repo (
    root INTEGER NOT NULL,
    repo INTEGER NOT NULL,
    PRIMARY KEY (root, repo)
) STRICT, WITHOUT ROWID;
CREATE INDEX root_repo_repo ON root_repo (repo);

CREATE TABLE coverage (
    relay        INTEGER NOT NULL,
    item         INTEGER NOT NULL,
    kind         INTEGER NOT NULL,                 -- item.kind, so that one index counts and lists
    status       INTEGER NOT NULL,                 -- 0 wanted, 1 pending, 2 confirmed
    chunk        INTEGER,
    batch        INTEGER,
    epoch        INTEGER,
    method       TEXT,
    wanted_at    INTEGER NOT NULL,
    confirmed_at INTEGER,
    PRIMARY KEY (relay, item)
) STRICT, WITHOUT ROWID;
CREATE INDEX coverage_state ON coverage (relay, status, kind, chunk);
CREATE INDEX coverage_item ON coverage (item);
CREATE INDEX coverage_pending ON coverage (batch) WHERE status = 1;

CREATE TABLE batch (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    relay      INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    method     TEXT NOT NULL,
    items      INTEGER NOT NULL,
    state      TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'complete', 'incomplete', 'released', 'overdue')),
    outcome    TEXT,                               -- why it is incomplete
    deadline   INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,
    events     INTEGER NOT NULL DEFAULT 0,
    fresh      INTEGER NOT NULL DEFAULT 0,
    rounds     INTEGER NOT NULL DEFAULT 0,
    bytes_in   INTEGER NOT NULL DEFAULT 0,
    bytes_out  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX batch_open ON batch (relay) WHERE ended_at IS NULL;
CREATE INDEX batch_ended ON batch (relay, ended_at);

CREATE TABLE ref (
    id         INTEGER PRIMARY KEY,
    tag        INTEGER NOT NULL,                   -- 0 a, 1 A, 2 e, 3 E, 4 q: one filter names one tag
    value_hash BLOB NOT NULL,                      -- SHA-256: a bounded key for any text
    UNIQUE (tag, value_hash)
) STRICT;

CREATE TABLE event (
    id         BLOB PRIMARY KEY CHECK (length(id) = 32),
    created_at INTEGER NOT NULL,
    kind       INTEGER NOT NULL,
    outcome    INTEGER NOT NULL,
    reason     TEXT,
    upstream   INTEGER NOT NULL,
    batch      INTEGER,
    seen_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX event_kind ON event (kind, created_at, id);
CREATE INDEX event_held ON event (seen_at) WHERE outcome = 3;
CREATE INDEX event_declined ON event (outcome) WHERE outcome IN (15, 16);
-- Forgotten: not known, in no set, but its references stay.
CREATE INDEX event_forgotten ON event (id) WHERE outcome = 99;

CREATE TABLE event_ref (
    ref        INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    id         BLOB NOT NULL,
    PRIMARY KEY (ref, created_at, id)
) STRICT, WITHOUT ROWID;

-- Status asks for these sums often; counting a million rows each time is no answer.
CREATE TABLE outcome_count (
    outcome INTEGER PRIMARY KEY,
    n       INTEGER NOT NULL
) STRICT;
CREATE TRIGGER event_counted AFTER INSERT ON event BEGIN
    INSERT INTO outcome_count (outcome, n) VALUES (new.outcome, 1) ON CONFLICT (outcome) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER event_recounted AFTER UPDATE OF outcome ON event WHEN old.outcome <> new.outcome BEGIN
    UPDATE outcome_count SET n = n - 1 WHERE outcome = old.outcome;
    INSERT INTO outcome_count (outcome, n) VALUES (new.outcome, 1) ON CONFLICT (outcome) DO UPDATE SET n = n + 1;
END;

-- Events that home refuses until something arrives. What is due is given out to be offered again.
CREATE TABLE waiting (
    id      BLOB PRIMARY KEY,
    json    TEXT NOT NULL,
    held_at INTEGER NOT NULL,
    due     INTEGER NOT NULL DEFAULT 0,            -- 1: something has arrived since it was given out last
    taken_until INTEGER                            -- until when who was given it says what became of it
) STRICT, WITHOUT ROWID;
CREATE INDEX waiting_due ON waiting (id) WHERE due = 1 OR taken_until IS NOT NULL;
CREATE INDEX waiting_held ON waiting (held_at, id);

CREATE TABLE waiting_for (
    parent BLOB NOT NULL,                          -- SHA-256 of a key of engine::parents
    id     BLOB NOT NULL,
    PRIMARY KEY (parent, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX waiting_for_id ON waiting_for (id);

-- What was let in when the ledger's refusals were written.
CREATE TABLE policy (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    fingerprint TEXT NOT NULL
) STRICT;
