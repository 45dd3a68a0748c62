INSERT INTO relance_requests AS kept (
    request_id, "timestamp", processing_time, confidence, image_width, image_height, status, cached, prediction,
    image_name, image_format, image_sha256, image_ref, model, model_version, instance, client, user_ip, top,
    opinion
)
SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
ON CONFLICT (request_id) DO UPDATE SET
    "timestamp" = excluded."timestamp",
    processing_time = excluded.processing_time,
    confidence = excluded.confidence,
    image_width = excluded.image_width,
    image_height = excluded.image_height,
    status = excluded.status,
    cached = excluded.cached,
    prediction = excluded.prediction,
    image_name = excluded.image_name,
    image_format = excluded.image_format,
    image_sha256 = excluded.image_sha256,
    image_ref = excluded.image_ref,
    model = excluded.model,
    model_version = excluded.model_version,
    instance = excluded.instance,
    client = excluded.client,
    user_ip = excluded.user_ip,
    top = excluded.top,
    opinion = CASE WHEN excluded.opinion IS NULL
        OR kept.opinion ->> 'opinion_id' > excluded.opinion ->> 'opinion_id' THEN kept.opinion ELSE excluded.opinion END
-- What has been reviewed meanwhile keeps its reviews. A batch that is sent again after a lost answer writes nothing.
WHERE kept.* IS DISTINCT FROM excluded.*
