-- Grants. `bump_shrunk` comes first in what changes or takes away one: it locks the partition's counter and the app, in the
-- order that all changes do.

-- name: grants
-- Newest first, of one app or of all.
SELECT g.id, g.app_id, g.types, g.subjects, g.uid, extract(epoch FROM g.expires_at)::float8 AS expires_at,
       extract(epoch FROM g.created_at)::float8 AS created_at
  FROM app_grant g
 WHERE ($1::uuid IS NULL OR g.app_id = $1) AND g.id < $2
   AND ($4::text IS NULL OR g.types && ARRAY(SELECT type_patterns($4)))
 ORDER BY g.id DESC LIMIT $3

-- name: grants_about
-- Those that cover a subject: found by their entries, of which there are few about one.
SELECT g.id, g.app_id, g.types, g.subjects, g.uid, extract(epoch FROM g.expires_at)::float8 AS expires_at,
       extract(epoch FROM g.created_at)::float8 AS created_at
  FROM app_grant g
 WHERE g.id IN (
    SELECT e.grant_id FROM subject_patterns($5) s JOIN grant_entry e ON e.subject = s
     WHERE ($1::uuid IS NULL OR e.app_id = $1) AND e.grant_id < $2
       AND ($4::text IS NULL OR e.type IN (SELECT type_patterns($4)))
 )
 ORDER BY g.id DESC LIMIT $3

-- name: grant
SELECT g.id, g.app_id, g.types, g.subjects, g.uid, extract(epoch FROM g.expires_at)::float8 AS expires_at,
       extract(epoch FROM g.created_at)::float8 AS created_at
  FROM app_grant g JOIN app a ON a.id = g.app_id
 WHERE g.app_id = $1 AND (g.id = $2 OR g.uid = $3) AND a.deleted_at IS NULL

-- name: lock_app
-- Its partition; nothing where it is gone. It stays until the end of the transaction.
SELECT partition FROM app WHERE id = $1 AND deleted_at IS NULL FOR SHARE

-- name: create_grant
WITH made AS (
    INSERT INTO app_grant (id, app_id, types, subjects, uid, expires_at)
    VALUES ($1, $2, $3::text[], $4::text[], $5, to_timestamp($6)) RETURNING id, app_id, types, subjects, expires_at, created_at
), entries AS (
    INSERT INTO grant_entry (subject, type, app_id, grant_id, partition, expires_at)
    SELECT DISTINCT s, t, m.app_id, m.id, $7::int, m.expires_at FROM made m, unnest(m.subjects) s, unnest(m.types) t
)
SELECT extract(epoch FROM created_at)::float8 AS created_at FROM made

-- name: change_grant
WITH changed AS (
    UPDATE app_grant SET types = $2::text[], subjects = $3::text[], expires_at = to_timestamp($4) WHERE id = $1
    RETURNING id, app_id, types, subjects, expires_at
)
INSERT INTO grant_entry (subject, type, app_id, grant_id, partition, expires_at)
SELECT DISTINCT s, t, c.app_id, c.id, $5::int, c.expires_at FROM changed c, unnest(c.subjects) s, unnest(c.types) t

-- name: drop_entries
DELETE FROM grant_entry WHERE grant_id = $1

-- name: delete_grant
DELETE FROM app_grant WHERE id = $1 AND app_id = $2 RETURNING id

-- name: bump_shrunk
SELECT bump_shrunk($1)

-- name: drop_expired
-- Grants that ended so long ago that no event from before is left.
DELETE FROM app_grant WHERE id IN (SELECT id FROM app_grant WHERE expires_at < to_timestamp($1) ORDER BY expires_at LIMIT $2)
RETURNING id
