-- Apps and endpoints are found by how their names and URLs begin, and endpoints by the state that they are in.

-- By byte, so that a beginning is a range whatever the database's collation is. Of a URL the beginning is enough.
CREATE INDEX app_uid_beginning ON app (uid COLLATE "C") WHERE deleted_at IS NULL;
CREATE INDEX app_name_beginning ON app (lower(name) COLLATE "C") WHERE deleted_at IS NULL;
CREATE INDEX endpoint_uid_beginning ON endpoint (uid COLLATE "C") WHERE deleted_at IS NULL;
CREATE INDEX endpoint_url_beginning ON endpoint (left(config ->> 'url', 256) COLLATE "C") WHERE deleted_at IS NULL;

CREATE INDEX endpoint_paused ON endpoint (id) WHERE paused AND deleted_at IS NULL;
