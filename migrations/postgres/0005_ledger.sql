-- What stands beside repos and roots in targets: who takes part in a repo (2), and ids that its events name (3).
CREATE TABLE member (
    item bigint NOT NULL,
    repo bigint NOT NULL,
    kind smallint NOT NULL,                        -- item.kind
    PRIMARY KEY (item, repo)
);
CREATE INDEX member_repo ON member (repo, kind);

-- What is gone from home for good, by its author's word.
CREATE TABLE tombstone (
    key   bytea PRIMARY KEY,                       -- SHA-256 of a key of model::Tombstone
    until bigint                                   -- NULL: whenever it was made
);

-- Ids that events at home name and that home lacks.
CREATE TABLE named (
    id      bytea NOT NULL,
    repo    bigint NOT NULL,
    seen_at bigint NOT NULL,
    item    bigint,                                -- once it is asked for
    PRIMARY KEY (id, repo)
);
CREATE INDEX named_new ON named (seen_at) WHERE item IS NULL;
CREATE INDEX named_repo ON named (repo);

ALTER TABLE repo ADD COLUMN says_private boolean NOT NULL DEFAULT false;
-- It, or one of those that it names as maintainers, and so on, says so (GRASP-08).
ALTER TABLE repo ADD COLUMN private boolean NOT NULL DEFAULT false;
CREATE INDEX repo_private ON repo (item) WHERE private;
-- The operator shares private repositories with it.
ALTER TABLE relay ADD COLUMN private_peer boolean NOT NULL DEFAULT false;
