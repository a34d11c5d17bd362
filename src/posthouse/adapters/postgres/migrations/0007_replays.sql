-- Replays: past events sent to an endpoint again, as jobs of the partition's owner.

-- `request` is what is wanted, `progress` what was counted. A job looks at the log after `first_seq` up to `last_seq`, both
-- fixed as it begins, and is at `position`.
ALTER TABLE job
    ADD COLUMN endpoint_id uuid,
    ADD COLUMN first_seq   bigint,
    ADD COLUMN last_seq    bigint,
    ADD COLUMN position    bigint NOT NULL DEFAULT 0,
    ADD COLUMN reason      text,
    ADD COLUMN finished_at timestamptz;
CREATE INDEX job_app ON job (app_id, id);
CREATE INDEX job_live ON job (partition, endpoint_id, created_at) WHERE state IN ('pending', 'running', 'paused');
CREATE INDEX job_ended ON job (finished_at) WHERE finished_at IS NOT NULL;

-- What a replay has put in and nobody has tried yet. (Asked for in the order of `seq`, which only this index has.)
CREATE INDEX delivery_replayed ON delivery (partition, endpoint_id, seq) WHERE reason = 'replayed';

-- The position right before the first event of a partition that was appended at a time or later; right before the oldest that
-- is kept where that is later. A binary search: positions and times of appending rise together.
CREATE FUNCTION position_at(p_partition int, p_at timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_low bigint := 0; -- everything up to here was appended earlier, or is gone
    v_high bigint;     -- everything after here was appended later
    v_middle bigint;
    v_seq bigint;
    v_created timestamptz;
BEGIN
    SELECT h.seq INTO v_high FROM log_head h WHERE h.partition = p_partition;
    WHILE v_low < v_high LOOP
        v_middle := (v_low + v_high + 1) / 2;
        SELECT e.seq, e.created_at INTO v_seq, v_created FROM event e
         WHERE e.partition = p_partition AND e.seq >= v_middle AND e.seq <= v_high ORDER BY e.seq LIMIT 1;
        IF v_created < p_at THEN
            v_low := v_seq;
        ELSE
            v_high := v_middle - 1;
        END IF;
    END LOOP;
    RETURN coalesce((SELECT e.seq - 1 FROM event e WHERE e.partition = p_partition AND e.seq > v_low ORDER BY e.seq LIMIT 1),
                    (SELECT h.seq FROM log_head h WHERE h.partition = p_partition), 0);
END $$;
