UPDATE event SET via = 2, first_at = 1699990000 WHERE upstream = 2;
UPDATE ref SET value = CAST('30617:aa4fc8665f5696e33db7e1a572e3b0f5b3d615837b0f362dcb1c8068b098c7b4:repo 001' AS BLOB);
UPDATE repo SET clone_urls = '["https://git.example/repo.git"]';
UPDATE worker SET writes_waiting = 3, writes_per_minute = 4, writes_limited = 1;
