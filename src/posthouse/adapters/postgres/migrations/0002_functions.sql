-- The two hot statements, each one round trip: `publish` appends, `journal` writes what came of it.
-- Both work on whatever group of partitions they are given.

-- Appends a batch. Array element i of every argument belongs to event i; `unnest` keeps them together.
-- An app named by its uid is checked here, so that a uid that moved to another app is noticed, whatever a cache says.
-- Answers one row an event: 'appended', 'repeated' (the idempotency key was seen within a day) or 'missing' (no such app).
-- Ids more than five minutes off this database's clock are refused for the whole batch (SQLSTATE PH001).
CREATE FUNCTION publish(
    p_id uuid[], p_app uuid[], p_uid text[], p_type text[], p_content_type text[], p_payload bytea[],
    p_subject text[], p_key text[], p_source text[], p_channels text[], p_attributes bytea[],
    p_expires_at float8[], p_traceparent text[], p_cause uuid[], p_depth smallint[],
    p_idempotency text[], p_fingerprint bytea[]
) RETURNS TABLE (
    verdict text, partition int, seq bigint, config_version bigint, created_at float8, known_id uuid, known_fingerprint bytea
)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz;
    v_keyed boolean := array_remove(p_idempotency, NULL) <> '{}';
BEGIN
    -- A statement of its own: what follows sees everything that was committed before the heads were ours.
    PERFORM 1 FROM log_head h
     WHERE h.partition IN (SELECT a.partition FROM app a WHERE a.id = ANY (p_app))
     ORDER BY h.partition FOR UPDATE;

    v_now := clock_timestamp();
    IF EXISTS (
        SELECT 1 FROM unnest(p_id) i
         WHERE abs(('x' || left(translate(i::text, '-', ''), 12))::bit(48)::bigint / 1000.0 - extract(epoch FROM v_now)) > 300
    ) THEN
        RAISE EXCEPTION 'event ids are more than five minutes off the clock of the database' USING ERRCODE = 'PH001';
    END IF;

    RETURN QUERY
    WITH incoming AS (
        SELECT u.*, a.partition AS app_partition, a.config_version AS app_version
          FROM unnest(p_id, p_app, p_uid, p_type, p_content_type, p_payload, p_subject, p_key, p_source, p_channels, p_attributes,
                      p_expires_at, p_traceparent, p_cause, p_depth, p_idempotency, p_fingerprint)
               WITH ORDINALITY AS u (id, app_id, uid, type, content_type, payload, subject, key, source, channels, attributes,
                      expires_at, traceparent, cause, depth, idempotency, fingerprint, ord)
          LEFT JOIN app a ON a.id = u.app_id AND a.deleted_at IS NULL AND (u.uid IS NULL OR a.uid = u.uid)
    ), known AS (
        SELECT i.ord, k.event_id, k.fingerprint, k.created_at
          FROM incoming i
          JOIN event_key k ON k.partition = i.app_partition AND k.app_id = i.app_id AND k.key = i.idempotency
                          AND k.created_at > v_now - interval '24 hours'
         WHERE v_keyed
    ), fresh AS (
        SELECT i.*, row_number() OVER (PARTITION BY i.app_partition ORDER BY i.ord) AS n
          FROM incoming i
         WHERE i.app_partition IS NOT NULL AND (NOT v_keyed OR NOT EXISTS (SELECT 1 FROM known k WHERE k.ord = i.ord))
    ), head AS (
        UPDATE log_head h SET seq = h.seq + c.n
          FROM (SELECT f.app_partition, count(*) AS n FROM fresh f GROUP BY f.app_partition) c
         WHERE h.partition = c.app_partition
        RETURNING h.partition, h.seq - c.n AS base
    ), stored AS (
        INSERT INTO event (id, partition, seq, app_id, config_version, type, subject, key, source, channels, attributes,
                           content_type, payload, expires_at, traceparent, cause, depth, created_at)
        SELECT f.id, f.app_partition, h.base + f.n, f.app_id, f.app_version, f.type, f.subject, f.key, f.source,
               string_to_array(f.channels, E'\x1f'), f.attributes, f.content_type, f.payload,
               to_timestamp(f.expires_at), f.traceparent, f.cause, f.depth, v_now
          FROM fresh f JOIN head h ON h.partition = f.app_partition
    ), keyed AS (
        INSERT INTO event_key (partition, app_id, key, event_id, fingerprint, created_at)
        SELECT f.app_partition, f.app_id, f.idempotency, f.id, f.fingerprint, v_now
          FROM fresh f WHERE f.idempotency IS NOT NULL
    )
    SELECT CASE WHEN i.app_partition IS NULL THEN 'missing' WHEN k.ord IS NOT NULL THEN 'repeated' ELSE 'appended' END,
           i.app_partition, h.base + f.n, i.app_version,
           extract(epoch FROM coalesce(k.created_at, v_now))::float8, k.event_id, k.fingerprint
      FROM incoming i
      LEFT JOIN known k ON k.ord = i.ord
      LEFT JOIN fresh f ON f.ord = i.ord
      LEFT JOIN head h ON h.partition = f.app_partition
     ORDER BY i.ord;
