-- What is watched elsewhere, and becomes events here.

-- `config` is without the kind's settings: these are a secret of the trigger. `position` is the source's own word. `version` counts
-- changes, so that whoever works on it begins anew, and `epoch` who took it, so that whoever has lost it changes nothing.
CREATE TABLE trigger (
    id           uuid PRIMARY KEY,
    uid          text COLLATE "C",
    app_id       uuid REFERENCES app (id),
    name         text NOT NULL DEFAULT '',
    kind         text NOT NULL,
    config       jsonb NOT NULL,
    enabled      boolean NOT NULL DEFAULT true,
    generation   int NOT NULL DEFAULT 0,
    version      bigint NOT NULL DEFAULT 1,
    position     text,
    standing     jsonb NOT NULL DEFAULT '{}',
    owner        uuid,
    epoch        bigint NOT NULL DEFAULT 0,
    lease_until  timestamptz,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX trigger_uid ON trigger (uid) WHERE uid IS NOT NULL;
CREATE INDEX trigger_app ON trigger (app_id) WHERE app_id IS NOT NULL;

-- What was seen and is no event. Seen again, it takes its own place.
CREATE TABLE trigger_refusal (
    trigger_id    uuid NOT NULL REFERENCES trigger (id) ON DELETE CASCADE,
    id            uuid NOT NULL,
    key           bytea NOT NULL,
    observation   bytea NOT NULL,
    code          text NOT NULL,
    reason        text NOT NULL,
    tries         int NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (trigger_id, id)
);
CREATE UNIQUE INDEX trigger_refusal_key ON trigger_refusal (trigger_id, key);
