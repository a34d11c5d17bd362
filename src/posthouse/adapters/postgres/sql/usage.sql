-- How much apps store, for those whose quota bounds it.

-- name: bounded_apps
SELECT id, partition FROM app
 WHERE quotas ? 'stored_bytes_max' AND deleted_at IS NULL AND id > $1 ORDER BY id LIMIT $2

-- name: walk_in_order
-- Until the end of the transaction. What a stretch holds is not known as this is planned, and is taken for little: then all of
-- it would be collected and sorted before the first row is counted.
SELECT set_config('enable_bitmapscan', 'off', true), set_config('enable_sort', 'off', true)

-- name: count_stored
-- The first events of each stretch, along the index of the app; the length of a payload is known without reading it. An id
-- begins with its milliseconds since 1970. (There is no max of ids before PostgreSQL 18; their texts are in the same order.)
SELECT s.ord::int - 1 AS stretch, c.day, c.payload_bytes, c.events, c.last
  FROM unnest($1::uuid[], $2::int[], $3::uuid[], $4::uuid[]) WITH ORDINALITY AS s (app_id, partition, after, before, ord)
 CROSS JOIN LATERAL (
    SELECT e.day, sum(e.size)::bigint AS payload_bytes, count(*) AS events,
           max(e.id::text COLLATE "C")::uuid AS last
      FROM (
        SELECT v.id, octet_length(v.payload) AS size,
               (('x' || left(translate(v.id::text, '-', ''), 12))::bit(48)::bigint / 86400000)::int AS day
          FROM event v
         WHERE v.app_id = s.app_id AND v.partition = s.partition AND v.id > s.after AND v.id < s.before
         ORDER BY v.id LIMIT $5
      ) e
     GROUP BY e.day
 ) c
