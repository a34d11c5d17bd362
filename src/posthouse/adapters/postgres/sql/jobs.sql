-- Replays: what is asked of them, and their steps. A step holds the partition's row, and then looks in statements of its own.

-- name: create
INSERT INTO job (id, partition, app_id, endpoint_id, kind, state, request) VALUES ($1, $2, $3, $4, 'replay', 'pending', $5::jsonb)
RETURNING *, 0 AS outstanding

-- name: count_live
SELECT count(*) FROM job WHERE partition = $1 AND app_id = $2 AND state IN ('pending', 'running', 'paused')

-- name: replays
-- Of an app ($1), or of all of them.
SELECT j.*, o.outstanding, j.state = 'pending' AND EXISTS (
         SELECT 1 FROM job f WHERE f.partition = j.partition AND f.endpoint_id = j.endpoint_id
            AND f.state IN ('pending', 'running', 'paused') AND (f.created_at, f.id) < (j.created_at, j.id)
       ) AS behind
  FROM (SELECT * FROM job WHERE ($1::uuid IS NULL OR app_id = $1) AND kind = 'replay' AND id < $2 AND id >= $3 ORDER BY id DESC LIMIT $4) j
 CROSS JOIN LATERAL (
    SELECT count(*) AS outstanding FROM (
        SELECT 1 FROM delivery d
         WHERE j.first_seq IS NOT NULL AND j.finished_at IS NULL AND d.partition = j.partition AND d.endpoint_id = j.endpoint_id
           AND d.reason = 'replayed' ORDER BY d.seq LIMIT $5
    ) counted
 ) o
 ORDER BY j.id DESC

-- name: live
-- Of each endpoint the replay whose turn it is: the first that has not ended.
SELECT j.*, o.outstanding, p.cursor, n.config, n.enabled
  FROM (
    SELECT * FROM job j
     WHERE j.partition = ANY ($1::int[]) AND j.state IN ('pending', 'running') AND j.kind = 'replay'
       AND j.id > $2 AND NOT EXISTS (
        SELECT 1 FROM job f WHERE f.partition = j.partition AND f.endpoint_id = j.endpoint_id
           AND f.state IN ('pending', 'running', 'paused') AND (f.created_at, f.id) < (j.created_at, j.id)
       )
     ORDER BY j.id LIMIT $3
  ) j
  JOIN partition p ON p.id = j.partition
  LEFT JOIN endpoint n ON n.id = j.endpoint_id AND n.deleted_at IS NULL
 CROSS JOIN LATERAL (
    SELECT count(*) AS outstanding FROM (
        SELECT 1 FROM delivery d
         WHERE d.partition = j.partition AND d.endpoint_id = j.endpoint_id AND d.reason = 'replayed' ORDER BY d.seq LIMIT $4
    ) counted
 ) o
 ORDER BY j.id

-- name: bounds
-- An id is made within minutes of when its event is appended.
SELECT position_at($1, to_timestamp($2)) AS first, position_at($1, to_timestamp($3)) AS last

-- name: cursor
SELECT cursor FROM partition WHERE id = $1

