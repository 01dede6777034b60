-- How an event came the first time (0 live, 1 page, 2 negentropy, 3 kept), and when: NULL in rows that are older than these columns.
ALTER TABLE event ADD COLUMN via smallint;
ALTER TABLE event ADD COLUMN first_at bigint;

-- What is referred to, to be shown to people: NULL in rows that are older than this column.
ALTER TABLE ref ADD COLUMN value bytea;

-- Where the announcement says that git data may be had: a JSON list.
ALTER TABLE repo ADD COLUMN clone_urls text NOT NULL DEFAULT '[]';

-- How a worker's writes to home go, as its last renewal said.
ALTER TABLE worker ADD COLUMN writes_waiting bigint NOT NULL DEFAULT 0;
ALTER TABLE worker ADD COLUMN writes_per_minute bigint NOT NULL DEFAULT 0;
ALTER TABLE worker ADD COLUMN writes_limited boolean NOT NULL DEFAULT false;
