-- What charts read: how long requests took, and what went on over any time without reading a row of each endpoint and minute.

-- Of the requests of an endpoint in a minute, how many took how long: counters of buckets (domain/latency.py), without those at
-- the end that are zero. NULL where an earlier version counted.
ALTER TABLE rollup_minute ADD COLUMN latency int[];

-- The same and more, of spans of 1, 10, 60 and 1,440 minutes that begin at `at`. `level` 0: everything that one process did
-- (`scope`: the process), and what it saw of all that is owed; 1: an app; 2: an endpoint (but for its minutes, which are in
-- `rollup_minute`), and about what it was owed. They are written beside the journal, a little later than it: a crash loses what
-- was not written.
CREATE TABLE traffic (
    level       smallint NOT NULL,
    minutes     smallint NOT NULL,
    at          timestamptz NOT NULL,
    scope       uuid NOT NULL,
    partition   int NOT NULL,
    app_id      uuid,
    published   bigint NOT NULL DEFAULT 0,
    delivered   bigint NOT NULL DEFAULT 0,
    failed      bigint NOT NULL DEFAULT 0,
    gave_up     bigint NOT NULL DEFAULT 0,
    owed        bigint,
    PRIMARY KEY (level, minutes, at, scope, partition)
) PARTITION BY RANGE (at);

-- How long its requests took. Apart: they are four times as wide, and who looks where it goes worst reads the others of all.
CREATE TABLE traffic_latency (
    level       smallint NOT NULL,
    minutes     smallint NOT NULL,
    at          timestamptz NOT NULL,
    scope       uuid NOT NULL,
    partition   int NOT NULL,
    latency     bigint[] NOT NULL,
    PRIMARY KEY (level, minutes, at, scope, partition)
) PARTITION BY RANGE (at);

-- Who serves, whether it owns partitions or answers the API alone. Each says so every few seconds; the engine does not go by it.
CREATE TABLE server (
    id          uuid PRIMARY KEY,
    host        text NOT NULL,
    pid         int NOT NULL,
    role        text NOT NULL,
    version     text NOT NULL,
    started_at  timestamptz NOT NULL,
    seen_at     timestamptz NOT NULL
);

-- Those whose circuit is not closed are looked for among all.
CREATE INDEX endpoint_health_circuit ON endpoint_health (endpoint_id) WHERE circuit <> 'closed';
-- And those that may not be sent to.
CREATE INDEX endpoint_verification_unsendable ON endpoint_verification (endpoint_id) WHERE NOT sendable;

CREATE TYPE rollup_record AS (
    partition int, minute bigint, app_id uuid, endpoint_id uuid, delivered int, failed int, gave_up int, total_us bigint,
    latency int[]
);

-- As `journal_records` (0018_reactions.sql), which the version before this one calls, and how long requests took.
-- Writes one batch of results for the partitions that `p_owner` still holds under these epochs; returns those.
-- With `p_again` the batch was sent before and its fate is unknown: an attempt of it that is there says it was written.
-- `l_…` are the ordered lines that the batch changes, which are put in order; what came of them is returned beside.
CREATE FUNCTION journal_counted(
    p_owner uuid, p_lease_seconds float8, p_again boolean, p_now float8, p_partition int[], p_epoch bigint[],
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
           lease_until = clock_timestamp() + make_interval(secs => p_lease_seconds)
      FROM unnest(held) h (id) LEFT JOIN unnest(c_partition, c_seq, c_at) u (id, seq, at) ON u.id = h.id
     WHERE p.id = h.id;
    RETURN NEXT;
END $$;

CREATE TYPE traffic_record AS (
    level smallint, minutes smallint, at float8, scope uuid, partition int, app_id uuid, published bigint, delivered bigint,
    failed bigint, gave_up bigint, owed bigint, latency bigint[]
);
