-- Sessions of the console, and links that begin one.

-- name: session
SELECT s.id, s.key_id, k.name, extract(epoch FROM s.expires_at)::float8 AS expires_at
  FROM console_session s JOIN api_key k ON k.id = s.key_id
 WHERE s.hash = $1 AND s.expires_at > to_timestamp($2) AND k.revoked_at IS NULL AND k.scope = 'admin'

-- name: lock_sessions
-- One begins at a time, so that there are never more than allowed; readers do not wait.
LOCK TABLE console_session IN SHARE ROW EXCLUSIVE MODE

-- name: begin_session
-- Nothing where the key is none of an administrator that works.
INSERT INTO console_session (id, hash, key_id, expires_at)
SELECT $1, $2, id, to_timestamp($4) FROM api_key WHERE id = $3 AND revoked_at IS NULL AND scope = 'admin'
RETURNING key_id, (SELECT name FROM api_key WHERE id = $3) AS name

-- name: drop_sessions
-- What is over, and the oldest of what is too many: ids sort by time.
DELETE FROM console_session
 WHERE expires_at <= to_timestamp($1) OR id NOT IN (SELECT id FROM console_session ORDER BY id DESC LIMIT $2)

-- name: end_session
DELETE FROM console_session WHERE id = $1

-- name: lock_links
LOCK TABLE console_link IN SHARE ROW EXCLUSIVE MODE

-- name: create_link
INSERT INTO console_link (id, hash, key_id, expires_at)
SELECT $1, $2, id, to_timestamp($4) FROM api_key WHERE id = $3 AND revoked_at IS NULL AND scope = 'admin'
RETURNING id

-- name: oldest_admin_key
SELECT id FROM api_key WHERE revoked_at IS NULL AND scope = 'admin' ORDER BY id LIMIT 1

-- name: drop_links
DELETE FROM console_link
 WHERE expires_at <= to_timestamp($1) OR id NOT IN (SELECT id FROM console_link ORDER BY id DESC LIMIT $2)

-- name: link
-- Before anything else is done for somebody who may be anybody.
SELECT 1 FROM console_link WHERE hash = $1 AND expires_at > to_timestamp($2)

-- name: take_link
-- Two at the same moment: the second one waits for the first, and finds nothing.
DELETE FROM console_link WHERE hash = $1 AND expires_at > to_timestamp($2) RETURNING key_id
