-- A look at an upstream asks for these sums; counting a million items each time would make it cost what exists.
CREATE TABLE coverage_sum (
    relay  INTEGER NOT NULL,
    kind   INTEGER NOT NULL,
    status INTEGER NOT NULL,
    n      INTEGER NOT NULL,
    placed INTEGER NOT NULL,                            -- those that have a chunk
    PRIMARY KEY (relay, kind, status)
) WITHOUT ROWID;

-- Chunks in use, with their items of any status.
CREATE TABLE coverage_chunk (
    relay  INTEGER NOT NULL,
    kind   INTEGER NOT NULL,
    chunk  INTEGER NOT NULL,
    n      INTEGER NOT NULL,
    PRIMARY KEY (relay, kind, chunk)
) WITHOUT ROWID;
CREATE INDEX coverage_chunk_largest ON coverage_chunk (relay, kind, n);

INSERT INTO coverage_sum SELECT relay, kind, status, count(*), count(chunk) FROM coverage GROUP BY relay, kind, status;
INSERT INTO coverage_chunk SELECT relay, kind, chunk, count(*) FROM coverage WHERE chunk IS NOT NULL GROUP BY relay, kind, chunk;

CREATE TRIGGER coverage_counted AFTER INSERT ON coverage BEGIN
    INSERT INTO coverage_sum (relay, kind, status, n, placed) VALUES (new.relay, new.kind, new.status, 1, new.chunk IS NOT NULL)
    ON CONFLICT (relay, kind, status) DO UPDATE SET n = n + 1, placed = placed + excluded.placed;
END;
CREATE TRIGGER coverage_placed_new AFTER INSERT ON coverage WHEN new.chunk IS NOT NULL BEGIN
    INSERT INTO coverage_chunk (relay, kind, chunk, n) VALUES (new.relay, new.kind, new.chunk, 1)
    ON CONFLICT (relay, kind, chunk) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER coverage_recounted AFTER UPDATE OF status, chunk ON coverage
WHEN old.status <> new.status OR (old.chunk IS NULL) <> (new.chunk IS NULL) BEGIN
    UPDATE coverage_sum SET n = n - 1, placed = placed - (old.chunk IS NOT NULL)
    WHERE relay = old.relay AND kind = old.kind AND status = old.status;
    INSERT INTO coverage_sum (relay, kind, status, n, placed) VALUES (new.relay, new.kind, new.status, 1, new.chunk IS NOT NULL)
    ON CONFLICT (relay, kind, status) DO UPDATE SET n = n + 1, placed = placed + excluded.placed;
END;
CREATE TRIGGER coverage_unplaced AFTER UPDATE OF chunk ON coverage WHEN old.chunk IS NOT NULL AND old.chunk IS NOT new.chunk BEGIN
    UPDATE coverage_chunk SET n = n - 1 WHERE relay = old.relay AND kind = old.kind AND chunk = old.chunk;
    DELETE FROM coverage_chunk WHERE relay = old.relay AND kind = old.kind AND chunk = old.chunk AND n = 0;
END;
CREATE TRIGGER coverage_placed AFTER UPDATE OF chunk ON coverage WHEN new.chunk IS NOT NULL AND old.chunk IS NOT new.chunk BEGIN
    INSERT INTO coverage_chunk (relay, kind, chunk, n) VALUES (new.relay, new.kind, new.chunk, 1)
    ON CONFLICT (relay, kind, chunk) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER coverage_uncounted AFTER DELETE ON coverage BEGIN
    UPDATE coverage_sum SET n = n - 1, placed = placed - (old.chunk IS NOT NULL)
    WHERE relay = old.relay AND kind = old.kind AND status = old.status;
END;
CREATE TRIGGER coverage_unplaced_gone AFTER DELETE ON coverage WHEN old.chunk IS NOT NULL BEGIN
    UPDATE coverage_chunk SET n = n - 1 WHERE relay = old.relay AND kind = old.kind AND chunk = old.chunk;
    DELETE FROM coverage_chunk WHERE relay = old.relay AND kind = old.kind AND chunk = old.chunk AND n = 0;
END;
