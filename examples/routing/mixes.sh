#!/bin/sh
# Do callers see two versions of a module in one transaction while it is swapped?
#
#	mixes.sh [SECONDS [CLIENTS]]
#
# A module of 20 functions, each of which reads a table and returns the version that it is of, is swapped back and forth as
# fast as deployments go, while clients of pgbench call all of them in transactions. First as a routed
# module, then as one whose functions are replaced in place. What is counted are transactions in which
# two functions were not of the same version.
#
# Needs psql and pgbench, a superuser (PGHOST, PGUSER and so on say where and who), and hotswap among the
# shared_preload_libraries. All of it is in a database of its own, hotswap_mixes, which is dropped
# at the end, and so is a role of that name.
set -eu

seconds=${1:-10}
clients=${2:-8}
parts=20
script=$(mktemp)
export PGDATABASE="${PGDATABASE:-postgres}"

sql() { psql -XqAt -v ON_ERROR_STOP=1 "$@"; }

clean()
{
	rm -f "$script"
	sql -c 'DROP DATABASE IF EXISTS hotswap_mixes (FORCE)' -c 'DROP ROLE IF EXISTS hotswap_mixes'
}

prepare()
{
	sql -c 'CREATE DATABASE hotswap_mixes' -c 'CREATE ROLE hotswap_mixes LOGIN'
	sql -d hotswap_mixes -v parts=$parts -f - > "$script" <<-'SQL'
		CREATE EXTENSION hotswap;
		CREATE SCHEMA shop AUTHORIZATION hotswap_mixes;
		CREATE TABLE mixes (at timestamptz DEFAULT clock_timestamp());
		SELECT format('CREATE TABLE shop.item_%s ()', i) FROM generate_series(1, :parts) i \gexec
		SELECT hotswap.register_node('development', 'shop', run_as => 'hotswap_mixes', schema => 'shop');
		SELECT hotswap.configure_module('routed', routed => true);
		SELECT hotswap.publish_version(module, version::text, string_agg(format(
				'CREATE OR REPLACE FUNCTION %1$s_%2$s() RETURNS int LANGUAGE plpgsql AS'
				' $$BEGIN PERFORM FROM shop.item_%2$s; RETURN %3$s; END$$', module, part, version), E';\n'))
			FROM unnest('{routed,direct}'::text[]) module, generate_series(1, 2) version,
				generate_series(1, :parts) part GROUP BY module, version;
		CREATE PROCEDURE swap(module text, version text) LANGUAGE plpgsql AS $$
		DECLARE
			d uuid = hotswap.deploy(module, version, 'development');
		BEGIN
			COMMIT;
			IF hotswap.wait(d, '1 min') <> 'succeeded' THEN
				RAISE 'the deployment of version % of module % is %', version, module,
					(SELECT concat_ws(': ', status, message) FROM hotswap.deployments WHERE id = d);
			END IF;
		END $$;
		CREATE PROCEDURE swap_for(module text, seconds float, INOUT swaps int DEFAULT 0)
				LANGUAGE plpgsql AS $$
		DECLARE
			ends timestamptz = clock_timestamp() + seconds * interval '1 second';
		BEGIN
			WHILE clock_timestamp() < ends LOOP
				CALL swap(module, (swaps % 2 + 1)::text);
				swaps = swaps + 1;
			END LOOP;
		END $$;
	SQL
}

# transaction MODULE: calls all functions, and says so when they are not of one version
transaction()
{
	calls="shop.$1_1()"
	i=2
	while [ $i -le $parts ]; do
		calls="$calls, shop.$1_$i()"
		i=$((i + 1))
	done
	printf '%s\n' 'BEGIN;' "SELECT shop.$1_1() AS first \\gset" \
		"SELECT min(v) AS least, max(v) AS most FROM unnest(ARRAY[$calls]) v \\gset" \
		'\if :least <> :most or :least <> :first' 'INSERT INTO mixes DEFAULT VALUES;' '\endif' 'END;'
}

# run MODULE: swaps it while it is called
run()
{
	sql -d hotswap_mixes -c 'TRUNCATE mixes' -c "CALL swap('$1', '2')"
	transaction "$1" > "$script"
	sql -d hotswap_mixes -c "CALL swap_for('$1', $seconds)" > "$script.swaps" &
	swapper=$!
	status=0
	calls=$(pgbench -n -c "$clients" -j 1 -T "$seconds" -f "$script" hotswap_mixes 2> "$script.errors") ||
		status=$?
	wait $swapper
	calls=$(echo "$calls" | sed -n 's/^number of transactions actually processed: //p')
	printf '%-7s %d transactions of %d calls, %d swaps: %d mixes, %d errors\n' "$1" "$calls" \
		$((parts + 1)) "$(cat "$script.swaps")" "$(sql -d hotswap_mixes -c 'SELECT count(*) FROM mixes')" \
		"$(grep -c ERROR: "$script.errors" || true)"
	rm -f "$script.swaps" "$script.errors"
}

trap clean EXIT
clean 2>/dev/null
prepare
run routed
run direct
