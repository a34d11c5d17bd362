-- Giving up what is owed beside the journal: of events that retention drops, and the oldest of an endpoint that is owed too much.

-- Gives up rows of a partition, in the order of the key and after a key, as many as there are ids for the attempts that say so:
-- of events below an id, of one endpoint or of all (NULL), without those that the owner's memory speaks for or that are under
-- way. Call it after the partition's row was locked in an earlier statement, so that the cursor it reads is the last one. The
-- lines that lose rows are put in order; the partition's owner learns of it through `poke`.
CREATE FUNCTION expire_owed(
    p_now float8, p_partition int, p_endpoint uuid, p_below uuid, p_after_endpoint uuid, p_after_event uuid, p_held uuid[],
    p_ids uuid[], p_error text
) RETURNS TABLE (endpoint_id uuid, event_id uuid)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    v_endpoint uuid[];
    v_event uuid[];
    v_line bigint[];
BEGIN
    WITH chosen AS (
        SELECT d.endpoint_id, d.event_id, row_number() OVER (ORDER BY d.endpoint_id, d.event_id) AS n
          FROM delivery d JOIN partition p ON p.id = d.partition
         WHERE d.partition = p_partition AND d.event_id < p_below AND (d.endpoint_id, d.event_id) > (p_after_endpoint, p_after_event)
           AND (p_endpoint IS NULL OR d.endpoint_id = p_endpoint AND d.reason <> 'in_flight' AND d.event_id <> ALL (p_held))
           AND d.seq <= p.cursor
         ORDER BY d.endpoint_id, d.event_id LIMIT cardinality(p_ids)
    ), gone AS (
        DELETE FROM delivery d USING chosen c
         WHERE d.partition = p_partition AND d.endpoint_id = c.endpoint_id AND d.event_id = c.event_id
        RETURNING d.*, c.n
    ), given_up AS (
        INSERT INTO attempt (partition, id, app_id, endpoint_id, event_id, seq, number, kind, outcome, reason, sent, revision,
                             url, address, started_at, total_us, error)
        SELECT g.partition, i.id, coalesce(e.app_id, v.app_id), g.endpoint_id, g.event_id, g.seq, g.number, g.kind,
               'gave_up', 'expired', false, coalesce(e.revision, 0), coalesce(e.config ->> 'url', ''), '', to_timestamp(p_now), 0,
               p_error
          FROM gone g
          JOIN unnest(p_ids) WITH ORDINALITY i (id, n) ON i.n = g.n
          LEFT JOIN endpoint e ON e.id = g.endpoint_id
          LEFT JOIN event v ON v.id = g.event_id AND v.partition = g.partition
         WHERE coalesce(e.app_id, v.app_id) IS NOT NULL
    ), told AS (
        UPDATE partition SET poke = poke + 1 WHERE id = p_partition AND EXISTS (SELECT 1 FROM gone)
    )
    SELECT array_agg(g.endpoint_id ORDER BY g.n), array_agg(g.event_id ORDER BY g.n), array_agg(g.key_hash ORDER BY g.n)
      INTO v_endpoint, v_event, v_line FROM gone g;

    PERFORM order_lines(p_now, ARRAY[p_partition], array_agg(p_partition), array_agg(l.endpoint), array_agg(l.line))
       FROM (SELECT DISTINCT u.endpoint, u.line FROM unnest(v_endpoint, v_line) u (endpoint, line) WHERE u.line <> 0) l
     HAVING count(*) > 0;
    RETURN QUERY SELECT u.endpoint, u.event FROM unnest(v_endpoint, v_event) u (endpoint, event);
END $$;
