-- What another model says of the picture, the latest if several did; null if none saw it.
ALTER TABLE relance_requests ADD COLUMN opinion jsonb;

-- Those of which it says another class, which are few, and the others. As text, because the planner takes an equality
-- to be rare, and would expect two thirds of all to pass a boolean expression.
CREATE INDEX relance_requests_by_opinion ON relance_requests ((opinion ->> 'agrees'), request_id)
    WHERE opinion IS NOT NULL;