END $$;

-- Writes one batch of results for the partitions that `p_owner` still holds under these epochs; returns those.
-- With `p_again` the batch was sent before and its fate is unknown: an attempt of it that is there says it was written.
CREATE FUNCTION journal(
    p_owner uuid, p_lease_seconds float8, p_again boolean, p_partition int[], p_epoch bigint[],
    a_partition int[], a_id uuid[], a_app uuid[], a_endpoint uuid[], a_event uuid[], a_seq bigint[], a_number smallint[],
    a_kind text[], a_outcome text[], a_reason text[], a_sent boolean[], a_revision int[], a_url text[], a_address text[],
    a_started float8[], a_status smallint[], a_dns int[], a_connect int[], a_tls int[], a_first int[], a_total int[],
    a_headers bytea[], a_body bytea[], a_error text[],
    o_partition int[], o_endpoint uuid[], o_event uuid[], o_seq bigint[], o_kind text[], o_number smallint[],
    o_due float8[], o_reason text[], o_sender uuid[], o_expires float8[], o_bytes int[],
    s_partition int[], s_endpoint uuid[], s_event uuid[],
    c_partition int[], c_seq bigint[], c_at float8[],
    e_partition int[], e_id uuid[], e_endpoint uuid[], e_kind text[], e_reason text[],
    h_partition int[], h_endpoint uuid[], h_since float8[],
    r_partition int[], r_minute bigint[], r_app uuid[], r_endpoint uuid[], r_delivered int[], r_failed int[],
    r_gave_up int[], r_total bigint[]
) RETURNS int[]
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    held int[];
BEGIN
    -- The row lock and the check of owner and epoch are what fences: a condition alone would let a stale owner commit
    -- after its successor has derived.
    SELECT array_agg(l.id) INTO held FROM (
        SELECT p.id FROM partition p JOIN unnest(p_partition, p_epoch) u (id, epoch) USING (id)
         WHERE p.epoch = u.epoch AND p.owner = p_owner ORDER BY p.id FOR NO KEY UPDATE OF p
    ) l;
    IF held IS NULL THEN
        RETURN '{}';
    END IF;
    -- Any attempt will do, of whatever partition: the doubtful transaction wrote for all it held, and so for all held now.
    IF p_again AND EXISTS (
        SELECT 1 FROM attempt t JOIN unnest(a_partition, a_id) u (partition, id) ON t.partition = u.partition AND t.id = u.id
    ) THEN
        UPDATE partition SET lease_until = clock_timestamp() + make_interval(secs => p_lease_seconds) WHERE id = ANY (held);
        RETURN held;
    END IF;

    IF a_id <> '{}' THEN
        INSERT INTO attempt (partition, id, app_id, endpoint_id, event_id, seq, number, kind, outcome, reason, sent,
                             revision, url, address, started_at, status, dns_us, connect_us, tls_us, first_byte_us,
                             total_us, response_headers, response_body, error)
        SELECT u.p, u.id, u.app, u.ep, u.ev, u.seq, u.number, u.kind, u.outcome, u.reason, u.sent, u.revision, u.url,
               u.address, to_timestamp(u.started), u.status, u.dns, u.connect, u.tls, u.first, u.total,
               u.headers, u.body, u.error
          FROM unnest(a_partition, a_id, a_app, a_endpoint, a_event, a_seq, a_number, a_kind, a_outcome, a_reason, a_sent,
                      a_revision, a_url, a_address, a_started, a_status, a_dns, a_connect, a_tls, a_first, a_total,
                      a_headers, a_body, a_error)
               u (p, id, app, ep, ev, seq, number, kind, outcome, reason, sent, revision, url, address, started, status,
                  dns, connect, tls, first, total, headers, body, error)
         WHERE u.p = ANY (held);
    END IF;

    IF s_event <> '{}' THEN
        DELETE FROM delivery d USING unnest(s_partition, s_endpoint, s_event) u (p, ep, ev)
         WHERE d.partition = u.p AND d.endpoint_id = u.ep AND d.event_id = u.ev AND u.p = ANY (held);
    END IF;

    IF o_event <> '{}' THEN
        INSERT INTO delivery (partition, endpoint_id, event_id, seq, kind, number, due_at, reason, sender, expires_at,
                              payload_bytes)
        SELECT u.p, u.ep, u.ev, u.seq, u.kind, u.number, to_timestamp(u.due), u.reason, u.sender,
               to_timestamp(u.expires), u.bytes
          FROM unnest(o_partition, o_endpoint, o_event, o_seq, o_kind, o_number, o_due, o_reason, o_sender, o_expires, o_bytes)
               u (p, ep, ev, seq, kind, number, due, reason, sender, expires, bytes)
         WHERE u.p = ANY (held)
        ON CONFLICT (partition, endpoint_id, event_id) DO UPDATE
           SET kind = EXCLUDED.kind, number = EXCLUDED.number, due_at = EXCLUDED.due_at, reason = EXCLUDED.reason,
               sender = EXCLUDED.sender;
    END IF;

    IF e_id <> '{}' THEN
        INSERT INTO effect (partition, id, endpoint_id, kind, reason)
        SELECT u.p, u.id, u.ep, u.kind, u.reason
          FROM unnest(e_partition, e_id, e_endpoint, e_kind, e_reason) u (p, id, ep, kind, reason)
         WHERE u.p = ANY (held)
        ON CONFLICT DO NOTHING;
    END IF;

    IF h_endpoint <> '{}' THEN
        INSERT INTO endpoint_health (partition, endpoint_id, failing_since)
        SELECT u.p, u.ep, to_timestamp(u.since) FROM unnest(h_partition, h_endpoint, h_since) u (p, ep, since)
         WHERE u.p = ANY (held)
        ON CONFLICT (partition, endpoint_id) DO UPDATE
           SET failing_since = CASE WHEN EXCLUDED.failing_since IS NULL THEN NULL
                                    ELSE least(endpoint_health.failing_since, EXCLUDED.failing_since) END;
    END IF;

    IF r_endpoint <> '{}' THEN
        INSERT INTO rollup_minute AS r (partition, minute, app_id, endpoint_id, delivered, failed, gave_up, total_us)
        SELECT u.p, to_timestamp(u.minute * 60), u.app, u.ep, u.delivered, u.failed, u.gave_up, u.total
          FROM unnest(r_partition, r_minute, r_app, r_endpoint, r_delivered, r_failed, r_gave_up, r_total)
               u (p, minute, app, ep, delivered, failed, gave_up, total)
         WHERE u.p = ANY (held)
        ON CONFLICT (partition, endpoint_id, minute) DO UPDATE
           SET delivered = r.delivered + EXCLUDED.delivered, failed = r.failed + EXCLUDED.failed,
               gave_up = r.gave_up + EXCLUDED.gave_up, total_us = r.total_us + EXCLUDED.total_us;
    END IF;

    UPDATE partition p
       SET cursor = greatest(p.cursor, u.seq), cursor_at = greatest(p.cursor_at, to_timestamp(u.at)),
           lease_until = clock_timestamp() + make_interval(secs => p_lease_seconds)
      FROM unnest(held) h (id) LEFT JOIN unnest(c_partition, c_seq, c_at) u (id, seq, at) ON u.id = h.id
     WHERE p.id = h.id;
    RETURN held;
