-- Migrations that build on each other: what script n does, and a module that has the first so many of them.
CREATE FUNCTION bare.migration(n integer) RETURNS text LANGUAGE sql AS $$
	SELECT CASE n % 3 WHEN 1 THEN format('CREATE TABLE t%s (id bigint PRIMARY KEY, name text NOT NULL)', n)
		WHEN 2 THEN format('ALTER TABLE t%s ADD price integer NOT NULL DEFAULT 0 CHECK (price >= 0)', n - 1)
		ELSE format('CREATE INDEX ON t%s (price, name)', n - 2) END
$$;
CREATE FUNCTION bare.publish_chain(module text, versions integer) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(hotswap.publish_version(module, n::text, bare.migration(n),
			parents => CASE WHEN n = 1 THEN '{}' ELSE ARRAY[(n - 1)::text] END))
	FROM generate_series(1, versions) n
$$;
-- Each version of a tree has two children.
CREATE FUNCTION bare.publish_tree(module text, versions integer) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(hotswap.publish_version(module, n::text, bare.migration(n),
			parents => CASE WHEN n = 1 THEN '{}' ELSE ARRAY[(n / 2)::text] END))
	FROM generate_series(1, versions) n
$$;
-- Nodes of a schema each, and a schema without node.
CREATE PROCEDURE bare.make_nodes(count integer) LANGUAGE plpgsql AS $$
BEGIN
	CREATE SCHEMA plain;
	PERFORM hotswap.remove_node(id) FROM hotswap.node WHERE removed_at IS NULL;
	FOR i IN 1 .. count LOOP
		EXECUTE format('CREATE SCHEMA n%s AUTHORIZATION bench', i);
		PERFORM hotswap.register_node('development', 'n' || i, run_as => 'bench', schema => 'n' || i);
	END LOOP;
END $$;
