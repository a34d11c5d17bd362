-- Platform routes: the reserved app whose endpoints hear of events that no endpoint of their own apps listens to.

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM app WHERE uid = 'platform' AND deleted_at IS NULL) THEN
        RAISE EXCEPTION 'an app has the uid ''platform'', which this version keeps for itself; give that app another uid with the version that made it, then start this one again';
    END IF;
END $$;

-- As before, and the app of the platform routes (domain/platform_routes.py). Its partition is 0, whatever number there is.
CREATE OR REPLACE FUNCTION install(p_partitions int) RETURNS int
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    n int;
BEGIN
    INSERT INTO installation (partitions) VALUES (p_partitions) ON CONFLICT DO NOTHING;
    SELECT partitions INTO n FROM installation;
    INSERT INTO log_head (partition) SELECT generate_series(0, n - 1) ON CONFLICT DO NOTHING;
    INSERT INTO partition (id) SELECT generate_series(0, n - 1) ON CONFLICT DO NOTHING;
    INSERT INTO config_head (partition) SELECT generate_series(-1, n - 1) ON CONFLICT DO NOTHING;
    INSERT INTO app (id, uid, name, partition, config_version)
    VALUES ('00000000-0000-7000-8000-000000000001', 'operations', 'Posthouse operations', 0, 0),
           ('00000000-0000-7000-8000-000000000002', 'platform', 'Posthouse platform routes', 0, 0) ON CONFLICT (id) DO NOTHING;
    RETURN n;
END $$;
