-- Keys that publish events and do nothing else: of one app, or of all.
ALTER TABLE api_key DROP CONSTRAINT api_key_scope_check, DROP CONSTRAINT api_key_check;
ALTER TABLE api_key
    ADD CONSTRAINT api_key_scope_check CHECK (scope IN ('admin', 'app', 'publish')),
    ADD CONSTRAINT api_key_app_check CHECK (scope = 'publish' OR (scope = 'app') = (app_id IS NOT NULL));
