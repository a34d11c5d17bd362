-- Whether endpoints have passed their handshakes. Rows are locked after the app, where both are.

-- name: look
-- The time, and when the first one is due.
SELECT extract(epoch FROM clock_timestamp())::float8 AS now,
       (SELECT extract(epoch FROM wake_at)::float8 FROM endpoint_verification WHERE wake_at IS NOT NULL
         ORDER BY wake_at LIMIT 1) AS next_at

-- name: claim
-- What nobody else is just taking; theirs until the lease ends. Chosen once: in a nested loop a subquery would be asked for
-- each row, skip what it has just locked, and so give more than the limit.
WITH due AS MATERIALIZED (
    SELECT d.endpoint_id FROM endpoint_verification d JOIN endpoint e ON e.id = d.endpoint_id
     WHERE d.wake_at <= to_timestamp($1) AND e.app_id <> ALL ($4::uuid[]) ORDER BY d.wake_at LIMIT $2
       FOR NO KEY UPDATE OF d SKIP LOCKED
)
UPDATE endpoint_verification v SET turn = v.turn + 1, wake_at = to_timestamp($1) + make_interval(secs => $3)
  FROM due, endpoint e
 WHERE v.endpoint_id = due.endpoint_id AND e.id = v.endpoint_id
RETURNING v.endpoint_id, e.app_id, v.turn, v.progress

-- name: locked
SELECT v.turn, v.progress, v.asked, extract(epoch FROM clock_timestamp())::float8 AS now,
       extract(epoch FROM clock_timestamp() - v.asked_at)::float8 AS asked_before
  FROM endpoint_verification v JOIN endpoint e ON e.id = v.endpoint_id
 WHERE v.endpoint_id = $1 AND e.app_id = $2 FOR NO KEY UPDATE OF v

-- name: ask
-- `asked_at` begins anew with the first who asks after it is over.
UPDATE endpoint_verification
   SET turn = turn + 1, progress = $2::jsonb, token = NULL, wake_at = clock_timestamp() + make_interval(secs => $3),
       asked = CASE WHEN $4 THEN 1 ELSE asked + 1 END, asked_at = CASE WHEN $4 THEN clock_timestamp() ELSE asked_at END
 WHERE endpoint_id = $1 RETURNING turn

-- name: expect
-- That an earlier one was brought says nothing of it.
UPDATE endpoint_verification SET token = $3, progress = progress - 'followed' WHERE endpoint_id = $1 AND turn = $2 RETURNING turn

-- name: taken
SELECT progress, extract(epoch FROM clock_timestamp())::float8 AS now
  FROM endpoint_verification WHERE endpoint_id = $1 AND turn = $2

-- name: settle
-- Unless it was taken by another, or followed, since it was read. The token stays only while somebody may bring it.
UPDATE endpoint_verification
   SET progress = $4::jsonb, sendable = $5, allowed_per_second = $6, wake_at = to_timestamp($7),
       token = CASE WHEN $8 THEN token END
 WHERE endpoint_id = $1 AND turn = $2 AND progress = $3::jsonb RETURNING turn

-- name: of_token
SELECT endpoint_id, progress, extract(epoch FROM clock_timestamp())::float8 AS now
  FROM endpoint_verification WHERE token = $1 FOR NO KEY UPDATE

-- name: follow
-- Where it waited, whoever is just looking whether it has waited for too long comes too late.
UPDATE endpoint_verification
   SET progress = $2::jsonb, token = NULL, turn = turn + CASE WHEN $4 THEN 1 ELSE 0 END,
       wake_at = CASE WHEN $4 THEN to_timestamp($3) ELSE wake_at END
 WHERE endpoint_id = $1

-- Of the directory -----------------------------------------------------------------------------------------------------

-- name: begin
INSERT INTO endpoint_verification AS v (endpoint_id, progress, wake_at)
VALUES ($1, $2::jsonb, to_timestamp($3))
    ON CONFLICT (endpoint_id) DO UPDATE
   SET turn = v.turn + 1, progress = EXCLUDED.progress, sendable = false, allowed_per_second = NULL,
       wake_at = EXCLUDED.wake_at, token = NULL

-- name: progress
SELECT progress FROM endpoint_verification WHERE endpoint_id = $1 FOR NO KEY UPDATE

-- name: now
SELECT extract(epoch FROM clock_timestamp())::float8

-- name: drop
DELETE FROM endpoint_verification WHERE endpoint_id = ANY ($1::uuid[])
