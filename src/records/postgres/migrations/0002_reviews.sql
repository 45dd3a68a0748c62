-- The reviews of a request, oldest first; null before the first one. In its row, because reviews are few, are read
-- with it and go with it.
ALTER TABLE relance_requests ADD COLUMN reviews jsonb;

-- What has been reviewed is a small part of all.
CREATE INDEX relance_requests_reviewed ON relance_requests (request_id) WHERE reviews IS NOT NULL;

-- What nobody has reviewed: one in five by chance, the others from the least confident on. The last digit of an
-- identifier is random.
CREATE INDEX relance_requests_random ON relance_requests (request_id)
    WHERE reviews IS NULL AND right(request_id::text, 1) IN ('0', '5', 'a');
CREATE INDEX relance_requests_doubtful ON relance_requests (confidence, request_id)
    WHERE reviews IS NULL AND right(request_id::text, 1) NOT IN ('0', '5', 'a');
