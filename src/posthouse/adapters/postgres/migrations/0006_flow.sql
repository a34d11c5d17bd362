-- Flow control: ordered lines, the health of endpoints with their circuits, and a journal that knows of both.

-- How an endpoint has been doing besides `failing_since`: its circuit, and until when it asked to be left alone.
ALTER TABLE endpoint_health
    ADD COLUMN circuit    text NOT NULL DEFAULT 'closed' CHECK (circuit IN ('closed', 'open', 'half_open')),
    ADD COLUMN opened_at  timestamptz,
    ADD COLUMN probe_at   timestamptz,
    ADD COLUMN trips      int NOT NULL DEFAULT 0,
    ADD COLUMN held_until timestamptz;

-- `key_hash` is the line of a delivery (`domain/order.py`); 0: none. Of each line the first by `seq` is due at some time,
-- the others at 'infinity'.
CREATE INDEX delivery_line ON delivery (partition, endpoint_id, key_hash, seq) WHERE key_hash <> 0;
CREATE INDEX delivery_line_due ON delivery (partition, endpoint_id, key_hash, seq) WHERE key_hash <> 0 AND due_at < 'infinity';

-- Puts lines in order, in the transaction of whatever changed them and after it: the first of each is due (at `p_now` if it
-- was waiting for another; a blocked one stays), the others wait. Returns when the first of each line is due: 'Infinity'
-- for a line that is blocked, NULL for one that is empty. Lines of partitions that are not `p_held` are left alone.
CREATE FUNCTION order_lines(p_now float8, p_held int[], l_partition int[], l_endpoint uuid[], l_line bigint[])
RETURNS TABLE (endpoints uuid[], lines bigint[], dues float8[])
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    UPDATE delivery d SET due_at = 'infinity'
      FROM (
        SELECT u.p, u.ep, u.line, h.seq
          FROM unnest(l_partition, l_endpoint, l_line) u (p, ep, line)
         CROSS JOIN LATERAL (
            SELECT f.seq FROM delivery f WHERE f.partition = u.p AND f.endpoint_id = u.ep AND f.key_hash = u.line AND f.key_hash <> 0
             ORDER BY f.seq LIMIT 1
         ) h
         WHERE u.p = ANY (p_held)
      ) first
     WHERE d.partition = first.p AND d.endpoint_id = first.ep AND d.key_hash = first.line AND d.key_hash <> 0
       AND d.seq > first.seq AND d.due_at < 'infinity';

    UPDATE delivery d SET due_at = to_timestamp(p_now)
      FROM (
        SELECT h.partition, h.endpoint_id, h.event_id
          FROM unnest(l_partition, l_endpoint, l_line) u (p, ep, line)
         CROSS JOIN LATERAL (
            SELECT f.partition, f.endpoint_id, f.event_id, f.due_at, f.reason FROM delivery f
             WHERE f.partition = u.p AND f.endpoint_id = u.ep AND f.key_hash = u.line AND f.key_hash <> 0 ORDER BY f.seq LIMIT 1
         ) h
         WHERE u.p = ANY (p_held) AND h.due_at = 'infinity' AND h.reason <> 'blocked'
      ) first
     WHERE d.partition = first.partition AND d.endpoint_id = first.endpoint_id AND d.event_id = first.event_id;

    RETURN QUERY
    SELECT array_agg(u.ep), array_agg(u.line), array_agg(extract(epoch FROM h.due_at)::float8)
      FROM unnest(l_partition, l_endpoint, l_line) u (p, ep, line)
      LEFT JOIN LATERAL (
        SELECT f.due_at FROM delivery f WHERE f.partition = u.p AND f.endpoint_id = u.ep AND f.key_hash = u.line AND f.key_hash <> 0
         ORDER BY f.seq LIMIT 1
      ) h ON true
     WHERE u.p = ANY (p_held);
END $$;

