-- Quotas of apps; changes under a condition; lists over the endpoints of all apps; the audit as people read it.

-- What the app may use: publish_per_second, endpoints_max, stored_bytes_max. Without any: NULL.
ALTER TABLE app ADD COLUMN quotas jsonb;
-- Whose stored bytes are measured every minute.
CREATE INDEX app_stored_quota ON app (id) WHERE quotas ? 'stored_bytes_max' AND deleted_at IS NULL;

CREATE INDEX endpoint_live ON endpoint (id) WHERE deleted_at IS NULL;
CREATE INDEX endpoint_enabled ON endpoint (enabled, id) WHERE deleted_at IS NULL;

CREATE INDEX audit_at ON audit (at, id);
CREATE INDEX audit_actor ON audit (actor, at, id);
CREATE INDEX audit_object ON audit (object, at, id);
CREATE INDEX audit_kind ON audit (split_part(action, '.', 1), at, id); -- of 'endpoint.created': 'endpoint'

-- As before, but for `updated_at`, which is the app's own: a change of one of its endpoints is none of the app, and must not
-- make the ETag that somebody holds of it another one.
CREATE OR REPLACE FUNCTION bump_config(p_app uuid) RETURNS bigint
LANGUAGE sql VOLATILE AS $$
    WITH head AS (
        UPDATE config_head c SET version = c.version + 1 FROM app a WHERE a.id = p_app AND c.partition = a.partition
        RETURNING c.version
    )
    UPDATE app SET config_version = head.version FROM head WHERE app.id = p_app
    RETURNING app.config_version
$$;
