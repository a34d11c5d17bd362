-- Batches of results are numbered by their owner, under each epoch: one whose fate was unknown, and that was sent again, is written once
-- though it holds no attempt that would tell, and a statement that was thought lost does nothing when it is carried out after all.
ALTER TABLE partition ADD COLUMN batch_epoch bigint NOT NULL DEFAULT 0, ADD COLUMN batch bigint NOT NULL DEFAULT 0;

-- As `journal_counted`, for a batch of this number (0: none); what was written up to it is not written once more.
CREATE FUNCTION journal_numbered(
    p_owner uuid, p_lease_seconds float8, p_number bigint, p_now float8, p_partition int[], p_epoch bigint[],
    p_attempts attempt_record[], p_owed delivery_row[],
    s_partition int[], s_endpoint uuid[], s_event uuid[],
    c_partition int[], c_seq bigint[], c_at float8[],
    e_partition int[], e_id uuid[], e_endpoint uuid[], e_kind text[], e_reason text[], e_data text[],
    h_partition int[], h_endpoint uuid[], h_since float8[], h_circuit text[], h_opened float8[], h_probe float8[], h_trips int[],
    h_held float8[],
    l_partition int[], l_endpoint uuid[], l_line bigint[],
    p_rollups rollup_record[]
) RETURNS TABLE (held int[], lines_endpoint uuid[], lines_line bigint[], lines_due float8[])
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    v_written boolean;
BEGIN
    -- The row lock and the check of owner and epoch are what fences: a condition alone would let a stale owner commit
    -- after its successor has derived.
    SELECT array_agg(l.id), bool_or(l.written) INTO held, v_written FROM (
        SELECT p.id, p_number > 0 AND p.batch_epoch = p.epoch AND p.batch >= p_number AS written
          FROM partition p JOIN unnest(p_partition, p_epoch) u (id, epoch) USING (id)
         WHERE p.epoch = u.epoch AND p.owner = p_owner ORDER BY p.id FOR NO KEY UPDATE OF p
    ) l;
    IF held IS NULL THEN
        held := '{}';
        RETURN NEXT;
        RETURN;
    END IF;
    -- One partition will do: a transaction writes for all that it holds, and so for all that are held still.
    IF v_written THEN
        UPDATE partition SET lease_until = clock_timestamp() + make_interval(secs => p_lease_seconds) WHERE id = ANY (held);
        SELECT * INTO lines_endpoint, lines_line, lines_due FROM order_lines(p_now, held, l_partition, l_endpoint, l_line);
        RETURN NEXT;
        RETURN;
    END IF;

    IF cardinality(p_attempts) > 0 THEN
        INSERT INTO attempt (partition, id, app_id, endpoint_id, event_id, seq, number, kind, outcome, reason, sent,
                             revision, url, address, started_at, status, dns_us, connect_us, tls_us, first_byte_us,
                             total_us, response_headers, response_body, error, request_id, reaction)
        SELECT u.partition, u.id, u.app_id, u.endpoint_id, u.event_id, u.seq, u.number, u.kind, u.outcome, u.reason, u.sent,
               u.revision, u.url, u.address, to_timestamp(u.started_at), u.status, u.dns_us, u.connect_us, u.tls_us,
               u.first_byte_us, u.total_us, u.response_headers, u.response_body, u.error, u.request_id, u.reaction
          FROM unnest(p_attempts) u
         WHERE u.partition = ANY (held);
    END IF;

    IF s_event <> '{}' THEN
        DELETE FROM delivery d USING unnest(s_partition, s_endpoint, s_event) u (p, ep, ev)
         WHERE d.partition = u.p AND d.endpoint_id = u.ep AND d.event_id = u.ev AND u.p = ANY (held);
    END IF;

    IF cardinality(p_owed) > 0 THEN
        INSERT INTO delivery (partition, endpoint_id, event_id, seq, kind, number, due_at, reason, sender, expires_at,
                              payload_bytes, key_hash)
        SELECT u.partition, u.endpoint_id, u.event_id, u.seq, u.kind, u.number, to_timestamp(u.due_at), u.reason, u.sender,
               to_timestamp(u.expires_at), u.payload_bytes, u.line
          FROM unnest(p_owed) u
         WHERE u.partition = ANY (held)
           -- One that was there, and that somebody took away beside us (cancelled), does not come back.
           AND (NOT u.known OR EXISTS (
                SELECT 1 FROM delivery d
                 WHERE d.partition = u.partition AND d.endpoint_id = u.endpoint_id AND d.event_id = u.event_id))
        ON CONFLICT (partition, endpoint_id, event_id) DO UPDATE
           SET kind = EXCLUDED.kind, number = EXCLUDED.number, due_at = EXCLUDED.due_at, reason = EXCLUDED.reason,
               sender = EXCLUDED.sender, key_hash = EXCLUDED.key_hash;
    END IF;

    IF e_id <> '{}' THEN
        INSERT INTO effect (partition, id, endpoint_id, kind, reason, data)
        SELECT u.p, u.id, u.ep, u.kind, u.reason, u.data::jsonb
          FROM unnest(e_partition, e_id, e_endpoint, e_kind, e_reason, e_data) u (p, id, ep, kind, reason, data)
         WHERE u.p = ANY (held)
        ON CONFLICT DO NOTHING;
    END IF;

    IF h_endpoint <> '{}' THEN
        INSERT INTO endpoint_health (partition, endpoint_id, failing_since, circuit, opened_at, probe_at, trips, held_until)
        SELECT u.p, u.ep, to_timestamp(u.since), u.circuit, to_timestamp(u.opened), to_timestamp(u.probe), u.trips,
               to_timestamp(u.until)
          FROM unnest(h_partition, h_endpoint, h_since, h_circuit, h_opened, h_probe, h_trips, h_held)
               u (p, ep, since, circuit, opened, probe, trips, until)
         WHERE u.p = ANY (held)
        ON CONFLICT (partition, endpoint_id) DO UPDATE
           SET failing_since = CASE WHEN EXCLUDED.failing_since IS NULL THEN NULL
                                    ELSE least(endpoint_health.failing_since, EXCLUDED.failing_since) END,
               circuit = EXCLUDED.circuit, opened_at = EXCLUDED.opened_at, probe_at = EXCLUDED.probe_at,
               trips = EXCLUDED.trips, held_until = EXCLUDED.held_until;
    END IF;

    IF cardinality(p_rollups) > 0 THEN
        INSERT INTO rollup_minute AS r (partition, minute, app_id, endpoint_id, delivered, failed, gave_up, total_us, latency)
        SELECT u.partition, to_timestamp(u.minute * 60), u.app_id, u.endpoint_id, u.delivered, u.failed, u.gave_up, u.total_us,
               u.latency
          FROM unnest(p_rollups) u
         WHERE u.partition = ANY (held)
        ON CONFLICT (partition, endpoint_id, minute) DO UPDATE
           SET delivered = r.delivered + EXCLUDED.delivered, failed = r.failed + EXCLUDED.failed,
               gave_up = r.gave_up + EXCLUDED.gave_up, total_us = r.total_us + EXCLUDED.total_us,
               latency = ARRAY (SELECT coalesce(a, 0) + coalesce(b, 0) FROM unnest(r.latency, EXCLUDED.latency) s (a, b));
    END IF;

    IF l_line <> '{}' THEN
        SELECT * INTO lines_endpoint, lines_line, lines_due FROM order_lines(p_now, held, l_partition, l_endpoint, l_line);
    END IF;

    UPDATE partition p
       SET cursor = greatest(p.cursor, u.seq), cursor_at = greatest(p.cursor_at, to_timestamp(u.at)),
           lease_until = clock_timestamp() + make_interval(secs => p_lease_seconds),
           batch = CASE WHEN p_number > 0 THEN p_number ELSE p.batch END,
           batch_epoch = CASE WHEN p_number > 0 THEN p.epoch ELSE p.batch_epoch END
      FROM unnest(held) h (id) LEFT JOIN unnest(c_partition, c_seq, c_at) u (id, seq, at) ON u.id = h.id
     WHERE p.id = h.id;
    RETURN NEXT;
END $$;
