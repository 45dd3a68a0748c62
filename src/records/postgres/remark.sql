-- One statement, so that of two instances that add to a record at once, the second adds to what the first has left. The
-- rows are locked in their order, so that two instances never wait for each other's.
WITH there AS MATERIALIZED (
    SELECT request_id FROM relance_requests WHERE request_id = ANY($1) ORDER BY request_id FOR UPDATE
)
UPDATE relance_requests AS kept SET
    reviews = CASE WHEN said.reviews IS NULL THEN kept.reviews ELSE (
        SELECT jsonb_agg(review ORDER BY review ->> 'review_id')
        FROM (
            SELECT DISTINCT ON (review ->> 'review_id') review
            FROM jsonb_array_elements(coalesce(kept.reviews, '[]') || said.reviews) AS every (review)
            ORDER BY review ->> 'review_id' DESC
            LIMIT $4
        ) AS latest
    ) END,
    opinion = CASE WHEN said.opinion IS NULL OR kept.opinion ->> 'opinion_id' > said.opinion ->> 'opinion_id'
        THEN kept.opinion ELSE said.opinion END
FROM unnest($1, $2, $3) AS said (request_id, reviews, opinion)
JOIN there USING (request_id)
WHERE kept.request_id = said.request_id
RETURNING kept.request_id
