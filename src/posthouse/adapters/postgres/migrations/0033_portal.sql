-- Who is signed in to the portal of an app, and the links that let somebody in once. Only hashes are kept, as of the console. They
-- are tables of their own: a server of an earlier version beside this one takes all that lies in the console's for operators.

-- It ends with its key and with its app, too: whoever looks for it looks at both.
CREATE TABLE portal_session (
    id          uuid PRIMARY KEY,
    hash        bytea NOT NULL UNIQUE,
    key_id      uuid NOT NULL REFERENCES api_key (id),
    app_id      uuid NOT NULL REFERENCES app (id),
    expires_at  timestamptz NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX portal_session_app ON portal_session (app_id, id);
CREATE INDEX portal_session_over ON portal_session (expires_at);

-- Using it deletes it.
CREATE TABLE portal_link (
    id          uuid PRIMARY KEY,
    hash        bytea NOT NULL UNIQUE,
    key_id      uuid NOT NULL REFERENCES api_key (id),
    app_id      uuid NOT NULL REFERENCES app (id),
    expires_at  timestamptz NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX portal_link_app ON portal_link (app_id, id);
CREATE INDEX portal_link_over ON portal_link (expires_at);
