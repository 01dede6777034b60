-- How often the link of an upstream was ended for its conduct, and when last: the ban grows with each time and heals with days.
ALTER TABLE relay ADD COLUMN strikes bigint NOT NULL DEFAULT 0;
ALTER TABLE relay ADD COLUMN struck_at bigint;

-- Roots count for the budget of whoever opened them (an item), on repos of others; NULL: they count for nobody's. beyond: it is over
-- the budget, and no target by this repo.
ALTER TABLE root_repo ADD COLUMN author bigint;
ALTER TABLE root_repo ADD COLUMN beyond boolean NOT NULL DEFAULT false;
CREATE INDEX root_repo_author ON root_repo (repo, author, beyond) WHERE author IS NOT NULL;
