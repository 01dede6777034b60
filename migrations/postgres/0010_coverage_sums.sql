-- A look at an upstream asks for these sums; counting a million items each time would make it cost what exists. Coverage is written
-- under the lock of its upstream's row, so nobody waits for these rows who does not wait for that one.
CREATE TABLE coverage_sum (
    relay  bigint NOT NULL,
    kind   smallint NOT NULL,
    status smallint NOT NULL,
    n      bigint NOT NULL,
    placed bigint NOT NULL,                             -- those that have a chunk
    PRIMARY KEY (relay, kind, status)
) WITH (fillfactor = 50);

-- Chunks in use, with their items of any status.
CREATE TABLE coverage_chunk (
    relay  bigint NOT NULL,
    kind   smallint NOT NULL,
    chunk  bigint NOT NULL,
    n      bigint NOT NULL,
    PRIMARY KEY (relay, kind, chunk)
) WITH (fillfactor = 70);
CREATE INDEX coverage_chunk_largest ON coverage_chunk (relay, kind, n);

INSERT INTO coverage_sum SELECT relay, kind, status, count(*), count(chunk) FROM coverage GROUP BY relay, kind, status;
INSERT INTO coverage_chunk SELECT relay, kind, chunk, count(*) FROM coverage WHERE chunk IS NOT NULL GROUP BY relay, kind, chunk;

CREATE FUNCTION count_new_coverage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO coverage_sum AS c (relay, kind, status, n, placed)
    SELECT relay, kind, status, count(*), count(chunk) FROM new_items GROUP BY relay, kind, status ORDER BY relay, kind, status
    ON CONFLICT (relay, kind, status) DO UPDATE SET n = c.n + excluded.n, placed = c.placed + excluded.placed;
    INSERT INTO coverage_chunk AS c (relay, kind, chunk, n)
    SELECT relay, kind, chunk, count(*) FROM new_items WHERE chunk IS NOT NULL
    GROUP BY relay, kind, chunk ORDER BY relay, kind, chunk
    ON CONFLICT (relay, kind, chunk) DO UPDATE SET n = c.n + excluded.n;
    RETURN NULL;
END $$;
CREATE TRIGGER coverage_counted AFTER INSERT ON coverage
    REFERENCING NEW TABLE AS new_items FOR EACH STATEMENT EXECUTE FUNCTION count_new_coverage();

CREATE FUNCTION count_changed_coverage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO coverage_sum AS c (relay, kind, status, n, placed)
    SELECT relay, kind, status, sum(n), sum(placed) FROM (
        SELECT relay, kind, status, count(*) AS n, count(chunk) AS placed FROM new_items GROUP BY relay, kind, status
        UNION ALL SELECT relay, kind, status, -count(*), -count(chunk) FROM old_items GROUP BY relay, kind, status
    ) changed GROUP BY relay, kind, status HAVING sum(n) <> 0 OR sum(placed) <> 0 ORDER BY relay, kind, status
    ON CONFLICT (relay, kind, status) DO UPDATE SET n = c.n + excluded.n, placed = c.placed + excluded.placed;
    WITH changed AS (
        SELECT relay, kind, chunk, sum(n) AS n FROM (
            SELECT relay, kind, chunk, count(*) AS n FROM new_items WHERE chunk IS NOT NULL GROUP BY relay, kind, chunk
            UNION ALL SELECT relay, kind, chunk, -count(*) FROM old_items WHERE chunk IS NOT NULL GROUP BY relay, kind, chunk
        ) both_sides GROUP BY relay, kind, chunk HAVING sum(n) <> 0)
    INSERT INTO coverage_chunk AS c (relay, kind, chunk, n)
    SELECT relay, kind, chunk, n FROM changed ORDER BY relay, kind, chunk
    ON CONFLICT (relay, kind, chunk) DO UPDATE SET n = c.n + excluded.n;
    DELETE FROM coverage_chunk c USING (SELECT DISTINCT relay, kind, chunk FROM old_items WHERE chunk IS NOT NULL) o
    WHERE c.relay = o.relay AND c.kind = o.kind AND c.chunk = o.chunk AND c.n = 0;
    RETURN NULL;
END $$;
CREATE TRIGGER coverage_recounted AFTER UPDATE ON coverage
    REFERENCING OLD TABLE AS old_items NEW TABLE AS new_items FOR EACH STATEMENT EXECUTE FUNCTION count_changed_coverage();

CREATE FUNCTION count_gone_coverage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE coverage_sum c SET n = c.n - g.n, placed = c.placed - g.placed FROM (
        SELECT relay, kind, status, count(*) AS n, count(chunk) AS placed FROM old_items GROUP BY relay, kind, status) g
    WHERE c.relay = g.relay AND c.kind = g.kind AND c.status = g.status;
    UPDATE coverage_chunk c SET n = c.n - g.n FROM (
        SELECT relay, kind, chunk, count(*) AS n FROM old_items WHERE chunk IS NOT NULL GROUP BY relay, kind, chunk) g
    WHERE c.relay = g.relay AND c.kind = g.kind AND c.chunk = g.chunk;
    DELETE FROM coverage_chunk c USING (SELECT DISTINCT relay, kind, chunk FROM old_items WHERE chunk IS NOT NULL) o
    WHERE c.relay = o.relay AND c.kind = o.kind AND c.chunk = o.chunk AND c.n = 0;
    RETURN NULL;
END $$;
CREATE TRIGGER coverage_uncounted AFTER DELETE ON coverage
    REFERENCING OLD TABLE AS old_items FOR EACH STATEMENT EXECUTE FUNCTION count_gone_coverage();
