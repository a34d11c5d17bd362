-- Triggers: managed by people, worked on by one process at a time.

-- name: triggers
SELECT t.id, t.uid, t.app_id, t.name, t.kind, t.config, t.enabled, t.generation, t.version, t.position, t.standing,
       extract(epoch FROM t.created_at)::float8 AS created_at, extract(epoch FROM t.updated_at)::float8 AS updated_at,
       s.version AS settings_version, s.ciphertext AS settings
  FROM trigger t LEFT JOIN secret s ON s.owner_id = t.id AND s.kind = 'trigger'
 WHERE t.id < $1 ORDER BY t.id DESC LIMIT $2

-- name: trigger
SELECT t.id, t.uid, t.app_id, t.name, t.kind, t.config, t.enabled, t.generation, t.version, t.position, t.standing,
       extract(epoch FROM t.created_at)::float8 AS created_at, extract(epoch FROM t.updated_at)::float8 AS updated_at,
       s.version AS settings_version, s.ciphertext AS settings
  FROM trigger t LEFT JOIN secret s ON s.owner_id = t.id AND s.kind = 'trigger'
 WHERE t.id = $1 OR t.uid = $2

-- name: trigger_locked
SELECT t.id, t.uid, t.app_id, t.name, t.kind, t.config, t.enabled, t.generation, t.version, t.position, t.standing,
       extract(epoch FROM t.created_at)::float8 AS created_at, extract(epoch FROM t.updated_at)::float8 AS updated_at,
       s.version AS settings_version, s.ciphertext AS settings
  FROM trigger t LEFT JOIN secret s ON s.owner_id = t.id AND s.kind = 'trigger'
 WHERE t.id = $1 FOR NO KEY UPDATE OF t

-- name: lock_app
-- It stays until the end of the transaction. Before any trigger is locked: who deletes an app does it in this order, too.
SELECT 1 FROM app WHERE id = $1 AND deleted_at IS NULL FOR SHARE

-- name: lock_all
-- Against two who make the last one that there is room for.
LOCK TABLE trigger IN SHARE ROW EXCLUSIVE MODE

-- name: count
SELECT count(*) AS triggers FROM trigger

-- name: create_trigger
INSERT INTO trigger (id, uid, app_id, name, kind, config, enabled, generation, position, standing)
VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7, $8, $9, $10::jsonb)

-- name: update_trigger
UPDATE trigger SET uid = $2, app_id = $3, name = $4, kind = $5, config = $6::jsonb, enabled = $7, generation = $8, position = $9,
       standing = $10::jsonb, version = version + 1, put_off_until = NULL, updated_at = clock_timestamp()
 WHERE id = $1

-- name: settings
INSERT INTO secret (owner_id, kind, version, ciphertext) VALUES ($1, 'trigger', 1, $2)
ON CONFLICT (owner_id, kind, version) DO UPDATE SET ciphertext = excluded.ciphertext

-- name: delete_trigger
DELETE FROM trigger WHERE id = $1

-- name: delete_settings
DELETE FROM secret WHERE owner_id = $1 AND kind = 'trigger'

-- name: quiet
-- Whether nobody works on it, by the database's clock.
SELECT owner IS NULL OR lease_until < clock_timestamp() FROM trigger WHERE id = $1

-- name: hold
UPDATE trigger SET held_by = $2, held_until = clock_timestamp() + make_interval(secs => $3)
 WHERE id = $1 AND (held_by IS NULL OR held_until < clock_timestamp()) RETURNING version

-- name: is_there
SELECT 1 FROM trigger WHERE id = $1

-- name: let_go
UPDATE trigger SET held_by = NULL, held_until = NULL WHERE id = $1 AND held_by = $2

-- name: is_held
SELECT held_by = $2 AND held_until > clock_timestamp() FROM trigger WHERE id = $1

-- The work ---------------------------------------------------------------------------------------------------------------

-- name: free
-- How many there are to be worked on, how many processes share them, and whether one of them is free.
SELECT count(*) AS triggers, (SELECT count(*) FROM process WHERE live_until > clock_timestamp()) AS processes,
       count(*) FILTER (WHERE (owner IS NULL OR lease_until < clock_timestamp())
                          AND (held_by IS NULL OR held_until < clock_timestamp())
                          AND (put_off_until IS NULL OR put_off_until < clock_timestamp())) AS free
  FROM trigger WHERE enabled AND kind = ANY ($1::text[])

