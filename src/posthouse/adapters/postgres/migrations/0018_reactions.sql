-- What a target's answer makes happen: events for one endpoint alone, or for a URL; a rate for a while; what a rule did, on record.

-- `only_endpoint`: nobody else hears of the event. `to_url`: it goes there, spoken to as that endpoint is.
ALTER TABLE event ADD COLUMN only_endpoint uuid, ADD COLUMN to_url text;

-- At most so many requests a second, until then.
ALTER TABLE endpoint_health ADD COLUMN throttle_per_second float8, ADD COLUMN throttle_until timestamptz;

-- Which response rule of the endpoint was the one that counted, and what it did: JSON, as text.
ALTER TABLE attempt ADD COLUMN reaction text;

CREATE TYPE attempt_record AS (
    partition int, id uuid, app_id uuid, endpoint_id uuid, event_id uuid, seq bigint, number smallint, kind text, outcome text,
    reason text, sent boolean, revision int, url text, address text, started_at float8, status smallint, dns_us int,
    connect_us int, tls_us int, first_byte_us int, total_us int, response_headers bytea, response_body bytea, error text,
    request_id uuid, reaction text
);
CREATE TYPE follow_up_row AS (
    partition int, effect uuid, id uuid, app_id uuid, type text, content_type text, payload bytea, subject text, key text,
    cause uuid, depth smallint, only_endpoint uuid, to_url text
);

-- As `journal_rows` (0016_rows.sql), whose function the version before this one calls, and what a rule did.
-- Writes one batch of results for the partitions that `p_owner` still holds under these epochs; returns those.
-- With `p_again` the batch was sent before and its fate is unknown: an attempt of it that is there says it was written.
-- `l_…` are the ordered lines that the batch changes, which are put in order; what came of them is returned beside.
CREATE FUNCTION journal_records(
    p_owner uuid, p_lease_seconds float8, p_again boolean, p_now float8, p_partition int[], p_epoch bigint[],
    p_attempts attempt_record[], p_owed delivery_row[],
    s_partition int[], s_endpoint uuid[], s_event uuid[],
    c_partition int[], c_seq bigint[], c_at float8[],
    e_partition int[], e_id uuid[], e_endpoint uuid[], e_kind text[], e_reason text[], e_data text[],
    h_partition int[], h_endpoint uuid[], h_since float8[], h_circuit text[], h_opened float8[], h_probe float8[], h_trips int[],
    h_held float8[],
    l_partition int[], l_endpoint uuid[], l_line bigint[],
    r_partition int[], r_minute bigint[], r_app uuid[], r_endpoint uuid[], r_delivered int[], r_failed int[],
    r_gave_up int[], r_total bigint[]
) RETURNS TABLE (held int[], lines_endpoint uuid[], lines_line bigint[], lines_due float8[])
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
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
        SELECT 1 FROM attempt t JOIN unnest(p_attempts) u ON t.partition = u.partition AND t.id = u.id
    ) THEN
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

-- Publishes what follow-ups tell, in whichever apps, and removes their effects, in one transaction: each is published once, whoever
-- asks how often. Answers, by `ord` (from 1, of `p_rows`), where those are that were still there; of an app that is gone nothing is.
CREATE FUNCTION publish_follow_ups(p_rows follow_up_row[])
RETURNS TABLE (ord int, partition int, seq bigint, config_version bigint, created_at float8)
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz;
    v_at float8;
    v_least uuid;
    v_most uuid;
    v_there int[];
BEGIN
    -- First the heads, in order, as in every publish: two that do the same effects would else wait for each other. And in a
    -- statement of its own: the next one sees what whoever held a head before has removed.
    PERFORM 1 FROM log_head h
     WHERE h.partition IN (SELECT a.partition FROM app a WHERE a.id = ANY (ARRAY (SELECT app_id FROM unnest(p_rows))))
     ORDER BY h.partition FOR UPDATE;

    v_now := clock_timestamp();
    v_at := extract(epoch FROM v_now);
    v_least := lpad(to_hex(((v_at - 300) * 1000)::bigint), 12, '0') || repeat('0', 20);
    v_most := lpad(to_hex(((v_at + 300) * 1000)::bigint), 12, '0') || repeat('f', 20);
    IF EXISTS (SELECT 1 FROM unnest(p_rows) WHERE id < v_least OR id > v_most) THEN
        RAISE EXCEPTION 'event ids are more than five minutes off the clock of the database' USING ERRCODE = 'PH001';
    END IF;

    WITH done AS (
        DELETE FROM effect e
         USING (SELECT u.partition, u.effect, u.ord FROM unnest(p_rows) WITH ORDINALITY
                    AS u (partition, effect, id, app_id, type, content_type, payload, subject, key, cause, depth, only_endpoint,
                          to_url, ord)) f
         WHERE e.partition = f.partition AND e.id = f.effect AND e.kind IN ('emit', 'publish')
        RETURNING f.ord::int AS ord
    )
    SELECT array_agg(d.ord) INTO v_there FROM done d;
    IF v_there IS NULL THEN
        RETURN;
    END IF;

    RETURN QUERY
    WITH incoming AS (
        SELECT u.*, a.partition AS app_partition, a.config_version AS app_version,
               row_number() OVER (PARTITION BY a.partition ORDER BY u.ord) AS n
          FROM unnest(p_rows) WITH ORDINALITY
            AS u (effect_partition, effect, id, app_id, type, content_type, payload, subject, key, cause, depth, only_endpoint,
                  to_url, ord)
          JOIN app a ON a.id = u.app_id AND a.deleted_at IS NULL
         WHERE u.ord = ANY (v_there)
    ), head AS (
        UPDATE log_head h SET seq = h.seq + c.n
          FROM (SELECT f.app_partition, count(*) AS n FROM incoming f GROUP BY f.app_partition) c
         WHERE h.partition = c.app_partition
        RETURNING h.partition, h.seq - c.n AS base
    ), appended AS (
        INSERT INTO event AS e (id, partition, seq, app_id, config_version, type, subject, key, content_type, payload, cause, depth,
                                only_endpoint, to_url, created_at)
        SELECT f.id, f.app_partition, h.base + f.n, f.app_id, f.app_version, f.type, f.subject, f.key, f.content_type, f.payload,
               f.cause, f.depth, f.only_endpoint, f.to_url, v_now
          FROM incoming f JOIN head h ON h.partition = f.app_partition
        RETURNING e.id, e.partition, e.seq, e.config_version
    )
    SELECT f.ord::int, e.partition, e.seq, e.config_version, v_at FROM appended e JOIN incoming f ON f.id = e.id;
END $$;