-- name: stretch
-- A stretch of positions (CASE: not the app's events of the whole span); each event's attempts at the endpoint are found by event
-- (the aggregate leaves no other way: walking the endpoint's newest attempts back could pass millions).
SELECT e.*, e.of_app OR covered($6, e.type, e.subject) AS permitted,
       EXISTS (SELECT 1 FROM delivery d WHERE d.partition = $1 AND d.endpoint_id = $7 AND d.event_id = e.event_id) AS owed,
       (SELECT (array_agg(a.outcome ORDER BY a.id DESC))[1] FROM attempt a
         WHERE a.event_id = e.event_id AND a.endpoint_id = $7 AND a.partition = $1 AND a.id >= $8) AS last
  FROM (
    SELECT e.id AS event_id, e.seq, e.type, e.subject, e.key, e.channels, octet_length(e.payload) AS payload_bytes,
           e.app_id IS NOT NULL AS of_app
      FROM event e
     WHERE e.partition = $1 AND e.seq > $2 AND e.seq <= $3 AND e.id >= $4 AND e.id < $5
       AND CASE WHEN e.app_id IS NULL THEN $6 = ANY (e.audience) ELSE e.app_id = $6 END
       AND (e.only_endpoint IS NULL OR e.only_endpoint = $7)
     OFFSET 0
  ) e
 ORDER BY e.seq

-- name: hold_owned
SELECT id FROM partition WHERE id = $1 AND owner = $2 AND epoch = $3 FOR NO KEY UPDATE

-- name: hold
SELECT id FROM partition WHERE id = $1 FOR NO KEY UPDATE

-- name: lock_job
SELECT j.*, 0 AS outstanding FROM job j WHERE j.id = $1 FOR UPDATE

-- name: facts
-- In a statement after the lock.
SELECT u.event_id,
       EXISTS (SELECT 1 FROM delivery d WHERE d.partition = $1 AND d.endpoint_id = $2 AND d.event_id = u.event_id) AS owed,
       (SELECT (array_agg(a.outcome ORDER BY a.id DESC))[1] FROM attempt a
         WHERE a.event_id = u.event_id AND a.endpoint_id = $2 AND a.partition = $1 AND a.id >= $4) AS last
  FROM unnest($3::uuid[]) u (event_id)

-- name: owe
INSERT INTO delivery (partition, endpoint_id, event_id, seq, kind, number, due_at, reason, payload_bytes, key_hash)
SELECT $1, $2, u.event_id, u.seq, 'replay', 1, to_timestamp($3), 'replayed', u.payload_bytes, u.line
  FROM unnest($4::uuid[], $5::bigint[], $6::int[], $7::bigint[]) u (event_id, seq, payload_bytes, line)
    ON CONFLICT (partition, endpoint_id, event_id) DO NOTHING
RETURNING key_hash

-- name: order_lines
SELECT 1 FROM order_lines($1, ARRAY[$2::int], array_fill($2::int, ARRAY[cardinality($4::bigint[])]),
                          array_fill($3::uuid, ARRAY[cardinality($4::bigint[])]), $4)

-- name: poke
UPDATE partition SET poke = poke + 1 WHERE id = $1

-- name: begin
-- Its bounds are fixed once; one that was resumed goes on where it was.
UPDATE job SET state = $2, first_seq = coalesce(first_seq, $3::bigint), last_seq = coalesce(last_seq, $4::bigint),
       position = CASE WHEN first_seq IS NULL THEN $3::bigint ELSE position END, reason = NULL, updated_at = clock_timestamp()
 WHERE id = $1 RETURNING *, 0 AS outstanding

-- name: advance
UPDATE job SET position = $2, progress = $3::jsonb, updated_at = clock_timestamp() WHERE id = $1 RETURNING *, 0 AS outstanding

-- name: change
UPDATE job SET state = $2, progress = $3::jsonb, reason = $4, updated_at = clock_timestamp(),
       finished_at = CASE WHEN $5 THEN clock_timestamp() END
 WHERE id = $1 RETURNING *, 0 AS outstanding

-- name: outstanding
SELECT count(*) FROM (
    SELECT 1 FROM delivery WHERE partition = $1 AND endpoint_id = $2 AND reason = 'replayed' ORDER BY seq LIMIT $3
) counted

-- name: take_back
-- What was put in and not tried yet. No attempt tells of it: the last one stays what it was, so that what was delivered
-- before does not become something that was given up.
DELETE FROM delivery d
 USING (SELECT event_id FROM delivery WHERE partition = $1 AND endpoint_id = $2 AND reason = 'replayed' ORDER BY seq LIMIT $3) b
 WHERE d.partition = $1 AND d.endpoint_id = $2 AND d.event_id = b.event_id
RETURNING d.key_hash

-- name: drop_ended
DELETE FROM job WHERE id IN (SELECT id FROM job WHERE finished_at < to_timestamp($1) ORDER BY finished_at LIMIT $2) RETURNING id
