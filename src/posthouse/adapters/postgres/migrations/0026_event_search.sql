-- Events by their key and by what they follow from, newest first. Partial: an event with neither pays nothing.

CREATE INDEX event_by_key ON event (key, id) WHERE key IS NOT NULL;
CREATE INDEX event_by_cause ON event (cause, id) WHERE cause IS NOT NULL;
