-- What an endpoint is configured with keeps the order in which it was written: that of the fields of a body is what its target
-- gets. `jsonb` sorts the names of an object.
ALTER TABLE endpoint ALTER COLUMN config TYPE json USING config::json;
ALTER TABLE endpoint_revision ALTER COLUMN config TYPE json USING config::json;
