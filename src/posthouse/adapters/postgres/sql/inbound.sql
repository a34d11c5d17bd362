-- Inbound triggers: whoever answers their senders looks for them, and counts what came. Several processes do so at once.

-- name: listed
SELECT id, uid, version, enabled, coalesce(standing->>'state', 'starting') = 'starting' AS starting,
       coalesce((standing->>'set_aside')::bigint, 0) AS set_aside
  FROM trigger WHERE kind = $1 ORDER BY id LIMIT $2

-- name: lock
SELECT 1 FROM trigger WHERE id = $1 FOR NO KEY UPDATE

-- name: is_kept
SELECT 1 FROM trigger_refusal WHERE trigger_id = $1 AND key = $2

-- name: lock_several
-- In one order, whoever else does the same.
SELECT id FROM trigger WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE

-- name: add
UPDATE trigger t
   SET standing = t.standing || jsonb_build_object(
           'published', coalesce((t.standing->>'published')::bigint, 0) + u.published,
           'repeated', coalesce((t.standing->>'repeated')::bigint, 0) + u.repeated,
           'left_out', coalesce((t.standing->>'left_out')::bigint, 0) + u.left_out,
           'unverified', coalesce((t.standing->>'unverified')::bigint, 0) + u.unverified,
           'published_at', greatest((t.standing->>'published_at')::float8, u.published_at),
           'state', CASE WHEN u.error IS NULL THEN 'active' ELSE 'failing' END,
           'error', u.error,
           'error_code', u.error_code,
           'failures', CASE WHEN u.error IS NULL THEN 0 ELSE coalesce((t.standing->>'failures')::bigint, 0) + 1 END,
           'failing_since', CASE WHEN u.error IS NOT NULL THEN coalesce((t.standing->>'failing_since')::float8, $9::float8) END,
           'told_at', $9::float8)
  FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::float8[], $7::text[], $8::text[])
       u (id, published, repeated, left_out, unverified, published_at, error_code, error)
 WHERE t.id = u.id

-- name: drop_unverified
-- All but the newest of those that are there to be looked at.
DELETE FROM trigger_refusal r USING (
    SELECT id FROM trigger_refusal WHERE trigger_id = $1 AND code = ANY ($2::text[]) ORDER BY id DESC OFFSET $3
) o WHERE r.trigger_id = $1 AND r.id = o.id

-- name: activate
UPDATE trigger SET standing = standing || jsonb_build_object('state', 'active', 'told_at', $2::float8)
 WHERE kind = $1 AND enabled AND coalesce(standing->>'state', 'starting') = 'starting'
