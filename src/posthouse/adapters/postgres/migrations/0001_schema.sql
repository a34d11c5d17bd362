-- The whole schema of version 0.1. What later features need of the hot tables is here from the first day, so that the
-- cost of an event measured today is its cost tomorrow. Every hot table leads with, or holds, `partition` in its key:
-- that is what allows it to be distributed by partition later (Citus).

-- Configuration ------------------------------------------------------------------------------------------------------

CREATE TABLE installation (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id          uuid NOT NULL DEFAULT gen_random_uuid(),
    partitions  int NOT NULL CHECK (partitions BETWEEN 1 AND 4096),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One counter a partition; every change to a partition's apps, grants or endpoints bumps it and stamps the app with it.
-- The row of partition -1 counts changes of what all partitions share (event types, keys).
CREATE TABLE config_head (
    partition   int PRIMARY KEY,
    version     bigint NOT NULL DEFAULT 1
) WITH (fillfactor = 20);

CREATE TABLE event_type (
    name        text PRIMARY KEY,
    description text NOT NULL DEFAULT '',
    schema      jsonb,
    examples    jsonb NOT NULL DEFAULT '[]',
    visibility  text NOT NULL DEFAULT 'public' CHECK (visibility IN ('public', 'granted', 'private')),
    version     int NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    archived_at timestamptz
);

CREATE TABLE app (
    id              uuid PRIMARY KEY,
    uid             text,
    name            text NOT NULL DEFAULT '',
    partition       int NOT NULL,
    config_version  bigint NOT NULL,
    metadata        jsonb NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_at      timestamptz
);
CREATE UNIQUE INDEX app_uid ON app (uid) WHERE deleted_at IS NULL;
CREATE INDEX app_changed ON app (partition, config_version);

CREATE TABLE app_grant (
    id          uuid PRIMARY KEY,
    app_id      uuid NOT NULL REFERENCES app (id),
    types       text[] NOT NULL,
    subjects    text[] NOT NULL,
    expires_at  timestamptz,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX app_grant_app ON app_grant (app_id);

CREATE TABLE endpoint (
    id              uuid PRIMARY KEY,
    app_id          uuid NOT NULL REFERENCES app (id),
    uid             text,
    revision        int NOT NULL DEFAULT 1,
    config          jsonb NOT NULL, -- what an attempt is made with: url, events, headers, retry, timeouts, …
    metadata        jsonb NOT NULL DEFAULT '{}',
    enabled         boolean NOT NULL DEFAULT true,
    disabled_reason text,
    disabled_at     timestamptz,
    paused          boolean NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_at      timestamptz
);
CREATE INDEX endpoint_app ON endpoint (app_id, id);
CREATE UNIQUE INDEX endpoint_uid ON endpoint (app_id, uid) WHERE deleted_at IS NULL;

CREATE TABLE endpoint_revision (
    endpoint_id uuid NOT NULL REFERENCES endpoint (id),
    revision    int NOT NULL,
    config      jsonb NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (endpoint_id, revision)
);

-- Secrets are ciphertext, bound to owner, kind and version; `expires_at` ends the overlap of a rotation.
CREATE TABLE secret (
    owner_id    uuid NOT NULL,
    kind        text NOT NULL,
    version     int NOT NULL,
    ciphertext  bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz,
    PRIMARY KEY (owner_id, kind, version)
);

CREATE TABLE api_key (
    id          uuid PRIMARY KEY,
    hash        bytea NOT NULL UNIQUE, -- SHA-256 of the key; the key itself is shown once
    hint        text NOT NULL,         -- its first characters, to recognise it by
    name        text NOT NULL DEFAULT '',
    scope       text NOT NULL CHECK (scope IN ('admin', 'app')),
    app_id      uuid REFERENCES app (id),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    revoked_at  timestamptz,
    CHECK ((scope = 'app') = (app_id IS NOT NULL))
);

CREATE TABLE audit (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor       text NOT NULL,
    action      text NOT NULL,
    object      text NOT NULL,
    detail      jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE job (
    id          uuid PRIMARY KEY,
    partition   int NOT NULL,
    app_id      uuid NOT NULL,
    kind        text NOT NULL,
    state       text NOT NULL,
    request     jsonb NOT NULL,
    progress    jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The log ------------------------------------------------------------------------------------------------------------

-- The last position handed out. Apart from `partition`: on one row, publishing and journalling would block each other.
CREATE TABLE log_head (
    partition   int PRIMARY KEY,
    seq         bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);

CREATE TABLE partition (
    id          int PRIMARY KEY,
    owner       uuid,
    epoch       bigint NOT NULL DEFAULT 0,
    lease_until timestamptz NOT NULL DEFAULT '-infinity',
    cursor      bigint NOT NULL DEFAULT 0,
    cursor_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    poke        bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);

CREATE TABLE event (
    id              uuid NOT NULL,
    partition       int NOT NULL,
    seq             bigint NOT NULL,
    app_id          uuid,
    config_version  bigint NOT NULL,
    type            text NOT NULL,
    subject         text,
    key             text,
    source          text,
    channels        text[],
    attributes      bytea,
    content_type    text NOT NULL,
    payload         bytea NOT NULL,
    expires_at      timestamptz,
    traceparent     text,
    cause           uuid,
    depth           smallint NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (id, partition)
) PARTITION BY RANGE (id);
CREATE INDEX event_seq ON event (partition, seq);
CREATE INDEX event_app ON event (app_id, id);

CREATE TABLE event_key (
    partition   int NOT NULL,
    app_id      uuid NOT NULL,
    key         text NOT NULL,
    event_id    uuid NOT NULL,
    fingerprint bytea NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (partition, app_id, key, created_at)
) PARTITION BY RANGE (created_at);

-- What is owed and what was tried ------------------------------------------------------------------------------------

CREATE TABLE delivery (
    partition       int NOT NULL,
    endpoint_id     uuid NOT NULL,
    event_id        uuid NOT NULL,
    seq             bigint NOT NULL,
    key_hash        bigint NOT NULL DEFAULT 0,
    kind            text NOT NULL DEFAULT 'live',
    number          smallint NOT NULL,
    due_at          timestamptz NOT NULL,
    reason          text NOT NULL,
    sender          uuid,
    expires_at      timestamptz,
    payload_bytes   int NOT NULL,
    PRIMARY KEY (partition, endpoint_id, event_id)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX delivery_due ON delivery (partition, endpoint_id, due_at);

CREATE TABLE attempt (
    partition           int NOT NULL,
    id                  uuid NOT NULL,
    app_id              uuid NOT NULL,
    endpoint_id         uuid NOT NULL,
    event_id            uuid NOT NULL,
    seq                 bigint NOT NULL,
    number              smallint NOT NULL,
    kind                text NOT NULL,
    outcome             text NOT NULL,
    reason              text NOT NULL,
    sent                boolean NOT NULL,
    revision            int NOT NULL,
    url                 text NOT NULL,
    address             text NOT NULL,
    request_id          uuid,             -- the request's own id where several events shared it
    started_at          timestamptz NOT NULL,
    status              smallint,
    dns_us              int,
    connect_us          int,
    tls_us              int,
    first_byte_us       int,
    total_us            int NOT NULL,
    response_headers    bytea,
    response_body       bytea,
    error               text,
    PRIMARY KEY (partition, id)
) PARTITION BY RANGE (id);
CREATE INDEX attempt_event ON attempt (event_id, endpoint_id);
CREATE INDEX attempt_endpoint ON attempt (endpoint_id, id);

CREATE TABLE effect (
    partition   int NOT NULL,
    id          uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    kind        text NOT NULL,
    reason      text NOT NULL,
    data        jsonb,
    PRIMARY KEY (partition, id)
);

CREATE TABLE endpoint_health (
    partition       int NOT NULL,
    endpoint_id     uuid NOT NULL,
    failing_since   timestamptz,
    PRIMARY KEY (partition, endpoint_id)
);

CREATE TABLE rollup_minute (
    partition   int NOT NULL,
    minute      timestamptz NOT NULL,
    app_id      uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    delivered   bigint NOT NULL DEFAULT 0,
    failed      bigint NOT NULL DEFAULT 0,
    gave_up     bigint NOT NULL DEFAULT 0,
    total_us    bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (partition, endpoint_id, minute)
) PARTITION BY RANGE (minute);
CREATE INDEX rollup_minute_app ON rollup_minute (app_id, minute);
