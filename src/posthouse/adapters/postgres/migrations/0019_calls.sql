-- Calls of handlers are effects that are made one by one, beside the others, and again later where they fail.

-- `tries`: how often it has failed; `due_at`: when it is done at the earliest.
ALTER TABLE effect ADD COLUMN tries smallint NOT NULL DEFAULT 0, ADD COLUMN due_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX effect_call ON effect (partition, due_at, id) WHERE kind = 'call';
