-- By which terms of home (NIP-11) the ledger's refusals were made.
ALTER TABLE policy ADD COLUMN home_terms TEXT;

-- What home's terms have kept out: 9 future, 10 too old, 11 too large, 16 declined, 17 expiring.
CREATE INDEX event_home_terms ON event (outcome, created_at) WHERE outcome IN (9, 10, 11, 16, 17);
