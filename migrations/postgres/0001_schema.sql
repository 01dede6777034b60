-- The store of a fleet. Times are Unix seconds unless a name ends in _ms; event ids are 32 bytes.

CREATE TABLE worker (
    name          text COLLATE "C" PRIMARY KEY,
    incarnation   text NOT NULL,
    expires_at_ms bigint NOT NULL,
    renewed_at    bigint NOT NULL
) WITH (fillfactor = 70);

CREATE TABLE relay (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    url           text COLLATE "C" NOT NULL,
    url_hash      bytea NOT NULL UNIQUE,                -- SHA-256: a bounded key for any text
    host          text COLLATE "C" NOT NULL,            -- of the URL: upstreams of one host are one worker's
    role          text NOT NULL CHECK (role IN ('home', 'bootstrap', 'listed')),
    refused       boolean NOT NULL DEFAULT false,       -- never dialed; last_detail says why
    epoch         bigint NOT NULL DEFAULT 0,
    owner         text COLLATE "C",                     -- worker.name and worker.incarnation
    owner_inc     text,
    moved_at_ms   bigint,                               -- since when the owner is told to hang up: its place is elsewhere
    link          text NOT NULL DEFAULT 'down' CHECK (link IN ('down', 'up')),
    opened        boolean NOT NULL DEFAULT false,
    caught_up     boolean NOT NULL DEFAULT false,
    resume_since  bigint,                               -- NULL: fresh
    up_since      bigint,
    last_up       bigint,                               -- written when a link ends
    behind        bigint,
    last_sequence bigint NOT NULL DEFAULT -1,           -- of this epoch; which of the 64 below it were applied
    seen_below    bigint NOT NULL DEFAULT 0,
    layout        bigint NOT NULL DEFAULT 0,            -- counts the changes of chunks while the link is up
    layout_taken  bigint NOT NULL DEFAULT 0,            -- the layout whose live filters the session has taken
    dial_at       bigint NOT NULL,
    failures      bigint NOT NULL DEFAULT 0,
    failing_since bigint,
    last_class    text,
    last_detail   text,
    learned       text NOT NULL DEFAULT '{}',           -- no jsonb: an upstream's words may hold U+0000
    refresh_at    bigint,
    ask_at        bigint,
    ask_failures  bigint NOT NULL DEFAULT 0,
    incomplete    text,
    empty_since   bigint,
    events        bigint NOT NULL DEFAULT 0,
    fresh         bigint NOT NULL DEFAULT 0,
    rounds        bigint NOT NULL DEFAULT 0,
    bytes_in      bigint NOT NULL DEFAULT 0,
    bytes_out     bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX relay_home ON relay (role) WHERE role = 'home';
CREATE INDEX relay_owner ON relay (owner);

-- Bytes, not text: an identifier may hold U+0000, and its order is that of its bytes.
CREATE TABLE item (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind     smallint NOT NULL,                         -- 0 repo, 1 root
    key      bytea NOT NULL,                            -- a repository address, or an event id in hex
    key_hash bytea NOT NULL UNIQUE                      -- SHA-256
);

-- event NULL: not announced (deleted, or known only as what a root tags).
CREATE TABLE repo (
    item          bigint PRIMARY KEY,
    event         bytea,
    created_at    bigint,
    removed_until bigint,
    maintainers   text NOT NULL,                        -- keys in hex, a JSON list
    identifier    bytea NOT NULL                        -- SHA-256 of what stands behind the author in its address
);
CREATE INDEX repo_identifier ON repo (identifier) WHERE event IS NOT NULL;

CREATE TABLE repo_relay (
    repo  bigint NOT NULL,
    relay bigint NOT NULL,
    PRIMARY KEY (repo, relay)
);
CREATE INDEX repo_relay_relay ON repo_relay (relay);

CREATE TABLE root (
    item       bigint PRIMARY KEY,
    kind       integer NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE root_repo (
    root bigint NOT NULL,
    repo bigint NOT NULL,
    PRIMARY KEY (root, repo)
);
CREATE INDEX root_repo_repo ON root_repo (repo);

-- A refresh writes every row of an upstream anew: leave room, and clean up early.
CREATE TABLE coverage (
    relay        bigint NOT NULL,
    item         bigint NOT NULL,
    wanted_at    bigint NOT NULL,
    confirmed_at bigint,
    chunk        bigint,
    batch        bigint,
    epoch        bigint,
    kind         smallint NOT NULL,                     -- item.kind, so that one index counts and lists
    status       smallint NOT NULL,                     -- 0 wanted, 1 pending, 2 confirmed
    method       text,
    PRIMARY KEY (relay, item)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX coverage_state ON coverage (relay, status, kind, chunk, item);
CREATE INDEX coverage_item ON coverage (item);
CREATE INDEX coverage_pending ON coverage (batch) WHERE status = 1;

CREATE TABLE batch (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relay      bigint NOT NULL,
    epoch      bigint NOT NULL,
    method     text NOT NULL,
    items      bigint NOT NULL,
    state      text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'complete', 'incomplete', 'released', 'overdue')),
    outcome    text,                                    -- why it is incomplete
    deadline   bigint NOT NULL,
    started_at bigint NOT NULL,
    ended_at   bigint,
    events     bigint NOT NULL DEFAULT 0,
    fresh      bigint NOT NULL DEFAULT 0,
    rounds     bigint NOT NULL DEFAULT 0,
    bytes_in   bigint NOT NULL DEFAULT 0,
    bytes_out  bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);
CREATE INDEX batch_open ON batch (relay) WHERE ended_at IS NULL;
CREATE INDEX batch_ended ON batch (relay, ended_at);

CREATE TABLE ref (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tag        smallint NOT NULL,                       -- 0 a, 1 A, 2 e, 3 E, 4 q: one filter names one tag
    value_hash bytea NOT NULL,                          -- SHA-256: a bounded key for any text
    UNIQUE (tag, value_hash)
);

CREATE TABLE event (
    id         bytea PRIMARY KEY CHECK (octet_length(id) = 32),
    created_at bigint NOT NULL,
    seen_at    bigint NOT NULL,
    upstream   bigint NOT NULL,
    batch      bigint,
    kind       integer NOT NULL,
    outcome    smallint NOT NULL,
    reason     text
);
CREATE INDEX event_kind ON event (kind, created_at, id);
CREATE INDEX event_held ON event (seen_at) WHERE outcome = 3;
CREATE INDEX event_declined ON event (outcome) WHERE outcome IN (15, 16);
-- Forgotten: not known, in no set, but its references stay.
CREATE INDEX event_forgotten ON event (id) WHERE outcome = 99;

CREATE TABLE event_ref (
    ref        bigint NOT NULL,
    created_at bigint NOT NULL,
    id         bytea NOT NULL,
    PRIMARY KEY (ref, created_at, id)
);

-- Status asks for these sums often; counting a million rows each time is no answer. A row for each upstream,
-- so that the reports of two upstreams do not wait for each other.
CREATE TABLE outcome_count (
    upstream bigint NOT NULL,
    outcome  smallint NOT NULL,
    n        bigint NOT NULL,
    PRIMARY KEY (upstream, outcome)
) WITH (fillfactor = 70);

CREATE FUNCTION count_new_events() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outcome_count AS c (upstream, outcome, n)
    SELECT upstream, outcome, count(*) FROM new_events GROUP BY upstream, outcome ORDER BY upstream, outcome
    ON CONFLICT (upstream, outcome) DO UPDATE SET n = c.n + excluded.n;
    RETURN NULL;
END $$;
CREATE TRIGGER event_counted AFTER INSERT ON event
    REFERENCING NEW TABLE AS new_events FOR EACH STATEMENT EXECUTE FUNCTION count_new_events();

CREATE FUNCTION count_changed_events() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outcome_count AS c (upstream, outcome, n)
    SELECT upstream, outcome, sum(n) FROM (
        SELECT upstream, outcome, 1 AS n FROM new_events UNION ALL SELECT upstream, outcome, -1 FROM old_events
    ) changed GROUP BY upstream, outcome HAVING sum(n) <> 0 ORDER BY upstream, outcome
    ON CONFLICT (upstream, outcome) DO UPDATE SET n = c.n + excluded.n;
    RETURN NULL;
END $$;
CREATE TRIGGER event_recounted AFTER UPDATE ON event
    REFERENCING OLD TABLE AS old_events NEW TABLE AS new_events FOR EACH STATEMENT EXECUTE FUNCTION count_changed_events();

-- Whose turn it is to plan an upstream. Not logged: after a crash of the server nobody is at it.
CREATE UNLOGGED TABLE turn (
    relay    bigint PRIMARY KEY,
    planner  text NOT NULL,
    until_ms bigint NOT NULL
) WITH (fillfactor = 50);

-- Events that home refuses until something arrives. What is due is given out to be offered again.
CREATE TABLE waiting (
    id      bytea PRIMARY KEY,
    json    text NOT NULL,
    held_at bigint NOT NULL,
    due     boolean NOT NULL DEFAULT false,             -- something has arrived since it was given out last
    taken_until bigint                                  -- until when who was given it says what became of it
);
CREATE INDEX waiting_due ON waiting (id) WHERE due OR taken_until IS NOT NULL;
CREATE INDEX waiting_held ON waiting (held_at, id);

CREATE TABLE waiting_for (
    parent bytea NOT NULL,                              -- SHA-256 of a key of engine::parents
    id     bytea NOT NULL,
    PRIMARY KEY (parent, id)
);
CREATE INDEX waiting_for_id ON waiting_for (id);

-- What was let in when the ledger's refusals were written.
CREATE TABLE policy (
    one         integer PRIMARY KEY CHECK (one = 1),
    fingerprint text NOT NULL
);