END $$;

-- Bumps the configuration of an app: its partition's counter, and the app stamped with it. Called by every change to the
-- app, its grants or its endpoints, in that change's transaction.
CREATE FUNCTION bump_config(p_app uuid) RETURNS bigint
LANGUAGE sql VOLATILE AS $$
    WITH head AS (
        UPDATE config_head c SET version = c.version + 1 FROM app a WHERE a.id = p_app AND c.partition = a.partition
        RETURNING c.version
    )
    UPDATE app SET config_version = head.version, updated_at = clock_timestamp() FROM head WHERE app.id = p_app
    RETURNING app.config_version
$$;

-- Makes the partitions of a new installation; does nothing on one that exists.
CREATE FUNCTION install(p_partitions int) RETURNS int
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    n int;
BEGIN
    INSERT INTO installation (partitions) VALUES (p_partitions) ON CONFLICT DO NOTHING;
    SELECT partitions INTO n FROM installation;
    INSERT INTO log_head (partition) SELECT generate_series(0, n - 1) ON CONFLICT DO NOTHING;
    INSERT INTO partition (id) SELECT generate_series(0, n - 1) ON CONFLICT DO NOTHING;
    INSERT INTO config_head (partition) SELECT generate_series(-1, n - 1) ON CONFLICT DO NOTHING;
    RETURN n;
END $$;
