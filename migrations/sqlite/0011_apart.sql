-- What is known and not at home, forgotten (99) or not: few, so that a set leaves them out without a look at every event.
CREATE INDEX event_apart ON event (id, outcome) WHERE outcome NOT IN (0, 1);
DROP INDEX event_forgotten;

-- New events are counted once for each report, by who writes them.
DROP TRIGGER event_counted;
