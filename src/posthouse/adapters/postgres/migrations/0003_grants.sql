-- Events addressed by type and subject, and the grants that say which apps hear of them.

ALTER TABLE app_grant ADD COLUMN uid text;
CREATE UNIQUE INDEX app_grant_uid ON app_grant (app_id, uid) WHERE uid IS NOT NULL;
DROP INDEX app_grant_app;
CREATE INDEX app_grant_app ON app_grant (app_id, id);
CREATE INDEX app_grant_expiry ON app_grant (app_id, expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX app_grant_expired ON app_grant (expires_at) WHERE expires_at IS NOT NULL;

-- A grant is one row for each of its pairs of patterns, so that an event's audience is found by a few exact probes of one
-- index, however many grants there are: 'order.created' about 'shop:42' is covered by {*, order.*, order.created} times
-- {*, shop:*, shop:42}.
CREATE TABLE grant_entry (
    subject     text COLLATE "C" NOT NULL,
    type        text COLLATE "C" NOT NULL,
    app_id      uuid NOT NULL,
    grant_id    uuid NOT NULL REFERENCES app_grant (id) ON DELETE CASCADE,
    partition   int NOT NULL,
    expires_at  timestamptz,
    PRIMARY KEY (subject, type, app_id, grant_id)
);
CREATE INDEX grant_entry_grant ON grant_entry (grant_id);
CREATE INDEX grant_entry_type ON grant_entry (type, app_id);

-- The configuration version with which grants of the app were last taken away: events stamped with an older one are looked
-- at again before they are sent.
ALTER TABLE app ADD COLUMN shrunk_version bigint NOT NULL DEFAULT 0;

-- The apps of this partition that a platform event is for; NULL for an event addressed to one app.
ALTER TABLE event ADD COLUMN audience uuid[];
DROP INDEX event_app;
CREATE INDEX event_app ON event (app_id, id) WHERE app_id IS NOT NULL;
CREATE INDEX event_platform ON event (partition, id) WHERE app_id IS NULL;

-- What is owed, newest event first, and the oldest of all.
CREATE INDEX delivery_event ON delivery (event_id, endpoint_id);

-- The patterns that cover a type, and a subject: the thing itself, its prefixes up to the eighth word, and everything.
-- A grant for everything is the only one that covers an event about nobody.
CREATE FUNCTION type_patterns(t text) RETURNS SETOF text
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 3 AS $$
    SELECT '*' UNION ALL SELECT t UNION ALL
    SELECT array_to_string(w[1:i], '.') || '.*' FROM string_to_array(t, '.') w, generate_series(1, least(cardinality(w) - 1, 8)) i
$$;
CREATE FUNCTION subject_patterns(s text) RETURNS SETOF text
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 3 AS $$
    SELECT '*' UNION ALL SELECT s WHERE s IS NOT NULL AND s <> '*' UNION ALL
    SELECT array_to_string(w[1:i], ':') || ':*' FROM string_to_array(s, ':') w, generate_series(1, least(cardinality(w) - 1, 8)) i
$$;

-- Whether a live grant of the app covers an event.
CREATE FUNCTION covered(p_app uuid, p_type text, p_subject text) RETURNS boolean
LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (
        SELECT 1 FROM type_patterns(p_type) t CROSS JOIN subject_patterns(p_subject) s
         CROSS JOIN LATERAL (
            SELECT 1 FROM grant_entry g WHERE g.subject = s AND g.type = t AND g.app_id = p_app
               AND (g.expires_at IS NULL OR g.expires_at > clock_timestamp()) OFFSET 0
         ) g
    )
$$;

-- As `bump_config`, where grants of the app were taken away.
CREATE FUNCTION bump_shrunk(p_app uuid) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_version bigint := bump_config(p_app);
BEGIN
    UPDATE app SET shrunk_version = v_version WHERE id = p_app;
    RETURN v_version;
END $$;

-- As `publish`, for a batch in which some events have no app. Beside it, not in its place: finding audiences makes a batch
-- without any a tenth of a millisecond dearer.
--
-- An event with an app goes to that app's partition. An event without one goes once to each partition in which a grant covers
-- it, with the apps that are its audience there; where there are none, once to its home, the partition of the hash of its
-- key. Its home's head is always locked: that is what serialises two uses of a key, and a batch that is sent again.
--
-- Answers, by `ord`, one row an event ('appended', 'repeated': the idempotency key was seen within a day, 'missing': no such
-- app, 'present': this very event is there already), and for an event without an app one row a partition.
-- Raises PH001 for ids more than five minutes off this database's clock, and PH002 where the audiences of the batch have
-- more than `p_audience_max` apps together.
CREATE FUNCTION publish_platform(
    p_id uuid[], p_app uuid[], p_uid text[], p_type text[], p_content_type text[], p_payload bytea[],
    p_subject text[], p_key text[], p_source text[], p_channels text[], p_attributes bytea[],
    p_expires_at float8[], p_traceparent text[], p_cause uuid[], p_depth smallint[],
    p_idempotency text[], p_fingerprint bytea[], p_audience_max int
) RETURNS TABLE (
    ord int, verdict text, partition int, seq bigint, config_version bigint, created_at float8, audience uuid[],
    known_id uuid, known_fingerprint bytea
)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz;
    v_keyed boolean := array_remove(p_idempotency, NULL) <> '{}';
    v_platform boolean := array_position(p_app, NULL) IS NOT NULL;
    v_home int[];
    a_ord int[];
    a_partition int[];
    a_version bigint[];
    a_app uuid[];
BEGIN
    IF v_platform THEN
        -- The audience and the versions of its partitions are one snapshot: an endpoint that was there when this was called
        -- is routed to, and a grant taken away later is noticed. OFFSET 0: each pair of patterns is one probe of the index,
        -- else the planner may walk all grants for every subject to find those of a type.
        SELECT array_agg(m.ord), array_agg(m.partition), array_agg(m.version), array_agg(m.app_id)
          INTO a_ord, a_partition, a_version, a_app
          FROM (
            SELECT DISTINCT u.ord::int AS ord, g.partition, c.version, g.app_id
              FROM unnest(p_app, p_type, p_subject) WITH ORDINALITY AS u (app_id, type, subject, ord)
             CROSS JOIN LATERAL type_patterns(u.type) t
             CROSS JOIN LATERAL subject_patterns(u.subject) s
             CROSS JOIN LATERAL (
                SELECT g.partition, g.app_id FROM grant_entry g
                 WHERE g.subject = s AND g.type = t AND (g.expires_at IS NULL OR g.expires_at > clock_timestamp()) OFFSET 0
             ) g
              JOIN config_head c ON c.partition = g.partition
             WHERE u.app_id IS NULL
               AND NOT EXISTS (SELECT 1 FROM event_type y WHERE y.name = u.type AND y.visibility = 'private')
             LIMIT p_audience_max + 1
          ) m;
        IF cardinality(a_ord) > p_audience_max THEN
            RAISE EXCEPTION 'the audience has more than % apps', p_audience_max USING ERRCODE = 'PH002';
        END IF;
        SELECT array_agg(CASE WHEN u.app_id IS NULL THEN
                   mod(('x' || left(md5(coalesce(u.idempotency, u.id::text)), 7))::bit(28)::int, n.partitions) END ORDER BY u.ord)
          INTO v_home
          FROM unnest(p_id, p_app, p_idempotency) WITH ORDINALITY AS u (id, app_id, idempotency, ord), installation n;

        PERFORM 1 FROM log_head h
         WHERE h.partition IN (SELECT a.partition FROM app a WHERE a.id = ANY (p_app)
                               UNION ALL SELECT unnest(a_partition) UNION ALL SELECT unnest(v_home))
         ORDER BY h.partition FOR UPDATE;
    ELSE
        -- A statement of its own: what follows sees everything that was committed before the heads were ours.
        PERFORM 1 FROM log_head h
         WHERE h.partition IN (SELECT a.partition FROM app a WHERE a.id = ANY (p_app))
         ORDER BY h.partition FOR UPDATE;
    END IF;

    v_now := clock_timestamp();
    IF EXISTS (
        SELECT 1 FROM unnest(p_id) i
         WHERE abs(('x' || left(translate(i::text, '-', ''), 12))::bit(48)::bigint / 1000.0 - extract(epoch FROM v_now)) > 300
    ) THEN
        RAISE EXCEPTION 'event ids are more than five minutes off the clock of the database' USING ERRCODE = 'PH001';
    END IF;

    RETURN QUERY
    WITH incoming AS (
        SELECT u.*, u.app_id IS NULL AS platform, coalesce(a.partition, v_home[u.ord]) AS home, a.config_version AS app_version
          FROM unnest(p_id, p_app, p_uid, p_type, p_content_type, p_payload, p_subject, p_key, p_source, p_channels, p_attributes,
                      p_expires_at, p_traceparent, p_cause, p_depth, p_idempotency, p_fingerprint)
               WITH ORDINALITY AS u (id, app_id, uid, type, content_type, payload, subject, key, source, channels, attributes,
                      expires_at, traceparent, cause, depth, idempotency, fingerprint, ord)
          LEFT JOIN app a ON a.id = u.app_id AND a.deleted_at IS NULL AND (u.uid IS NULL OR a.uid = u.uid)
    ), known AS (
        SELECT i.ord, k.event_id, k.fingerprint, k.created_at
          FROM incoming i
          JOIN event_key k ON k.partition = i.home AND k.key = i.idempotency AND k.created_at > v_now - interval '24 hours'
                          AND k.app_id = coalesce(i.app_id, '00000000-0000-0000-0000-000000000000')
         WHERE v_keyed
    ), present AS (
        -- A batch in doubt that is sent again may find another audience, in partitions where nothing is in its way.
        SELECT i.ord FROM incoming i
         WHERE v_platform AND i.platform AND EXISTS (SELECT 1 FROM event e WHERE e.id = i.id OFFSET 0)
    ), fresh AS (
        SELECT i.* FROM incoming i
         WHERE i.home IS NOT NULL AND (NOT v_keyed OR NOT EXISTS (SELECT 1 FROM known k WHERE k.ord = i.ord))
           AND (NOT v_platform OR NOT EXISTS (SELECT 1 FROM present p WHERE p.ord = i.ord))
    ), placed AS (
        SELECT q.*, row_number() OVER (PARTITION BY q.partition ORDER BY q.ord) AS n
          FROM (
            SELECT f.ord, f.home AS partition, f.app_version AS version, NULL::uuid[] AS audience FROM fresh f WHERE NOT f.platform
            UNION ALL
            SELECT f.ord, coalesce(g.partition, f.home), coalesce(g.version, 0), coalesce(g.apps, '{}')
              FROM fresh f
              LEFT JOIN (
                SELECT m.ord, m.partition, max(m.version) AS version, array_agg(m.app_id ORDER BY m.app_id) AS apps
                  FROM unnest(a_ord, a_partition, a_version, a_app) m (ord, partition, version, app_id)
                 GROUP BY m.ord, m.partition
              ) g ON g.ord = f.ord
             WHERE v_platform AND f.platform
          ) q
    ), head AS (
        UPDATE log_head h SET seq = h.seq + c.n
          FROM (SELECT p.partition, count(*) AS n FROM placed p GROUP BY p.partition) c
         WHERE h.partition = c.partition
        RETURNING h.partition, h.seq - c.n AS base
    ), stored AS (
        INSERT INTO event (id, partition, seq, app_id, config_version, type, subject, key, source, channels, attributes,
                           content_type, payload, expires_at, traceparent, cause, depth, created_at, audience)
        SELECT f.id, p.partition, h.base + p.n, f.app_id, p.version, f.type, f.subject, f.key, f.source,
               string_to_array(f.channels, E'\x1f'), f.attributes, f.content_type, f.payload,
               to_timestamp(f.expires_at), f.traceparent, f.cause, f.depth, v_now, p.audience
          FROM placed p JOIN fresh f ON f.ord = p.ord JOIN head h ON h.partition = p.partition
    ), keyed AS (
        INSERT INTO event_key (partition, app_id, key, event_id, fingerprint, created_at)
        SELECT f.home, coalesce(f.app_id, '00000000-0000-0000-0000-000000000000'), f.idempotency, f.id, f.fingerprint, v_now
          FROM fresh f WHERE f.idempotency IS NOT NULL
    )
    SELECT i.ord::int,
           CASE WHEN i.home IS NULL THEN 'missing' WHEN k.ord IS NOT NULL THEN 'repeated'
                WHEN p.ord IS NULL THEN 'present' ELSE 'appended' END,
           p.partition, h.base + p.n, p.version, extract(epoch FROM coalesce(k.created_at, v_now))::float8, p.audience,
           k.event_id, k.fingerprint
      FROM incoming i
      LEFT JOIN known k ON k.ord = i.ord
      LEFT JOIN placed p ON p.ord = i.ord
      LEFT JOIN head h ON h.partition = p.partition
     ORDER BY i.ord, p.partition;
END $$;
