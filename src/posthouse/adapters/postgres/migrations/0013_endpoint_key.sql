-- Named keys of endpoints: what their configuration signs, encrypts or authenticates with, by name.

-- As `secret`: ciphertext bound to endpoint, name and version; `expires_at` ends the overlap of a rotation. The newest version of a
-- name has none.
CREATE TABLE endpoint_key (
    endpoint_id uuid NOT NULL,
    name        text COLLATE "C" NOT NULL,
    version     int NOT NULL,
    ciphertext  bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz,
    PRIMARY KEY (endpoint_id, name, version)
);
