-- Sessions of the portal, and links that begin one.

-- name: session
SELECT s.id, s.key_id, s.app_id, k.name, extract(epoch FROM s.expires_at)::float8 AS expires_at
  FROM portal_session s JOIN api_key k ON k.id = s.key_id JOIN app a ON a.id = s.app_id
 WHERE s.hash = $1 AND s.expires_at > to_timestamp($2) AND k.revoked_at IS NULL AND a.deleted_at IS NULL

-- name: lock_sessions
-- One begins at a time, so that there are never more than allowed; readers do not wait.
LOCK TABLE portal_session IN SHARE ROW EXCLUSIVE MODE

-- name: begin_session
-- Nothing where the key was revoked or the app deleted.
INSERT INTO portal_session (id, hash, key_id, app_id, expires_at)
SELECT $1, $2, k.id, a.id, to_timestamp($5) FROM api_key k, app a
 WHERE k.id = $3 AND k.revoked_at IS NULL AND a.id = $4 AND a.deleted_at IS NULL
RETURNING key_id, (SELECT name FROM api_key WHERE id = $3) AS name

-- name: drop_over_sessions
-- Whosever they are, a few at a time.
DELETE FROM portal_session WHERE id = ANY (ARRAY (
    SELECT id FROM portal_session WHERE expires_at <= to_timestamp($1) ORDER BY expires_at LIMIT $2))

-- name: drop_oldest_sessions
-- Of an app, what is too many: ids sort by time.
DELETE FROM portal_session WHERE id = ANY (ARRAY (
    SELECT id FROM portal_session WHERE app_id = $1 ORDER BY id DESC OFFSET $2))

-- name: end_session
DELETE FROM portal_session WHERE id = $1

-- name: lock_links
LOCK TABLE portal_link IN SHARE ROW EXCLUSIVE MODE

-- name: create_link
INSERT INTO portal_link (id, hash, key_id, app_id, expires_at)
SELECT $1, $2, k.id, a.id, to_timestamp($5) FROM api_key k, app a
 WHERE k.id = $3 AND k.revoked_at IS NULL AND a.id = $4 AND a.deleted_at IS NULL
RETURNING id

-- name: drop_over_links
DELETE FROM portal_link WHERE id = ANY (ARRAY (
    SELECT id FROM portal_link WHERE expires_at <= to_timestamp($1) ORDER BY expires_at LIMIT $2))

-- name: drop_oldest_links
DELETE FROM portal_link WHERE id = ANY (ARRAY (
    SELECT id FROM portal_link WHERE app_id = $1 ORDER BY id DESC OFFSET $2))

-- name: link
-- Before anything else is done for somebody who may be anybody.
SELECT 1 FROM portal_link WHERE hash = $1 AND expires_at > to_timestamp($2)

-- name: take_link
-- Two at the same moment: the second one waits for the first, and finds nothing.
DELETE FROM portal_link WHERE hash = $1 AND expires_at > to_timestamp($2) RETURNING key_id, app_id
