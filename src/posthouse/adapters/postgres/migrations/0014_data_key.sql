-- Secrets are sealed with a data key of their app, and data keys with a master key.

-- `made_with` is the id of the master key that sealed it as it was made: another one may seal it now.
CREATE TABLE data_key (
    app_id      uuid NOT NULL REFERENCES app (id),
    version     int NOT NULL,
    ciphertext  bytea NOT NULL,
    made_with   text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (app_id, version)
);

-- The version of the data key that sealed it; without one a master key did.
ALTER TABLE secret ADD COLUMN data_key int;
ALTER TABLE endpoint_key ADD COLUMN data_key int;
