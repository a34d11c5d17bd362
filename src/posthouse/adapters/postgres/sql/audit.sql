-- The audit: who changed or looked at what.

-- name: entries
-- Newest first. Each filter has its index, in the order of the list; without one, that of the time is walked.
SELECT id, (extract(epoch FROM at) * 1000000)::bigint AS at_us, actor, action, object, detail
  FROM audit
 WHERE (at, id) < ($1, $2) AND at >= $3 AND ($4::text IS NULL OR actor = $4) AND ($5::text IS NULL OR object = $5)
   AND ($6::text IS NULL OR split_part(action, '.', 1) = $6) AND ($7::text IS NULL OR action = $7)
 ORDER BY at DESC, id DESC LIMIT $8

-- name: key_names
SELECT id, name FROM api_key WHERE id = ANY ($1::uuid[])
