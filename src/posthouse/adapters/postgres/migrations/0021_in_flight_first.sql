-- As before, but the request of an ordered line that may still be under way stays the row that is due, though an event that
-- comes before it was found to belong to the line only then (by a filter that was asked anew, or by newer configuration,
-- after a hand-over). Whoever handed it over still sends it: the line waits for its answer, or until it is due.

-- Which row of a line is the one that is due: that of a request that is under way until some time after now, else the first.
CREATE FUNCTION line_head(p_now float8, p_partition int, p_endpoint uuid, p_line bigint)
RETURNS TABLE (event_id uuid, seq bigint, due_at timestamptz, reason text)
LANGUAGE sql STABLE AS $$
    SELECT f.event_id, f.seq, f.due_at, f.reason
      FROM (
        (SELECT 0 AS place, d.event_id, d.seq, d.due_at, d.reason FROM delivery d
          WHERE d.partition = p_partition AND d.endpoint_id = p_endpoint AND d.key_hash = p_line AND d.key_hash <> 0
            AND d.due_at < 'infinity' AND d.due_at > to_timestamp(p_now) AND d.reason = 'in_flight'
          ORDER BY d.seq LIMIT 1)
        UNION ALL
        (SELECT 1, d.event_id, d.seq, d.due_at, d.reason FROM delivery d
          WHERE d.partition = p_partition AND d.endpoint_id = p_endpoint AND d.key_hash = p_line AND d.key_hash <> 0
          ORDER BY d.seq LIMIT 1)
      ) f
     ORDER BY f.place LIMIT 1
$$;

CREATE OR REPLACE FUNCTION order_lines(p_now float8, p_held int[], l_partition int[], l_endpoint uuid[], l_line bigint[])
RETURNS TABLE (endpoints uuid[], lines bigint[], dues float8[])
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    UPDATE delivery d SET due_at = 'infinity'
      FROM (
        SELECT u.p, u.ep, u.line, h.seq
          FROM unnest(l_partition, l_endpoint, l_line) u (p, ep, line)
         CROSS JOIN LATERAL line_head(p_now, u.p, u.ep, u.line) h
         WHERE u.p = ANY (p_held)
      ) head
     WHERE d.partition = head.p AND d.endpoint_id = head.ep AND d.key_hash = head.line AND d.key_hash <> 0
       AND d.seq <> head.seq AND d.due_at < 'infinity';

    UPDATE delivery d SET due_at = to_timestamp(p_now)
      FROM (
        SELECT u.p, u.ep, h.event_id
          FROM unnest(l_partition, l_endpoint, l_line) u (p, ep, line)
         CROSS JOIN LATERAL line_head(p_now, u.p, u.ep, u.line) h
         WHERE u.p = ANY (p_held) AND h.due_at = 'infinity' AND h.reason <> 'blocked'
      ) head
     WHERE d.partition = head.p AND d.endpoint_id = head.ep AND d.event_id = head.event_id;

    RETURN QUERY
    SELECT array_agg(u.ep), array_agg(u.line), array_agg(extract(epoch FROM h.due_at)::float8)
      FROM unnest(l_partition, l_endpoint, l_line) u (p, ep, line)
      LEFT JOIN LATERAL line_head(p_now, u.p, u.ep, u.line) h ON true
     WHERE u.p = ANY (p_held);
END $$;
