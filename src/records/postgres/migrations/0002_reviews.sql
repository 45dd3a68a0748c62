-- The reviews of a request, oldest first; null before the first one. In its row, because reviews are few, are read
-- with it and go with it.
ALTER TABLE relance_requests ADD COLUMN reviews jsonb;

-- What has been reviewed is a small part of all.
CREATE INDEX relance_requests_reviewed ON relance_requests (request_id) WHERE reviews IS NOT NULL;

-- What nobody has reviewed: one in five by chance, which the last byte of an identifier decides, and the others from
-- the least confident on, unless their pictures had just been classified.
CREATE INDEX relance_requests_random ON relance_requests (request_id)
    WHERE reviews IS NULL AND get_byte(uuid_send(request_id), 15) < 48;
CREATE INDEX relance_requests_doubtful ON relance_requests (confidence, request_id)
    WHERE reviews IS NULL AND NOT cached AND get_byte(uuid_send(request_id), 15) >= 48;
