-- The usual queue: claim one, record its end, commit.
WITH claimed AS (
	DELETE FROM bare.queue
	WHERE ctid = (SELECT ctid FROM bare.queue ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1)
	RETURNING id)
UPDATE bare.job SET status = 'succeeded', finished_at = clock_timestamp()
FROM claimed WHERE job.id = claimed.id;
