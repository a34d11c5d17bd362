-- Who changes what a trigger watches, or winds it back, holds it meanwhile: nobody works on it, and nobody else holds it. Its end comes by itself,
-- where its holder dies. What nobody can begin to work on is put off for a while, or until it is changed.
ALTER TABLE trigger ADD COLUMN held_by uuid, ADD COLUMN held_until timestamptz, ADD COLUMN put_off_until timestamptz;
