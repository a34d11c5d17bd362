-- Which processes take part in owning partitions: each says so every few seconds, and no longer counts when its time is over by
-- the database's clock, or when its advisory lock can be had.

CREATE TABLE process (
    id          uuid PRIMARY KEY,
    live_until  timestamptz NOT NULL
);
