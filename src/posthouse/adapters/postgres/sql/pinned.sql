-- Versions of event types that endpoints pin.

-- name: schemas
SELECT v.name, v.version, v.schema::text AS schema
  FROM unnest($1::text[], $2::int[]) p (name, version) JOIN event_type_version v USING (name, version)
 WHERE v.schema IS NOT NULL
