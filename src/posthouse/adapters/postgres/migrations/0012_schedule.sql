-- Events that are published at certain times.

-- `progress` tells what is due and what came of it. `wake_at` is when that is to be looked at: when it is due, when what was refused
-- is tried again, or when the lease of who took it ends. An event of the id `pending_event` may be in the log or not.
CREATE TABLE schedule (
    id             uuid PRIMARY KEY,
    uid            text COLLATE "C",
    app_id         uuid REFERENCES app (id),
    name           text NOT NULL DEFAULT '',
    config         jsonb NOT NULL,
    enabled        boolean NOT NULL DEFAULT true,
    progress       jsonb NOT NULL,
    wake_at        timestamptz,
    pending_event  uuid,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX schedule_uid ON schedule (uid) WHERE uid IS NOT NULL;
CREATE INDEX schedule_app ON schedule (app_id, id) WHERE app_id IS NOT NULL;
CREATE INDEX schedule_wake ON schedule (wake_at) WHERE wake_at IS NOT NULL;
