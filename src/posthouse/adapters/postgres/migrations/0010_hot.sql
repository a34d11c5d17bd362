-- Calls of the hot functions are many and small: what they cost was mostly the planning of their statements, anew in each
-- call. They keep one plan, made of nested loops over indexes: it is right for an empty table and for a large one, whatever
-- the planner last heard of their sizes.
ALTER FUNCTION journal
    SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off;
ALTER FUNCTION publish SET plan_cache_mode = 'force_generic_plan'; -- it joins the batch with itself: hashes are right

-- As `publish`, for a batch in which every event has an app and none has an idempotency key: nearly all of them. Answers a row
-- for each event that was appended, in any order; of those missing there is no app. Columns may be shorter than `p_id`, the
-- rest of them is NULL.
CREATE FUNCTION publish_plain(
    p_id uuid[], p_app uuid[], p_uid text[], p_type text[], p_content_type text[], p_payload bytea[],
    p_subject text[], p_key text[], p_source text[], p_channels text[], p_attributes bytea[],
    p_expires_at float8[], p_traceparent text[], p_cause uuid[], p_depth smallint[]
) RETURNS TABLE (event_id uuid, partition int, seq bigint, config_version bigint, created_at float8)
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz;
    v_at float8;
BEGIN
    -- A statement of its own: what follows sees everything that was committed before the heads were ours.
    PERFORM 1 FROM log_head h
     WHERE h.partition IN (SELECT a.partition FROM app a WHERE a.id = ANY (p_app))
     ORDER BY h.partition FOR UPDATE;

    v_now := clock_timestamp();
    v_at := extract(epoch FROM v_now);
    IF EXISTS (
        SELECT 1 FROM unnest(p_id) i
         WHERE i < (lpad(to_hex(((v_at - 300) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
            OR i > (lpad(to_hex(((v_at + 300) * 1000)::bigint), 12, '0') || repeat('f', 20))::uuid
    ) THEN
        RAISE EXCEPTION 'event ids are more than five minutes off the clock of the database' USING ERRCODE = 'PH001';
    END IF;

    RETURN QUERY
    WITH incoming AS (
        SELECT u.*, a.partition AS app_partition, a.config_version AS app_version,
               row_number() OVER (PARTITION BY a.partition ORDER BY u.ord) AS n
          FROM unnest(p_id, p_app, p_uid, p_type, p_content_type, p_payload, p_subject, p_key, p_source, p_channels, p_attributes,
                      p_expires_at, p_traceparent, p_cause, p_depth)
               WITH ORDINALITY AS u (id, app_id, uid, type, content_type, payload, subject, key, source, channels, attributes,
                      expires_at, traceparent, cause, depth, ord)
          JOIN app a ON a.id = u.app_id AND a.deleted_at IS NULL AND (u.uid IS NULL OR a.uid = u.uid)
    ), head AS (
        UPDATE log_head h SET seq = h.seq + c.n
          FROM (SELECT f.app_partition, count(*) AS n FROM incoming f GROUP BY f.app_partition) c
         WHERE h.partition = c.app_partition
        RETURNING h.partition, h.seq - c.n AS base
    )
    INSERT INTO event AS e (id, partition, seq, app_id, config_version, type, subject, key, source, channels, attributes,
                       content_type, payload, expires_at, traceparent, cause, depth, created_at)
    SELECT f.id, f.app_partition, h.base + f.n, f.app_id, f.app_version, f.type, f.subject, f.key, f.source,
           string_to_array(f.channels, E'\x1f'), f.attributes, f.content_type, f.payload,
           to_timestamp(f.expires_at), f.traceparent, f.cause, coalesce(f.depth, 0), v_now
      FROM incoming f JOIN head h ON h.partition = f.app_partition
    RETURNING e.id, e.partition, e.seq, e.config_version, v_at;
END $$;
