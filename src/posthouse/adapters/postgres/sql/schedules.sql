-- Schedules: managed by people, taken by whoever is there when they are due.

-- name: schedules
SELECT id, uid, app_id, name, config, enabled, progress, extract(epoch FROM created_at)::float8 AS created_at,
       extract(epoch FROM updated_at)::float8 AS updated_at
  FROM schedule WHERE id < $1 ORDER BY id DESC LIMIT $2

-- name: schedules_of_app
SELECT id, uid, app_id, name, config, enabled, progress, extract(epoch FROM created_at)::float8 AS created_at,
       extract(epoch FROM updated_at)::float8 AS updated_at
  FROM schedule WHERE app_id = $3 AND id < $1 ORDER BY id DESC LIMIT $2

-- name: schedule
SELECT id, uid, app_id, name, config, enabled, progress, extract(epoch FROM created_at)::float8 AS created_at,
       extract(epoch FROM updated_at)::float8 AS updated_at
  FROM schedule WHERE id = $1 OR uid = $2

-- name: schedule_locked
SELECT id, uid, app_id, name, config, enabled, progress, extract(epoch FROM created_at)::float8 AS created_at,
       extract(epoch FROM updated_at)::float8 AS updated_at, extract(epoch FROM clock_timestamp())::float8 AS now
  FROM schedule WHERE id = $1 FOR NO KEY UPDATE

-- name: lock_app
-- It stays until the end of the transaction. Before any schedule is locked: who deletes an app does it in this order, too.
SELECT 1 FROM app WHERE id = $1 AND deleted_at IS NULL FOR SHARE

-- name: lock_all
-- Against two who make the last one that there is room for.
LOCK TABLE schedule IN SHARE ROW EXCLUSIVE MODE

-- name: count
SELECT count(*) AS schedules, extract(epoch FROM clock_timestamp())::float8 AS now FROM schedule

-- name: create_schedule
INSERT INTO schedule (id, uid, app_id, name, config, enabled, progress, wake_at)
VALUES ($1, $2, $3, $4, $5::jsonb, $6, $7::jsonb, to_timestamp($8))

-- name: update_schedule
UPDATE schedule SET uid = $2, app_id = $3, name = $4, config = $5::jsonb, enabled = $6, progress = $7::jsonb,
       wake_at = to_timestamp($8), updated_at = clock_timestamp()
 WHERE id = $1

-- name: delete_schedule
DELETE FROM schedule WHERE id = $1

-- name: look
-- The time, and when the first one is due.
SELECT extract(epoch FROM clock_timestamp())::float8 AS now,
       (SELECT extract(epoch FROM wake_at)::float8 FROM schedule WHERE wake_at IS NOT NULL ORDER BY wake_at LIMIT 1) AS next_at

-- name: due
-- What nobody else is just taking. Whether a pending event is in the log is asked of few: those whose taker may have died.
SELECT s.id, s.uid, s.app_id, s.name, s.config, s.enabled, s.progress, extract(epoch FROM s.created_at)::float8 AS created_at,
       extract(epoch FROM s.updated_at)::float8 AS updated_at,
       CASE WHEN s.pending_event IS NULL THEN false ELSE EXISTS (SELECT 1 FROM event e WHERE e.id = s.pending_event) END AS published
  FROM schedule s WHERE s.wake_at <= to_timestamp($1) ORDER BY s.wake_at LIMIT $2
   FOR NO KEY UPDATE OF s SKIP LOCKED

-- name: lock_taken
SELECT s.id, s.uid, s.app_id, s.name, s.config, s.enabled, s.progress, extract(epoch FROM s.created_at)::float8 AS created_at,
       extract(epoch FROM s.updated_at)::float8 AS updated_at, extract(epoch FROM clock_timestamp())::float8 AS now
  FROM schedule s WHERE s.id = ANY ($1::uuid[]) ORDER BY s.id FOR NO KEY UPDATE

-- name: move
UPDATE schedule s SET progress = u.progress::jsonb, pending_event = u.pending, wake_at = to_timestamp(u.wake_at)
  FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::float8[]) u (id, progress, pending, wake_at)
 WHERE s.id = u.id
