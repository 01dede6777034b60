-- How often the link of an upstream was ended for its conduct, and when last: the ban grows with each time and heals with days.
ALTER TABLE relay ADD COLUMN strikes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE relay ADD COLUMN struck_at INTEGER;

-- Roots count for the budget of whoever opened them (an item), on repos of others; NULL: they count for nobody's. beyond = 1: it is
-- over the budget, and no target by this repo.
ALTER TABLE root_repo ADD COLUMN author INTEGER;
ALTER TABLE root_repo ADD COLUMN beyond INTEGER NOT NULL DEFAULT 0;
CREATE INDEX root_repo_author ON root_repo (repo, author, beyond) WHERE author IS NOT NULL;
