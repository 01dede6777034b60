-- S9: what is still to be compared since a quick reconnect. NULL: nothing. The part that is next: 0 is layer 1, every other
-- one the chunk below its number.
ALTER TABLE relay ADD COLUMN audit_at bigint;
ALTER TABLE relay ADD COLUMN audit_part bigint NOT NULL DEFAULT 0;
