-- A routed module "m" on a node, with its slots made by hand: what the deployments of such a module
-- do, and nothing else.
CREATE FUNCTION the_tenant() RETURNS uuid IMMUTABLE LANGUAGE sql AS
	$$SELECT '11111111-1111-4111-8111-111111111111'::uuid$$;
CREATE FUNCTION the_node() RETURNS uuid IMMUTABLE LANGUAGE sql AS
	$$SELECT '22222222-2222-4222-8222-222222222222'::uuid$$;

-- The text of an entry to a function of a module.
CREATE FUNCTION body_of(function text, module text = 'm', slot text = 'm@a') RETURNS text
	LANGUAGE sql AS $$
	SELECT format('tenant %s node %s module "%s" function "%s" slot "%s"',
		the_tenant(), the_node(), module, function, slot)
$$;

-- A slot, empty, of a generation.
CREATE FUNCTION make_slot(slot text, generation bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE SCHEMA %I', slot);
	EXECUTE format('CREATE TABLE %I.%I ()', slot, 'hotswap_slot_' || generation);
END $$;

-- The slot is used for the next generation.
CREATE FUNCTION refill_slot(slot text, old bigint, new bigint) RETURNS void
	LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('ALTER TABLE %I.%I RENAME TO %I', slot, 'hotswap_slot_' || old,
		'hotswap_slot_' || new);
END $$;

-- Callers get a slot from the commit on; it returns the epoch.
CREATE FUNCTION route(slot text, generation bigint, module text = 'm', other text = NULL,
		other_generation bigint = NULL, share integer = 10000, roles regrole[] = NULL)
	RETURNS bigint LANGUAGE sql AS $$
	INSERT INTO hotswap.route (tenant_id, node_id, module, epoch, slot, generation, version,
		other_slot, other_generation, other_version, share, roles)
	VALUES (the_tenant(), the_node(), module,
		nextval('hotswap.epoch_seq'), slot, generation, slot || generation,
		other, other_generation, other || other_generation, share, roles)
	RETURNING epoch
$$;

-- A function of both slots, and its entry: 'f(i integer) RETURNS text', what stands behind it, the
-- entry's volatility. "%s" in it is the slot.
CREATE FUNCTION routed(signature text, definition text, entry text = 'STABLE', module text = 'm')
	RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	kind text = CASE WHEN signature ~ 'RETURNS' THEN 'FUNCTION' ELSE 'PROCEDURE' END;
	name text = substring(signature, '^\w+');
	slot text;
BEGIN
	FOREACH slot IN ARRAY ARRAY[module || '@a', module || '@b'] LOOP
		EXECUTE format('CREATE %s %I.%s %s', kind, slot, signature,
			replace(definition, '%s', slot));
	END LOOP;
	EXECUTE format('CREATE %s %s LANGUAGE hotswap %s AS %L', kind, signature, entry,
		body_of(name, module, module || '@a'));
END $$;
