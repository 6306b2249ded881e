-- Versions that build on each other: scripts that write their name to a table of their node, and
-- what nodes run.

-- A version that writes its name; its revert script writes it with a minus, its installer with =.
CREATE FUNCTION publish_step(version text, parents text[], revert boolean DEFAULT true,
		install boolean DEFAULT false) RETURNS text LANGUAGE sql AS $$
	SELECT hotswap.publish_version('m', version, format('INSERT INTO log (what) VALUES (%L)',
	version),
		revert_sql => CASE WHEN revert THEN format('INSERT INTO log (what) VALUES (%L)', '-' ||
	version) END,
		parents => parents,
		install_sql => CASE WHEN install THEN format('INSERT INTO log (what) VALUES (%L)', '=' ||
	version) END)
$$;

-- A node with a schema of its own, in which there is the table.
CREATE FUNCTION logging_node(environment text, name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE SCHEMA %I', name);
	EXECUTE format('CREATE TABLE %I.log (ordinal serial, what text)', name);
	RETURN hotswap.register_node(environment, name, schema => name);
END $$;

-- What the scripts wrote there, in order.
CREATE FUNCTION log_of(node text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format('SELECT coalesce(string_agg(what, '' '' ORDER BY ordinal), '''') FROM %I.log',
	node)
		INTO result;
	RETURN result;
END $$;

-- What a node runs of the module: all that was applied and has not gone since must be in its heads.
CREATE FUNCTION heads_of(node text) RETURNS text LANGUAGE sql AS $$
	SELECT array_to_string(m.heads, ' ') FROM hotswap.node_module m
		JOIN hotswap.node n ON n.id = m.node_id AND n.name = node
	WHERE m.module = 'm' ORDER BY m.swap DESC LIMIT 1
$$;
CREATE FUNCTION steps_of(node text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(m.direction || ' ' || m.step, ', ' ORDER BY m.swap) FROM hotswap.node_module m
		JOIN hotswap.node n ON n.id = m.node_id AND n.name = node WHERE m.module = 'm'
$$;

-- Deploys and says how it ended.
CREATE PROCEDURE deploy_to(version text, environment text, INOUT said text DEFAULT NULL)
	LANGUAGE plpgsql AS $$
DECLARE
	d uuid = hotswap.deploy('m', version, environment);
BEGIN
	COMMIT;
	PERFORM hotswap.wait(d, '60 s');
	COMMIT;
	SELECT concat_ws(': ', status, message) INTO said FROM hotswap.deployment WHERE id = d;
END $$;

-- Waits for the end of a deployment and says how it ended.
CREATE PROCEDURE ended(d uuid, INOUT said text DEFAULT NULL) LANGUAGE plpgsql AS $$
BEGIN
	COMMIT;
	PERFORM hotswap.wait(d, '60 s');
	COMMIT;
	SELECT concat_ws(': ', status, message) INTO said FROM hotswap.deployment WHERE id = d;
END $$;
