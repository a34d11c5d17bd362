-- The catalogue of event types. An app sees those that are public, and those that a live grant of its covers; an
-- administrator sees all of them.

-- name: event_types
-- With $5 all of them, else those that the app $6 sees (NULL: that everybody does). $8: in the name or the description, in lower
-- case; of the catalogue, which people write, all may be looked at.
SELECT y.name, y.description, y.schema, y.examples, y.visibility, y.redact, y.version,
       extract(epoch FROM y.created_at)::float8 AS created_at, extract(epoch FROM y.updated_at)::float8 AS updated_at,
       extract(epoch FROM y.archived_at)::float8 AS archived_at
  FROM event_type y
 WHERE y.name > $1 AND ($3 OR y.archived_at IS NULL) AND ($4::text IS NULL OR y.visibility = $4)
   AND ($5 OR y.visibility = 'public' OR (y.visibility = 'granted' AND EXISTS (
           SELECT 1 FROM type_patterns(y.name) t JOIN grant_entry g ON g.type = t AND g.app_id = $6::uuid
            WHERE g.expires_at IS NULL OR g.expires_at > to_timestamp($7))))
   AND ($8::text IS NULL OR position($8 IN lower(y.name)) > 0 OR position($8 IN lower(y.description)) > 0)
 ORDER BY y.name LIMIT $2

-- name: visible_names
-- Those that are not archived, as `event_types` chooses them.
SELECT y.name
  FROM event_type y
 WHERE y.archived_at IS NULL
   AND ($2 OR y.visibility = 'public' OR (y.visibility = 'granted' AND EXISTS (
           SELECT 1 FROM type_patterns(y.name) t JOIN grant_entry g ON g.type = t AND g.app_id = $3::uuid
            WHERE g.expires_at IS NULL OR g.expires_at > to_timestamp($4))))
 ORDER BY y.name LIMIT $1

-- name: described
-- Those of the names that there are, in their order, as far as schemas and examples come to no more than $2 bytes together.
SELECT m.* FROM (
    SELECT y.name, y.description, y.schema, y.examples, y.visibility, y.redact, y.version,
           extract(epoch FROM y.created_at)::float8 AS created_at, extract(epoch FROM y.updated_at)::float8 AS updated_at,
           extract(epoch FROM y.archived_at)::float8 AS archived_at,
           sum(coalesce(octet_length(y.schema::text), 0) + octet_length(y.examples::text)) OVER (ORDER BY y.name) AS bytes
      FROM event_type y WHERE y.name = ANY ($1::text[])
) m
 WHERE m.bytes <= $2 ORDER BY m.name

-- name: event_type
SELECT name, description, schema, examples, visibility, redact, version, extract(epoch FROM created_at)::float8 AS created_at,
       extract(epoch FROM updated_at)::float8 AS updated_at, extract(epoch FROM archived_at)::float8 AS archived_at
  FROM event_type WHERE name = $1

-- name: redactions
-- Of those of the names whose payloads are masked.
SELECT name, redact FROM event_type WHERE name = ANY ($1::text[]) AND redact <> '{}'

-- name: event_type_locked
SELECT name, description, schema, examples, visibility, redact, version, extract(epoch FROM created_at)::float8 AS created_at,
       extract(epoch FROM updated_at)::float8 AS updated_at, extract(epoch FROM archived_at)::float8 AS archived_at
  FROM event_type WHERE name = $1 FOR NO KEY UPDATE

-- name: covered_type
-- Whether some live grant of the app covers the type, about anybody at all.
SELECT EXISTS (
    SELECT 1 FROM type_patterns($2) t JOIN grant_entry g ON g.type = t AND g.app_id = $1
     WHERE g.expires_at IS NULL OR g.expires_at > to_timestamp($3)
)

-- name: create_event_type
INSERT INTO event_type (name, description, schema, examples, visibility, redact) VALUES ($1, $2, $3::jsonb, $4::jsonb, $5, $6)
    ON CONFLICT DO NOTHING RETURNING name

