-- Rehearsals of versions of the module "m", which build on each other, on the node "n" of
-- development, and what is there before and after them.
CREATE TABLE items (id int PRIMARY KEY, name text NOT NULL);
INSERT INTO items SELECT g, 'item ' || g FROM generate_series(1, 2000) g;
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
SELECT hotswap.register_node('development', 'n') AS node \gset

CREATE PROCEDURE rehearse(version text, INOUT said text DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
	d uuid = hotswap.deploy('m', version, 'development', rehearse => true);
BEGIN
	COMMIT;
	PERFORM hotswap.wait(d, '60 s');
	COMMIT;
	SELECT concat_ws(' ', status, sqlstate, message) INTO said
	FROM hotswap.deployment WHERE id = d;
END $$;

-- The last rehearsal.
CREATE FUNCTION rehearsal() RETURNS uuid LANGUAGE sql AS $$
	SELECT id FROM hotswap.deployment WHERE kind = 'rehearsal' ORDER BY id DESC LIMIT 1
$$;
CREATE FUNCTION task() RETURNS hotswap.tasks LANGUAGE sql AS
	$$SELECT t FROM hotswap.tasks t WHERE deployment_id = rehearsal() AND kind = 'swap'$$;

-- Every row of the catalogs, and of the tables; what is shared, other databases' tests change too.
-- The server counts pages, rows and indexes of a table in pg_class without a transaction,
-- and freezes.
CREATE FUNCTION everything() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text = '';
	part text;
	catalog regclass;
BEGIN
	FOR catalog IN SELECT c.oid FROM pg_class c WHERE c.relkind IN ('r', 'p')
		AND (c.relnamespace = 'pg_catalog'::regnamespace AND c.relname NOT LIKE 'pg_statistic%'
			OR c.relnamespace = 'public'::regnamespace)
		AND NOT c.relisshared AND c.oid <> 'pg_largeobject'::regclass
		ORDER BY c.oid
	LOOP
		EXECUTE format($q$SELECT md5(coalesce(string_agg(r, E'\n' ORDER BY r), ''))
			FROM (SELECT (to_jsonb(t) - '{relpages,reltuples,relallvisible,relallfrozen,
				relfrozenxid,relminmxid,relhasindex}'::text[])::text FROM %s t) t (r)$q$, catalog)
			INTO part;
		result = result || catalog::text || ' ' || part || E'\n';
	END LOOP;
	RETURN result;
END $$;
