-- One upstream, one announced repo with one issue, all confirmed; one batch that ended and one that a dead process left; an event that waits.
INSERT INTO worker VALUES ('connector', 'old', 1699999999000, 1699999993);
INSERT INTO relay (id, url, role, dial_at) VALUES (1, 'wss://home.example/', 'home', 1699990000);
INSERT INTO relay (id, url, role, epoch, owner, owner_inc, link, opened, caught_up, up_since, dial_at, learned, failures)
VALUES (2, 'wss://relay01.example/', 'listed', 7, 'connector', 'old', 'up', 1, 1, 1699990000, 1699990000, '{"page_cap":500}', 0);
INSERT INTO item VALUES (1, 0, '30617:aa4fc8665f5696e33db7e1a572e3b0f5b3d615837b0f362dcb1c8068b098c7b4:repo 001'), (2, 1, '0000000000000001070707070707070707070707070707070707070707070707');
INSERT INTO repo (item, event, created_at, maintainers, identifier)
VALUES (1, x'00000000000f462d070707070707070707070707070707070707070707070707', 1699000000, '[]', x'fc9b40703848d582363ae187c679481fba85a528b28bf5b9ea077a80230c1b63');
INSERT INTO repo_relay VALUES (1, 2);
INSERT INTO root VALUES (2, 1621, 1699000001);
INSERT INTO root_repo (root, repo) VALUES (2, 1);
INSERT INTO batch (id, relay, epoch, method, items, state, deadline, started_at, ended_at)
VALUES (1, 2, 7, 'negentropy', 1, 'complete', 1699990100, 1699990000, 1699990050), (2, 2, 7, 'negentropy', 1, 'open', 1699990100, 1699990000, NULL);
INSERT INTO coverage (relay, item, kind, status, chunk, batch, epoch, wanted_at, confirmed_at)
VALUES (1, 1, 0, 2, 0, NULL, NULL, 1699990000, 1699990050), (1, 2, 1, 2, 0, NULL, NULL, 1699990000, 1699990050),
       (2, 1, 0, 2, 0, NULL, NULL, 1699990000, 1699990050), (2, 2, 1, 1, 0, 2, 7, 1699990000, NULL);
INSERT INTO ref (id, tag, value_hash) VALUES (1, 0, x'6e31e23f3953353a5fcddc8ff830cafdee8717313763e5d58fc1f3b8a62a65c3');
INSERT INTO event (id, created_at, kind, outcome, upstream, batch, seen_at) VALUES
    (x'00000000000f462d070707070707070707070707070707070707070707070707', 1699000000, 30617, 0, 1, NULL, 1699990001), (x'0000000000000001070707070707070707070707070707070707070707070707', 1699000001, 1621, 0, 2, 1, 1699990002);
INSERT INTO event_ref VALUES (1, 1699000001, x'0000000000000001070707070707070707070707070707070707070707070707');
INSERT INTO waiting (id, json, held_at) VALUES (x'0000000000000002070707070707070707070707070707070707070707070707', '{}', 1699990003);
INSERT INTO waiting_for VALUES (x'3fc9b689459d738f8c88a3a48aa9e33542016b7a4052e001aaa536fca74813cb', x'0000000000000002070707070707070707070707070707070707070707070707');
INSERT INTO policy (one, fingerprint) VALUES (1, 'of that time');