-- name: update_event_type
UPDATE event_type SET description = $2, schema = $3::jsonb, examples = $4::jsonb, version = $5,
       archived_at = to_timestamp($6), visibility = $7, redact = $8, updated_at = clock_timestamp()
 WHERE name = $1

-- name: keep_version
-- What the version that holds now is: its schema for good, its examples as they are.
INSERT INTO event_type_version (name, version, schema, examples, created_at)
SELECT name, version, schema, examples, updated_at FROM event_type WHERE name = $1
    ON CONFLICT (name, version) DO UPDATE SET examples = EXCLUDED.examples

-- name: forget_versions
-- But for those that an endpoint pins. One that pins a version at this very moment may come too late: its payloads go as
-- they are.
DELETE FROM event_type_version v
 WHERE v.name = $1 AND v.version <= $2
   AND v.version <> ALL (ARRAY(
       SELECT (e.config -> 'payload_versions' ->> $1)::int FROM endpoint e
        WHERE e.deleted_at IS NULL AND (e.config -> 'payload_versions')::jsonb ? $1))

-- name: versions
SELECT name, version, schema, examples, extract(epoch FROM created_at)::float8 AS created_at
  FROM event_type_version WHERE name = $1 AND version < $2 ORDER BY version DESC LIMIT $3

-- name: kept_versions
-- Of types ($1) that the viewer sees, as `event_types` chooses them: the newest version, and whether that in $2 is kept.
SELECT y.name, y.version,
       EXISTS (SELECT 1 FROM event_type_version v WHERE v.name = y.name AND v.version = w.version) AS kept
  FROM unnest($1::text[], $2::int[]) w (name, version) JOIN event_type y ON y.name = w.name
 WHERE $3 OR y.visibility = 'public' OR (y.visibility = 'granted' AND EXISTS (
           SELECT 1 FROM type_patterns(y.name) t JOIN grant_entry g ON g.type = t AND g.app_id = $4::uuid
            WHERE g.expires_at IS NULL OR g.expires_at > to_timestamp($5)))

-- name: shared_version
SELECT version FROM config_head WHERE partition = -1

-- What would break whom -----------------------------------------------------------------------------------------------

-- name: subscribers
-- Endpoints that hear of a type: one of the patterns that match it ($1) is theirs, or they have none. By app and endpoint;
-- `total` counts them up to $3. The endpoints of a deleted app are deleted.
SELECT s.id, s.app_id, a.uid AS app_uid, s.uid, s.url, s.total
  FROM (
    SELECT f.*, count(*) OVER () AS total
      FROM (
        SELECT e.id, e.app_id, e.uid, e.config ->> 'url' AS url FROM endpoint e
         WHERE e.enabled AND e.deleted_at IS NULL
           AND (coalesce((e.config -> 'events')::jsonb, '[]') = '[]' OR (e.config -> 'events')::jsonb ?| $1::text[])
         LIMIT $3
      ) f
     ORDER BY f.app_id, f.id LIMIT $2
  ) s
  JOIN app a ON a.id = s.app_id
 ORDER BY s.app_id, s.id

-- name: recent
-- The newest events of a type with JSON, among the newest $2 of any: there is no index of types, and a rare one could be far
-- back. One that was appended to several partitions counts once. At least one, and others as far as they come to no more
-- than $4 bytes together.
WITH found AS (
    SELECT DISTINCT ON (n.id) n.id, n.partition, n.bytes
      FROM (
        SELECT e.id, e.partition, e.type, e.content_type, octet_length(e.payload) AS bytes
          FROM event e ORDER BY e.id DESC LIMIT $2
      ) n
     WHERE n.type = $1 AND n.content_type = 'application/json'
     ORDER BY n.id DESC LIMIT $3
), sized AS (
    SELECT f.id, f.partition, sum(f.bytes) OVER (ORDER BY f.id DESC) - f.bytes AS before FROM found f
)
SELECT e.id, e.payload FROM sized s JOIN event e ON e.id = s.id AND e.partition = s.partition
 WHERE s.before < $4 ORDER BY e.id DESC
