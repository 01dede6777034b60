-- What stands beside repos and roots in targets: who takes part in a repo (2), and ids that its events name (3).
CREATE TABLE member (
    item INTEGER NOT NULL,
    repo INTEGER NOT NULL,
    kind INTEGER NOT NULL,                         -- item.kind
    PRIMARY KEY (item, repo)
) STRICT, WITHOUT ROWID;
CREATE INDEX member_repo ON member (repo, kind);

-- What is gone from home for good, by its author's word.
CREATE TABLE tombstone (
    key   BLOB PRIMARY KEY,                        -- SHA-256 of a key of model::Tombstone
    until INTEGER                                  -- NULL: whenever it was made
) STRICT, WITHOUT ROWID;

-- Ids that events at home name and that home lacks.
CREATE TABLE named (
    id      BLOB NOT NULL,
    repo    INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    item    INTEGER,                               -- once it is asked for
    PRIMARY KEY (id, repo)
) STRICT, WITHOUT ROWID;
CREATE INDEX named_new ON named (seen_at) WHERE item IS NULL;
CREATE INDEX named_repo ON named (repo);

ALTER TABLE repo ADD COLUMN says_private INTEGER NOT NULL DEFAULT 0;
-- 1: it, or one of those that it names as maintainers, and so on, says so (GRASP-08).
ALTER TABLE repo ADD COLUMN private INTEGER NOT NULL DEFAULT 0;
CREATE INDEX repo_private ON repo (item) WHERE private = 1;
-- 1: the operator shares private repositories with it.
ALTER TABLE relay ADD COLUMN private_peer INTEGER NOT NULL DEFAULT 0;