-- name: claim
WITH free AS (
    SELECT id FROM trigger
     WHERE enabled AND kind = ANY ($2::text[]) AND (owner IS NULL OR lease_until < clock_timestamp())
       AND (held_by IS NULL OR held_until < clock_timestamp())
       AND (put_off_until IS NULL OR put_off_until < clock_timestamp())
     ORDER BY id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE trigger t SET owner = $1, epoch = t.epoch + 1, lease_until = clock_timestamp() + make_interval(secs => $4)
  FROM free f WHERE t.id = f.id RETURNING t.id, t.epoch

-- name: taken
SELECT t.epoch, t.id, t.uid, t.app_id, t.name, t.kind, t.config, t.enabled, t.generation, t.version, t.position, t.standing,
       extract(epoch FROM t.created_at)::float8 AS created_at, extract(epoch FROM t.updated_at)::float8 AS updated_at,
       s.version AS settings_version, s.ciphertext AS settings
  FROM trigger t LEFT JOIN secret s ON s.owner_id = t.id AND s.kind = 'trigger'
 WHERE t.id = ANY ($1::uuid[]) ORDER BY t.id

-- name: renew
UPDATE trigger t SET lease_until = clock_timestamp() + make_interval(secs => $4)
  FROM unnest($2::uuid[], $3::bigint[]) u (id, epoch)
 WHERE t.id = u.id AND t.epoch = u.epoch AND t.owner = $1 AND t.enabled
   AND (t.held_by IS NULL OR t.held_until < clock_timestamp()) RETURNING t.id, t.version

-- name: record
-- Unless it is another's by now. What somebody let be, or tried again, meanwhile is not counted.
UPDATE trigger SET standing = $3::jsonb, position = coalesce($4, position)
 WHERE id = $1 AND epoch = $2 AND owner IS NOT NULL RETURNING id

-- name: put_off
UPDATE trigger t SET owner = NULL, lease_until = NULL, put_off_until = clock_timestamp() + make_interval(secs => $4)
  FROM unnest($2::uuid[], $3::bigint[]) u (id, epoch)
 WHERE t.id = u.id AND t.epoch = u.epoch AND t.owner = $1

-- name: release
UPDATE trigger t SET owner = NULL, lease_until = NULL
  FROM unnest($2::uuid[], $3::bigint[]) u (id, epoch)
 WHERE t.id = u.id AND t.epoch = u.epoch AND t.owner = $1

-- What was set aside -----------------------------------------------------------------------------------------------------

-- name: set_aside
INSERT INTO trigger_refusal (trigger_id, id, key, observation, code, reason)
SELECT $1, u.id, u.key, u.observation, u.code, u.reason
  FROM unnest($2::uuid[], $3::bytea[], $4::bytea[], $5::text[], $6::text[]) u (id, key, observation, code, reason)
ON CONFLICT (trigger_id, key) DO UPDATE
   SET observation = excluded.observation, code = excluded.code, reason = excluded.reason, tries = trigger_refusal.tries + 1

-- name: count_refusals
-- Without those that are there to be looked at alone.
SELECT count(*) FROM (SELECT 1 FROM trigger_refusal WHERE trigger_id = $1 AND code <> ALL ($2::text[]) LIMIT $3) r

-- name: drop_oldest
DELETE FROM trigger_refusal r USING (
    SELECT id FROM trigger_refusal WHERE trigger_id = $1 ORDER BY id DESC OFFSET $2
) o WHERE r.trigger_id = $1 AND r.id = o.id

-- name: refusals
SELECT id, observation, code, reason, tries, extract(epoch FROM created_at)::float8 AS created_at
  FROM trigger_refusal WHERE trigger_id = $1 AND id > $2 ORDER BY id LIMIT $3

-- name: refusals_of
SELECT id, observation, code, reason, tries, extract(epoch FROM created_at)::float8 AS created_at
  FROM trigger_refusal WHERE trigger_id = $1 AND id = ANY ($2::uuid[]) ORDER BY id

-- name: drop_refusals
DELETE FROM trigger_refusal WHERE trigger_id = $1 AND id = ANY ($2::uuid[]) RETURNING id

-- name: refused_again
UPDATE trigger_refusal r SET code = u.code, reason = u.reason, tries = r.tries + 1
  FROM unnest($2::uuid[], $3::text[], $4::text[]) u (id, code, reason)
 WHERE r.trigger_id = $1 AND r.id = u.id

-- name: recount
UPDATE trigger SET standing = jsonb_set(standing, '{set_aside}', to_jsonb($2::bigint)) WHERE id = $1
