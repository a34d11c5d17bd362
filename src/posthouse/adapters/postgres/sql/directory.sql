-- The configuration. Rows are locked in one order everywhere: endpoints, then the counter of their partition, then the app.

-- name: installation
SELECT id, partitions FROM installation

-- name: audit
INSERT INTO audit (actor, action, object, detail) VALUES ($1, $2, $3, $4::jsonb)

-- name: shared_version
SELECT version FROM config_head WHERE partition = -1

-- name: bump_shared
-- Event types, keys or quotas change: what all partitions share. Holds others off until the end of the transaction.
UPDATE config_head SET version = version + 1 WHERE partition = -1

-- name: bump_app
SELECT bump_config($1)

-- Event types --------------------------------------------------------------------------------------------------------

-- name: event_types
SELECT name, description, schema, examples, version, extract(epoch FROM created_at)::float8 AS created_at,
       extract(epoch FROM updated_at)::float8 AS updated_at, extract(epoch FROM archived_at)::float8 AS archived_at
  FROM event_type WHERE name > $1 AND ($3 OR archived_at IS NULL) ORDER BY name LIMIT $2

-- name: event_type
SELECT name, description, schema, examples, version, extract(epoch FROM created_at)::float8 AS created_at,
       extract(epoch FROM updated_at)::float8 AS updated_at, extract(epoch FROM archived_at)::float8 AS archived_at
  FROM event_type WHERE name = $1

-- name: event_type_locked
SELECT name, description, schema, examples, version, extract(epoch FROM created_at)::float8 AS created_at,
       extract(epoch FROM updated_at)::float8 AS updated_at, extract(epoch FROM archived_at)::float8 AS archived_at
  FROM event_type WHERE name = $1 FOR NO KEY UPDATE

-- name: event_type_entry
SELECT schema, archived_at IS NOT NULL AS archived FROM event_type WHERE name = $1

-- name: create_event_type
INSERT INTO event_type (name, description, schema, examples) VALUES ($1, $2, $3::jsonb, $4::jsonb)
    ON CONFLICT DO NOTHING RETURNING name

-- name: update_event_type
UPDATE event_type SET description = $2, schema = $3::jsonb, examples = $4::jsonb, version = $5,
       archived_at = to_timestamp($6), updated_at = clock_timestamp()
 WHERE name = $1

-- What intake asks ---------------------------------------------------------------------------------------------------

-- name: find_app
SELECT id, partition, uid, quotas FROM app WHERE (id = $1 OR uid = $2) AND deleted_at IS NULL