-- As before, with lines, with an endpoint's whole health, with follow-ups that carry data, and with the id of a request that
-- several attempts share.
DROP FUNCTION journal;
-- Writes one batch of results for the partitions that `p_owner` still holds under these epochs; returns those.
-- With `p_again` the batch was sent before and its fate is unknown: an attempt of it that is there says it was written.
-- `l_…` are the ordered lines that the batch changes, which are put in order; what came of them is returned beside.
CREATE FUNCTION journal(
    p_owner uuid, p_lease_seconds float8, p_again boolean, p_now float8, p_partition int[], p_epoch bigint[],
    a_partition int[], a_id uuid[], a_app uuid[], a_endpoint uuid[], a_event uuid[], a_seq bigint[], a_number smallint[],
    a_kind text[], a_outcome text[], a_reason text[], a_sent boolean[], a_revision int[], a_url text[], a_address text[],
    a_started float8[], a_status smallint[], a_dns int[], a_connect int[], a_tls int[], a_first int[], a_total int[],
    a_headers bytea[], a_body bytea[], a_error text[], a_request uuid[],
    o_partition int[], o_endpoint uuid[], o_event uuid[], o_seq bigint[], o_kind text[], o_number smallint[],
    o_due float8[], o_reason text[], o_sender uuid[], o_expires float8[], o_bytes int[], o_line bigint[], o_known boolean[],
    s_partition int[], s_endpoint uuid[], s_event uuid[],
    c_partition int[], c_seq bigint[], c_at float8[],
    e_partition int[], e_id uuid[], e_endpoint uuid[], e_kind text[], e_reason text[], e_data text[],
    h_partition int[], h_endpoint uuid[], h_since float8[], h_circuit text[], h_opened float8[], h_probe float8[], h_trips int[],
    h_held float8[],
    l_partition int[], l_endpoint uuid[], l_line bigint[],
    r_partition int[], r_minute bigint[], r_app uuid[], r_endpoint uuid[], r_delivered int[], r_failed int[],
    r_gave_up int[], r_total bigint[]
) RETURNS TABLE (held int[], lines_endpoint uuid[], lines_line bigint[], lines_due float8[])
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
    -- The row lock and the check of owner and epoch are what fences: a condition alone would let a stale owner commit
    -- after its successor has derived.
    SELECT array_agg(l.id) INTO held FROM (
        SELECT p.id FROM partition p JOIN unnest(p_partition, p_epoch) u (id, epoch) USING (id)
         WHERE p.epoch = u.epoch AND p.owner = p_owner ORDER BY p.id FOR NO KEY UPDATE OF p
    ) l;
    IF held IS NULL THEN
        held := '{}';
        RETURN NEXT;
        RETURN;
    END IF;
    -- Any attempt will do, of whatever partition: the doubtful transaction wrote for all it held, and so for all held now.
    IF p_again AND EXISTS (
        SELECT 1 FROM attempt t JOIN unnest(a_partition, a_id) u (partition, id) ON t.partition = u.partition AND t.id = u.id
    ) THEN
        UPDATE partition SET lease_until = clock_timestamp() + make_interval(secs => p_lease_seconds) WHERE id = ANY (held);
        SELECT * INTO lines_endpoint, lines_line, lines_due FROM order_lines(p_now, held, l_partition, l_endpoint, l_line);
        RETURN NEXT;
        RETURN;
    END IF;

    IF a_id <> '{}' THEN
        INSERT INTO attempt (partition, id, app_id, endpoint_id, event_id, seq, number, kind, outcome, reason, sent,
                             revision, url, address, started_at, status, dns_us, connect_us, tls_us, first_byte_us,
                             total_us, response_headers, response_body, error, request_id)
        SELECT u.p, u.id, u.app, u.ep, u.ev, u.seq, u.number, u.kind, u.outcome, u.reason, u.sent, u.revision, u.url,
               u.address, to_timestamp(u.started), u.status, u.dns, u.connect, u.tls, u.first, u.total,
               u.headers, u.body, u.error, u.request
          FROM unnest(a_partition, a_id, a_app, a_endpoint, a_event, a_seq, a_number, a_kind, a_outcome, a_reason, a_sent,
                      a_revision, a_url, a_address, a_started, a_status, a_dns, a_connect, a_tls, a_first, a_total,
                      a_headers, a_body, a_error, a_request)
               u (p, id, app, ep, ev, seq, number, kind, outcome, reason, sent, revision, url, address, started, status,
                  dns, connect, tls, first, total, headers, body, error, request)
         WHERE u.p = ANY (held);
    END IF;

    IF s_event <> '{}' THEN
        DELETE FROM delivery d USING unnest(s_partition, s_endpoint, s_event) u (p, ep, ev)
         WHERE d.partition = u.p AND d.endpoint_id = u.ep AND d.event_id = u.ev AND u.p = ANY (held);
    END IF;

    IF o_event <> '{}' THEN
        INSERT INTO delivery (partition, endpoint_id, event_id, seq, kind, number, due_at, reason, sender, expires_at,
                              payload_bytes, key_hash)
        SELECT u.p, u.ep, u.ev, u.seq, u.kind, u.number, to_timestamp(u.due), u.reason, u.sender,
               to_timestamp(u.expires), u.bytes, u.line
          FROM unnest(o_partition, o_endpoint, o_event, o_seq, o_kind, o_number, o_due, o_reason, o_sender, o_expires, o_bytes,
                      o_line, o_known)
               u (p, ep, ev, seq, kind, number, due, reason, sender, expires, bytes, line, known)
         WHERE u.p = ANY (held)
           -- One that was there, and that somebody took away beside us (cancelled), does not come back.
           AND (NOT u.known OR EXISTS (
                SELECT 1 FROM delivery d WHERE d.partition = u.p AND d.endpoint_id = u.ep AND d.event_id = u.ev))
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

    IF l_line <> '{}' THEN
        SELECT * INTO lines_endpoint, lines_line, lines_due FROM order_lines(p_now, held, l_partition, l_endpoint, l_line);
    END IF;

    UPDATE partition p
       SET cursor = greatest(p.cursor, u.seq), cursor_at = greatest(p.cursor_at, to_timestamp(u.at)),
           lease_until = clock_timestamp() + make_interval(secs => p_lease_seconds)
      FROM unnest(held) h (id) LEFT JOIN unnest(c_partition, c_seq, c_at) u (id, seq, at) ON u.id = h.id
     WHERE p.id = h.id;
    RETURN NEXT;
END $$;
