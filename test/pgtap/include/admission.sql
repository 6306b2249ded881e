-- Tenants whose deployments CALL work() admits.
CREATE FUNCTION add_node(environment text, name text, tenant uuid) RETURNS uuid
	LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE SCHEMA %I', name);
	RETURN hotswap.register_node(environment, name, run_as => session_user::text::regrole,
		schema => name, tenant => tenant);
END $$;

-- A tenant with two environments in which nobody has to approve anything, and a node in the first.
CREATE FUNCTION make(name text, tier text) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
	t uuid = gen_random_uuid();
BEGIN
	INSERT INTO hotswap.tenant (id, name, status, tier) VALUES (t, name, 'active', tier);
	PERFORM hotswap.configure_environment('one', 1, tenant => t),
		hotswap.configure_environment('two', 2, tenant => t),
		add_node('one', name, t);
	RETURN t;
END $$;

-- How many of a tenant's deployments ran at once, at most; parts of a deployment that ran apart are
-- no matter here.
CREATE FUNCTION most_at_once(tenant uuid) RETURNS bigint LANGUAGE sql AS $$
	SELECT max((SELECT count(*) FROM hotswap.deployment o WHERE o.tenant_id = tenant
		AND o.started_at <= d.started_at AND o.finished_at > d.started_at))
	FROM hotswap.deployment d WHERE d.tenant_id = tenant
$$;

CREATE FUNCTION statuses(tenant uuid) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(n || ' ' || status, ', ' ORDER BY status) FROM (SELECT status, count(*) AS n
		FROM hotswap.deployment WHERE tenant_id = tenant GROUP BY status) s
$$;

CREATE FUNCTION set_status(id_of uuid, new_status text, reason text = NULL) RETURNS void
	LANGUAGE sql AS $$
	UPDATE hotswap.tenant SET status = new_status::hotswap.tenant_status, status_reason = reason
	WHERE id = id_of
$$;

-- The names of those that were started, in this order.
CREATE FUNCTION order_of(pattern text, of_version text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(t.name, '' ORDER BY d.started_at) FROM hotswap.deployment d
	JOIN hotswap.tenant t ON t.id = d.tenant_id
	WHERE t.name ~ pattern AND d.version = of_version
$$;
