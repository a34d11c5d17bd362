-- What an event type's schema was before it changed, and what each of its versions was shown with.

CREATE TABLE event_type_version (
    name        text NOT NULL REFERENCES event_type (name),
    version     int NOT NULL,
    schema      jsonb,
    examples    jsonb NOT NULL DEFAULT '[]',
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (name, version)
);

-- Of those that changed before this, only the version that holds now is known, and when it was last changed at all.
INSERT INTO event_type_version (name, version, schema, examples, created_at)
SELECT name, version, schema, examples, CASE WHEN version = 1 THEN created_at ELSE updated_at END FROM event_type;
