-- Operational events: the reserved app they are published in, follow-ups that are published once, blocked lines at a glance.

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM app WHERE uid = 'operations' AND deleted_at IS NULL) THEN
        RAISE EXCEPTION 'an app has the uid ''operations'', which this version keeps for itself; give that app another uid with the version that made it, then start this one again';
    END IF;
END $$;

-- As before, and the app of the operators (domain/operations.py). Its partition is 0, whatever number there is.
CREATE OR REPLACE FUNCTION install(p_partitions int) RETURNS int
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    n int;
BEGIN
    INSERT INTO installation (partitions) VALUES (p_partitions) ON CONFLICT DO NOTHING;
    SELECT partitions INTO n FROM installation;
    INSERT INTO log_head (partition) SELECT generate_series(0, n - 1) ON CONFLICT DO NOTHING;
    INSERT INTO partition (id) SELECT generate_series(0, n - 1) ON CONFLICT DO NOTHING;
    INSERT INTO config_head (partition) SELECT generate_series(-1, n - 1) ON CONFLICT DO NOTHING;
    INSERT INTO app (id, uid, name, partition, config_version)
    VALUES ('00000000-0000-7000-8000-000000000001', 'operations', 'Posthouse operations', 0, 0) ON CONFLICT (id) DO NOTHING;
    RETURN n;
END $$;

-- Publishes what effects of the kind 'emit' tell, and removes them, in one transaction: each is published once, whoever asks
-- how often. Array element i of every argument belongs to effect i. Answers, by `ord`, where those are that were still there.
CREATE FUNCTION publish_effects(
    p_app uuid, p_partition int[], p_effect uuid[], p_id uuid[], p_type text[], p_payload bytea[], p_key text[]
) RETURNS TABLE (ord int, partition int, seq bigint, config_version bigint, created_at float8)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    v_there int[];
    v_none text[];
BEGIN
    -- First the head, as in every publish: two that do the same effects would else wait for each other. And in a statement
    -- of its own: the next one sees what whoever held the head before has removed.
    PERFORM 1 FROM log_head h WHERE h.partition IN (SELECT a.partition FROM app a WHERE a.id = p_app)
      ORDER BY h.partition FOR UPDATE;

    WITH done AS (
        DELETE FROM effect e USING unnest(p_partition, p_effect) WITH ORDINALITY AS u (partition, id, ord)
         WHERE e.partition = u.partition AND e.id = u.id AND e.kind = 'emit'
        RETURNING u.ord::int
    )
    SELECT array_agg(d.ord ORDER BY d.ord) INTO v_there FROM done d;
    IF v_there IS NULL THEN
        RETURN;
    END IF;

    v_none := array_fill(NULL::text, ARRAY[cardinality(v_there)]);
    RETURN QUERY
    SELECT v_there[r.n], r.partition, r.seq, r.config_version, r.created_at
      FROM publish(
        ARRAY(SELECT p_id[t] FROM unnest(v_there) t), array_fill(p_app, ARRAY[cardinality(v_there)]), v_none,
        ARRAY(SELECT p_type[t] FROM unnest(v_there) t), array_fill('application/json'::text, ARRAY[cardinality(v_there)]),
        ARRAY(SELECT p_payload[t] FROM unnest(v_there) t), v_none, ARRAY(SELECT p_key[t] FROM unnest(v_there) t), v_none, v_none,
        v_none::bytea[], v_none::float8[], v_none, v_none::uuid[], array_fill(0::smallint, ARRAY[cardinality(v_there)]), v_none,
        v_none::bytea[]
      ) WITH ORDINALITY AS r (verdict, partition, seq, config_version, created_at, known_id, known_fingerprint, n)
     WHERE r.verdict = 'appended';
END $$;

-- The firsts of ordered lines that stand, of an endpoint and of all. They are few: nothing else pays for these.
CREATE INDEX delivery_blocked ON delivery (partition, endpoint_id, event_id) WHERE reason = 'blocked';
CREATE INDEX delivery_blocked_event ON delivery (event_id, endpoint_id) WHERE reason = 'blocked';
