-- A node of development whose schema and role are named, and modules that are routed there.
CREATE FUNCTION routed_node(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I LOGIN', named(name));
	EXECUTE format('CREATE SCHEMA %I AUTHORIZATION %I', name, named(name));
	EXECUTE format('GRANT USAGE ON SCHEMA %I TO PUBLIC', name);
	RETURN hotswap.register_node('development', name, run_as => named(name)::regrole,
		schema => name);
END $$;

-- A version of module billing with a function: tax(n) is so many times n.
CREATE FUNCTION publish_tax(times int) RETURNS text LANGUAGE sql AS $$
	SELECT hotswap.publish_version('billing', times::text, format(
		'CREATE OR REPLACE FUNCTION tax(n int DEFAULT 3) RETURNS int LANGUAGE plpgsql'
		' AS ''BEGIN RETURN n * %s; END''', times),
		format('SELECT tax(1) = %s', times))
$$;

-- Publishes a version of a module.
CREATE FUNCTION publish(version text, script text, module text DEFAULT 'billing') RETURNS text
		LANGUAGE sql AS $$
	SELECT hotswap.publish_version(module, version, script)
$$;

-- Deploys a version, and says how that ended: "succeeded", or the message and the detail.
CREATE PROCEDURE swap(version text, INOUT d uuid DEFAULT NULL, INOUT said text DEFAULT NULL,
		module text DEFAULT 'billing') LANGUAGE plpgsql AS $$
BEGIN
	d = hotswap.deploy(module, version, 'development');
	COMMIT;
	said = hotswap.wait(d, '60 s');
	IF said <> 'succeeded' THEN
		SELECT concat_ws(' ', t.message, '|', t.detail) INTO said FROM hotswap.tasks t
			WHERE t.deployment_id = d AND t.status = 'failed';
	END IF;
END $$;
