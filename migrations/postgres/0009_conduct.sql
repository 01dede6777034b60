-- How often the link of an upstream was ended for its conduct, and when last: the ban grows with each time and heals with days.
ALTER TABLE relay ADD COLUMN strikes bigint NOT NULL DEFAULT 0;
ALTER TABLE relay ADD COLUMN struck_at bigint;
