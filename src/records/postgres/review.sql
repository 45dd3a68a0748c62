-- One statement, so that of two instances that add a review at once, the second adds to what the first has left.
UPDATE relance_requests SET reviews = (
    SELECT jsonb_agg(review ORDER BY review ->> 'review_id')
    FROM (
        SELECT DISTINCT ON (review ->> 'review_id') review
        FROM jsonb_array_elements(coalesce(reviews, '[]') || $2) AS every (review)
        ORDER BY review ->> 'review_id' DESC
        LIMIT $3
    ) AS latest
)
WHERE request_id = $1
RETURNING 1
