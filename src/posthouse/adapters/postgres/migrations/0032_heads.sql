-- As before (0029_groups.sql), without a join of groups with heads: a batch of 60 events for as many apps looked at 3,600 pairs. The
-- heads are read as they are locked, and looked up by their places.
CREATE OR REPLACE FUNCTION publish_groups(
    p_app uuid[], p_uid text[], p_count int[], p_least uuid, p_most uuid, p_events event_entry[]
) RETURNS TABLE (partition int, base bigint, config_version bigint, created_at float8)
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz;
    v_at float8;
    v_least uuid;
    v_most uuid;
    v_head int[];
    v_seq bigint[];
    v_partition int[];
    v_base bigint[];
    v_version bigint[];
BEGIN
    -- A statement of its own: what follows sees everything that was committed before the heads were ours. They are what they
    -- are once they are locked, whatever they were as the statement began.
    SELECT array_agg(l.partition), array_agg(l.seq) INTO v_head, v_seq FROM (
        SELECT h.partition, h.seq FROM log_head h
         WHERE h.partition = ANY (ARRAY (SELECT a.partition FROM app a WHERE a.id = ANY (p_app)))
         ORDER BY h.partition FOR UPDATE
    ) l;

    v_now := clock_timestamp();
    v_at := extract(epoch FROM v_now);
    v_least := lpad(to_hex(((v_at - 300) * 1000)::bigint), 12, '0') || repeat('0', 20);
    v_most := lpad(to_hex(((v_at + 300) * 1000)::bigint), 12, '0') || repeat('f', 20);
    IF p_least < v_least OR p_most > v_most THEN
        RAISE EXCEPTION 'event ids are more than five minutes off the clock of the database' USING ERRCODE = 'PH001';
    END IF;

    WITH found AS (
        SELECT u.ord, u.n, a.partition, a.config_version,
               sum(u.n) OVER (PARTITION BY a.partition ORDER BY u.ord) - u.n AS before
          FROM unnest(p_app, p_uid, p_count) WITH ORDINALITY u (app, uid, n, ord)
          LEFT JOIN app a ON a.id = u.app AND a.deleted_at IS NULL AND (u.uid IS NULL OR a.uid = u.uid)
               -- One that was made meanwhile, in a partition that is not locked, was not there as its events came.
               AND a.partition = ANY (v_head)
    ), head AS (
        UPDATE log_head h SET seq = h.seq + c.n
          FROM (SELECT f.partition, sum(f.n) AS n FROM found f GROUP BY f.partition) c
         WHERE h.partition = c.partition
    )
    SELECT array_agg(f.partition), array_agg(v_seq[array_position(v_head, f.partition)] + f.before), array_agg(f.config_version)
      INTO v_partition, v_base, v_version
      FROM (SELECT * FROM found ORDER BY ord) f;

    INSERT INTO event (id, partition, seq, app_id, config_version, type, subject, key, source, channels, attributes,
                       content_type, payload, expires_at, traceparent, cause, depth, created_at)
    SELECT u.id, v_partition[u.grp], v_base[u.grp] + u.nth, p_app[u.grp], v_version[u.grp], u.type, u.subject, u.key, u.source,
           string_to_array(u.channels, E'\x1f'), u.attributes, u.content_type, u.payload,
           to_timestamp(u.expires_at), u.traceparent, u.cause, u.depth, v_now
      FROM unnest(p_events) u
     WHERE v_partition[u.grp] IS NOT NULL;

    RETURN QUERY SELECT g.*, v_at FROM unnest(v_partition, v_base, v_version) g;
END $$;
