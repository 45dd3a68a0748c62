-- Columns of fixed width come first: PostgreSQL then needs no padding between them.
-- Class names are compared byte by byte (collation "C"): faster, and no upgrade of the system's collations can
-- spoil the index.
CREATE TABLE relance_requests (
    request_id      uuid PRIMARY KEY,
    "timestamp"     timestamptz NOT NULL,
    processing_time double precision NOT NULL,
    confidence      real NOT NULL,
    image_width     integer NOT NULL,
    image_height    integer NOT NULL,
    status          smallint NOT NULL,
    cached          boolean NOT NULL,
    prediction      text COLLATE "C" NOT NULL,
    image_name      text NOT NULL,
    image_format    text NOT NULL,
    image_sha256    bytea NOT NULL,
    image_ref       text,
    model           text NOT NULL,
    model_version   text NOT NULL,
    instance        text NOT NULL,
    client          text,
    user_ip         text,
    top             jsonb NOT NULL
);

-- Newest first within a class. Newest first among all needs no index of its own: the key is a UUIDv7.
CREATE INDEX relance_requests_by_prediction ON relance_requests (prediction, request_id);

-- Whether a picture is still referred to.
CREATE INDEX relance_requests_by_image ON relance_requests USING hash (image_sha256);
