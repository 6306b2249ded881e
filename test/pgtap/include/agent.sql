-- An environment with two agents and no other nodes, and what an agent says.
CREATE ROLE :"DBNAME" LOGIN;
SELECT named('one') AS one, named('two') AS two \gset
CREATE ROLE :"one" LOGIN;
CREATE ROLE :"two" LOGIN;
SELECT hotswap.register_node('development', 'one', 'agent', :'one') AS first,
	hotswap.register_node('development', 'two', 'agent', :'two') AS second \gset

-- The SHA-256 of an artifact that is a text.
CREATE FUNCTION sha(artifact text) RETURNS text LANGUAGE sql AS
	$$SELECT encode(sha256(convert_to(artifact, 'UTF8')), 'hex')$$;
CREATE FUNCTION artifact(version text) RETURNS text LANGUAGE sql AS
	$$SELECT hotswap.publish_artifact('web', version, convert_to(version, 'UTF8'))$$;
SELECT artifact('1.0'), artifact('2.0') \g /dev/null

-- What an agent holds: the last claim of each node.
CREATE TABLE held (node uuid, task text, token text, action text, version text, previous text,
	digest text);
CREATE FUNCTION claim(n uuid) RETURNS text LANGUAGE sql AS $$
	DELETE FROM held WHERE node = n;
	INSERT INTO held SELECT n, task, token, action, version, previous_version, digest
		FROM hotswap.claim_tasks(n);
	SELECT max(action || ' ' || version || coalesce(' from ' || previous, '')) FROM held
		WHERE node = n;
$$;
CREATE FUNCTION complete(n uuid, success boolean, digest text) RETURNS text LANGUAGE sql AS
	$$SELECT hotswap.complete_task(h.task, h.token, success, complete.digest) FROM held h
		WHERE h.node = n$$;
-- It has done what it was told.
CREATE FUNCTION obey(n uuid) RETURNS text LANGUAGE sql AS
	$$SELECT complete(n, true, digest) FROM held WHERE node = n$$;
-- Waits until there is something to do for an agent.
CREATE PROCEDURE work_for(n uuid) LANGUAGE plpgsql AS $$
BEGIN
	CALL until(format('EXISTS (SELECT FROM hotswap.task WHERE node_id = %L AND token IS NULL
		AND lease_until IS NOT NULL)', n));
END $$;
