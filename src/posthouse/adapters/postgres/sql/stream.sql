-- What the live stream reads. Each statement goes down one index for each partition, in the days since an id.

-- name: ends
-- Where the partitions end. A partition without an attempt since the id has none.
SELECT h.partition, h.seq,
       (SELECT a.id FROM attempt a WHERE a.partition = h.partition AND a.id >= $1 ORDER BY a.id DESC LIMIT 1) AS attempt_id
  FROM log_head h

-- name: events
-- The next events of some partitions without their payloads: after a `seq`, and up to one that is known to be there.
-- The very next one comes in any case, wanted or not: without it, there is a gap.
SELECT e.*
  FROM unnest($1::int[], $2::bigint[], $3::bigint[]) u (partition, after, until)
 CROSS JOIN LATERAL (
    SELECT e.*
      FROM (
        SELECT e.id, e.partition, e.seq, e.app_id, e.type, e.subject, e.key, e.source, e.channels, e.attributes,
               e.content_type, octet_length(e.payload) AS payload_bytes,
               extract(epoch FROM e.created_at)::float8 AS created_at,
               extract(epoch FROM e.expires_at)::float8 AS expires_at, e.cause, e.depth,
               ($5::uuid IS NULL OR e.app_id = $5 OR (e.app_id IS NULL AND $5 = ANY (e.audience)))
               AND ($6::text[] IS NULL OR e.type = ANY ($6)
                    OR EXISTS (SELECT 1 FROM unnest($7::text[]) prefix WHERE starts_with(e.type, prefix))) AS wanted
          FROM event e
         WHERE e.partition = u.partition AND e.seq > u.after AND e.seq <= u.until AND e.id >= $4
      ) e
     WHERE e.wanted OR e.seq = u.after + 1
     ORDER BY e.seq LIMIT $8
 ) e
 ORDER BY e.partition, e.seq

-- name: attempts
-- The next attempts of some partitions. Of each, as many are looked at as may be; the last of those comes in any case, wanted
-- or not: so far the partition was read. The type is asked for by its key, row by row.
SELECT a.*
  FROM unnest($1::int[], $2::uuid[]) u (partition, after)
 CROSS JOIN LATERAL (
    SELECT a.*
      FROM (
        SELECT a.*, lead(a.id) OVER (ORDER BY a.id) IS NULL AS last,
               ($4::uuid IS NULL OR a.app_id = $4)
               AND ($5::text[] IS NULL OR a.type = ANY ($5)
                    OR EXISTS (SELECT 1 FROM unnest($6::text[]) prefix WHERE starts_with(a.type, prefix))) AS wanted
          FROM (
            SELECT a.id, a.partition, a.app_id, a.event_id, a.endpoint_id, a.number, a.kind, a.outcome, a.reason, a.sent,
                   a.status, a.revision, a.url, a.address, extract(epoch FROM a.started_at)::float8 AS started_at, a.dns_us,
                   a.connect_us, a.tls_us, a.first_byte_us, a.total_us, a.error, a.reaction,
                   (SELECT v.type FROM event v WHERE v.id = a.event_id AND v.partition = a.partition) AS type
              FROM attempt a
             WHERE a.partition = u.partition AND a.id > u.after AND a.id >= $3
             ORDER BY a.id LIMIT $7
          ) a
      ) a
     WHERE a.wanted OR a.last
     ORDER BY a.id LIMIT $8
 ) a
 ORDER BY a.partition, a.id

-- name: payloads
SELECT e.id, e.payload
  FROM unnest($1::uuid[], $2::int[]) u (id, partition)
 CROSS JOIN LATERAL (SELECT e.id, e.payload FROM event e WHERE e.id = u.id AND e.partition = u.partition OFFSET 0) e
