-- Attempts that failed or were given up are looked for among many that did not: of all, and of an endpoint. Partial: an attempt that
-- was confirmed pays nothing.

CREATE INDEX attempt_ill ON attempt (outcome, id) WHERE outcome <> 'delivered';
CREATE INDEX attempt_endpoint_ill ON attempt (endpoint_id, outcome, id) WHERE outcome <> 'delivered';
