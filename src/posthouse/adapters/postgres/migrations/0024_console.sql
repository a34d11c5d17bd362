-- Who is signed in to the console, and the links that let somebody in once. Only hashes are kept: what is here opens nothing.

-- It ends with its key, too: whoever looks for it looks whether the key was revoked.
CREATE TABLE console_session (
    id          uuid PRIMARY KEY,
    hash        bytea NOT NULL UNIQUE,
    key_id      uuid NOT NULL REFERENCES api_key (id),
    expires_at  timestamptz NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Using it deletes it.
CREATE TABLE console_link (
    id          uuid PRIMARY KEY,
    hash        bytea NOT NULL UNIQUE,
    key_id      uuid NOT NULL REFERENCES api_key (id),
    expires_at  timestamptz NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
