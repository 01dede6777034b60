//! Whether the sums of an upstream's coverage are what counting its rows would give, whatever is done to the rows: the same moves in
//! both databases.

/// Each is one statement on `coverage`.
pub(crate) const MOVES: [&str; 12] = [
    "INSERT INTO coverage (relay, item, kind, status, wanted_at) VALUES (1, 1, 0, 0, 5), (1, 2, 0, 0, 5), (1, 3, 1, 0, 5), (2, 1, 0, 0, 5)",
    "INSERT INTO coverage (relay, item, kind, status, wanted_at) VALUES (1, 1, 0, 0, 6), (1, 4, 2, 0, 6) ON CONFLICT DO NOTHING",
    "UPDATE coverage SET status = 1, batch = 7, chunk = 0 WHERE relay = 1 AND item IN (1, 2)",
    "UPDATE coverage SET status = 1, batch = 8, chunk = 1 WHERE relay = 1 AND item = 3",
    "UPDATE coverage SET status = 2, confirmed_at = 9 WHERE status = 1",
    "UPDATE coverage SET wanted_at = 10 WHERE relay = 1",
    "UPDATE coverage SET chunk = item + 3 WHERE relay = 1 AND kind < 2",
    "UPDATE coverage SET chunk = 4 WHERE relay = 1 AND item = 2",
    "UPDATE coverage SET status = 0, batch = NULL WHERE relay = 1 AND status <> 0",
    "UPDATE coverage SET chunk = NULL WHERE relay = 1 AND status = 0 AND item <> 3",
    "DELETE FROM coverage WHERE item = 1",
    "DELETE FROM coverage",
];

/// Rows in which the sums and what is counted differ; the same in both databases.
pub(crate) const DIFFERENCES: [&str; 4] = [
    "SELECT count(*) FROM (SELECT relay, kind, status, count(*), count(chunk) FROM coverage GROUP BY relay, kind, status
        EXCEPT SELECT relay, kind, status, n, placed FROM coverage_sum) d",
    "SELECT count(*) FROM (SELECT relay, kind, status, n, placed FROM coverage_sum WHERE n <> 0 OR placed <> 0
        EXCEPT SELECT relay, kind, status, count(*), count(chunk) FROM coverage GROUP BY relay, kind, status) d",
    "SELECT count(*) FROM (SELECT relay, kind, chunk, count(*) FROM coverage WHERE chunk IS NOT NULL GROUP BY relay, kind, chunk
        EXCEPT SELECT relay, kind, chunk, n FROM coverage_chunk) d",
    "SELECT count(*) FROM (SELECT relay, kind, chunk, n FROM coverage_chunk
        EXCEPT SELECT relay, kind, chunk, count(*) FROM coverage WHERE chunk IS NOT NULL GROUP BY relay, kind, chunk) d",
];
