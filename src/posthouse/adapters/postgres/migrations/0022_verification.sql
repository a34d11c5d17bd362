-- Which endpoints have passed their handshakes.

-- One row for each endpoint that has a handshake. `progress` tells where it stands, and `sendable` and `allowed_per_second` what
-- the engine goes by. `wake_at` is when it is to be looked at: when it is due, or when the lease of who took it ends. `turn`
-- counts who took it, and the changes that make it begin anew: whoever comes with an older one changes nothing. `token` is the
-- SHA-256 of the one that somebody has to bring. `asked` counts those who wanted it made since `asked_at`.
CREATE TABLE endpoint_verification (
    endpoint_id         uuid PRIMARY KEY,
    turn                bigint NOT NULL DEFAULT 1,
    progress            jsonb NOT NULL,
    sendable            boolean NOT NULL DEFAULT false,
    allowed_per_second  double precision,
    wake_at             timestamptz,
    token               bytea,
    asked               integer NOT NULL DEFAULT 0,
    asked_at            timestamptz NOT NULL DEFAULT to_timestamp(0)
);
CREATE INDEX endpoint_verification_wake ON endpoint_verification (wake_at) WHERE wake_at IS NOT NULL;
CREATE UNIQUE INDEX endpoint_verification_token ON endpoint_verification (token) WHERE token IS NOT NULL;
