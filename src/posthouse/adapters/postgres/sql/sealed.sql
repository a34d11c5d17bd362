-- Data keys of apps, and what they seal. Whoever reads or adds the newest one of an app has locked the app.

-- name: newest_data_key
SELECT version, ciphertext FROM data_key WHERE app_id = $1 ORDER BY version DESC LIMIT 1

-- name: add_data_key
INSERT INTO data_key (app_id, version, ciphertext, made_with) VALUES ($1, $2, $3, $4)

-- Sealing anew ----------------------------------------------------------------------------------------------------------

-- name: data_keys_to_reseal
-- A page of data keys that another master key seals.
SELECT app_id, version, ciphertext FROM data_key
 WHERE (app_id, version) > ($1, $2) AND substring(ciphertext FROM 2 FOR 4) <> $3 ORDER BY app_id, version LIMIT $4

-- name: reseal_data_key
-- Unless somebody was faster, or its app is gone.
UPDATE data_key SET ciphertext = $4 WHERE app_id = $1 AND version = $2 AND ciphertext = $3 RETURNING version

-- name: apps_to_renew
-- A page of apps whose newest data key was made with another master key.
SELECT app_id FROM data_key d
 WHERE app_id > $1 AND made_with <> $2 AND NOT EXISTS (SELECT 1 FROM data_key n WHERE n.app_id = d.app_id AND n.version > d.version)
 ORDER BY app_id LIMIT $3

-- name: lock_endpoints
SELECT id FROM endpoint WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE

-- name: lock_app
SELECT id FROM app WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE

-- name: newest_made_with
SELECT version, made_with FROM data_key WHERE app_id = $1 ORDER BY version DESC LIMIT 1

-- name: owners
-- A page of what has secrets or keys, each with its app where it has one, and whether something of it is to be sealed anew: what is not
-- sealed with the newest data key of its app, and of those without an app what another master key seals.
WITH page AS (
    SELECT owner_id FROM (
        (SELECT DISTINCT owner_id FROM secret WHERE owner_id > $1 ORDER BY owner_id LIMIT $3)
         UNION
        (SELECT DISTINCT endpoint_id FROM endpoint_key WHERE endpoint_id > $1 ORDER BY endpoint_id LIMIT $3)
    ) o ORDER BY owner_id LIMIT $3
)
SELECT p.owner_id, e.app_id, EXISTS (
    SELECT 1 FROM (SELECT data_key, ciphertext FROM secret WHERE owner_id = p.owner_id
                    UNION ALL
                   SELECT data_key, ciphertext FROM endpoint_key WHERE endpoint_id = p.owner_id) s
     WHERE CASE WHEN e.app_id IS NULL THEN s.data_key IS NULL AND substring(s.ciphertext FROM 2 FOR 4) <> $2
                ELSE s.data_key IS NULL OR s.data_key < (SELECT max(n.version) FROM data_key n WHERE n.app_id = e.app_id) END
  ) AS behind
  FROM page p LEFT JOIN endpoint e ON e.id = p.owner_id
 ORDER BY p.owner_id

-- name: secrets_behind
-- What of these owners is not sealed with the data key of this version.
SELECT s.owner_id, s.kind, NULL AS name, s.version, s.ciphertext, d.ciphertext AS data_key
  FROM secret s LEFT JOIN endpoint e ON e.id = s.owner_id
  LEFT JOIN data_key d ON d.app_id = e.app_id AND d.version = s.data_key
 WHERE s.owner_id = ANY ($1::uuid[]) AND s.data_key IS DISTINCT FROM $2
 UNION ALL
SELECT k.endpoint_id, 'key:' || k.name, k.name, k.version, k.ciphertext, d.ciphertext
  FROM endpoint_key k LEFT JOIN endpoint e ON e.id = k.endpoint_id
  LEFT JOIN data_key d ON d.app_id = e.app_id AND d.version = k.data_key
 WHERE k.endpoint_id = ANY ($1::uuid[]) AND k.data_key IS DISTINCT FROM $2

-- name: sealed_directly
-- Secrets of these owners, which are of no app.
SELECT owner_id, kind, version, ciphertext FROM secret WHERE owner_id = ANY ($1::uuid[]) AND data_key IS NULL

-- name: reseal_secret
UPDATE secret SET ciphertext = $5, data_key = $6 WHERE owner_id = $1 AND kind = $2 AND version = $3 AND ciphertext = $4 RETURNING version

-- name: reseal_key
UPDATE endpoint_key SET ciphertext = $5, data_key = $6
 WHERE endpoint_id = $1 AND name = $2 AND version = $3 AND ciphertext = $4 RETURNING version

-- name: apps_with_several
SELECT app_id FROM data_key WHERE app_id > $1 GROUP BY app_id HAVING count(*) > 1 ORDER BY app_id LIMIT $2

-- name: drop_unused_data_keys
-- Of a locked app: nothing is sealed meanwhile.
DELETE FROM data_key d
 WHERE d.app_id = $1 AND d.version < (SELECT max(n.version) FROM data_key n WHERE n.app_id = $1)
   AND NOT EXISTS (SELECT 1 FROM endpoint e JOIN secret s ON s.owner_id = e.id WHERE e.app_id = $1 AND s.data_key = d.version)
   AND NOT EXISTS (SELECT 1 FROM endpoint e JOIN endpoint_key k ON k.endpoint_id = e.id
                    WHERE e.app_id = $1 AND k.data_key = d.version)
RETURNING d.version

-- name: remaining
WITH sealed AS (
    SELECT owner_id, data_key, ciphertext FROM secret UNION ALL SELECT endpoint_id, data_key, ciphertext FROM endpoint_key
), newest AS (
    SELECT DISTINCT ON (app_id) app_id, version, made_with FROM data_key ORDER BY app_id, version DESC
)
SELECT (SELECT count(*) FROM data_key WHERE substring(ciphertext FROM 2 FOR 4) <> $1) AS data_keys,
       (SELECT count(*) FROM sealed WHERE data_key IS NULL AND substring(ciphertext FROM 2 FOR 4) <> $1) AS secrets,
       (SELECT count(*) FROM sealed s JOIN endpoint e ON e.id = s.owner_id JOIN newest n ON n.app_id = e.app_id
         WHERE s.data_key < n.version) AS behind,
       (SELECT count(*) FROM newest WHERE made_with <> $2) AS made_before
