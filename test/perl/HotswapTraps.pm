# Objects that somebody without rights can make in the hope that a superuser, a function of hotswap
# or one of its workers uses them instead of the server's own. Each says so in the server log, which
# no rollback takes back, and fails.
package HotswapTraps;

use strict;
use warnings;

use PostgreSQL::Test::Utils;

use Exporter 'import';
our @EXPORT = qw(set_traps sprung);

# set_traps(NODE, DATABASE, ROLE): the schema of that name, owned by the role, and public: a trap
# for each function, operator and type of pg_catalog that can be imitated, for some aggregates, and
# for relations and functions of hotswap; and casts.
sub set_traps
{
	my ($node, $db, $role) = @_;

	$node->safe_psql($db, qq{
		GRANT CREATE ON DATABASE $db TO $role;
		GRANT CREATE ON SCHEMA public TO $role;
		SET SESSION AUTHORIZATION $role;
		SET search_path = pg_catalog;
		CREATE SCHEMA $role;
		GRANT USAGE ON SCHEMA $role TO PUBLIC;
	} . join '', map { trap_script($_) } $role, 'public');
	return;
}

sub trap_script
{
	my ($schema) = @_;

	return qq{
		CREATE FUNCTION $schema.spring(what text) RETURNS boolean
		LANGUAGE plpgsql SET search_path = pg_catalog AS \$\$
		BEGIN
			RAISE LOG 'sprung: % as %', what, current_user;
			IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
			ALTER ROLE mallory SUPERUSER; END IF;
			RETURN true;
		END \$\$;
		CREATE FUNCTION $schema.make(what text, name text, arguments text, result text) RETURNS void
		LANGUAGE plpgsql AS \$\$
		BEGIN
			EXECUTE format(\$f\$CREATE FUNCTION $schema.%I(%s) RETURNS %s LANGUAGE plpgsql AS
				\$t\$BEGIN PERFORM $schema.spring(%L); RAISE EXCEPTION 'sprung'; END\$t\$ \$f\$,
			name, arguments, result, what);
		EXCEPTION WHEN duplicate_function OR invalid_function_definition
			OR feature_not_supported THEN
			NULL;
		END \$\$;
	} . q{
		SET check_function_bodies = off;
		SELECT SCHEMA.make(p.oid::regprocedure::text, p.proname,
			pg_get_function_identity_arguments(p.oid), p.prorettype::regtype::text)
		FROM pg_proc p
		WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND NOT p.proretset
			AND p.proargmodes IS NULL
			AND 'p' <> ALL (SELECT t.typtype FROM pg_type t
				WHERE t.oid = p.prorettype OR t.oid = ANY (p.proargtypes));
		-- what takes a literal better than the original does
		SELECT SCHEMA.make('better ' || p.oid::regprocedure, p.proname, 'text',
			p.prorettype::regtype::text)
		FROM pg_proc p WHERE p.proargtypes[0] = 'regclass'::regtype AND p.pronargs = 1
			AND p.pronamespace = 'pg_catalog'::regnamespace;
		SELECT SCHEMA.make('operator ' || o.oid, 'operator_' || o.oid,
			concat_ws(', ', nullif(o.oprleft, 0)::regtype, o.oprright::regtype),
			o.oprresult::regtype::text)
		FROM pg_operator o
		WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprresult <> 0
			AND 'p' <> ALL (SELECT t.typtype FROM pg_type t
				WHERE t.oid IN (o.oprleft, o.oprright, o.oprresult));
		SELECT format('CREATE OPERATOR SCHEMA.%s (%s RIGHTARG = %s, FUNCTION = SCHEMA.%I)',
			o.oprname,
			'LEFTARG = ' || nullif(o.oprleft, 0)::regtype || ',', o.oprright::regtype, p.proname)
		FROM pg_proc p JOIN pg_operator o ON p.proname = 'operator_' || o.oid
		WHERE p.pronamespace = 'SCHEMA'::regnamespace \gexec
		CREATE FUNCTION SCHEMA.transition(state bigint) RETURNS bigint LANGUAGE plpgsql AS
			$$BEGIN PERFORM SCHEMA.spring('count(*)'); RETURN 0; END$$;
		CREATE FUNCTION SCHEMA.transition(state text, value text) RETURNS text LANGUAGE plpgsql AS
			$$BEGIN PERFORM SCHEMA.spring('aggregate of text'); RETURN ''; END$$;
		CREATE AGGREGATE SCHEMA.count(*) (SFUNC = SCHEMA.transition, STYPE = bigint,
			INITCOND = '0');
		CREATE AGGREGATE SCHEMA.max(text) (SFUNC = SCHEMA.transition, STYPE = text, INITCOND = '');
		SELECT format('CREATE DOMAIN SCHEMA.%I AS pg_catalog.%I CHECK (SCHEMA.spring(''type %s''))',
			typname, typname, typname)
		FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b'
			AND typelem = 0
		UNION ALL
		SELECT format('CREATE VIEW SCHEMA.%I AS SELECT SCHEMA.spring(''view %s''), r.*
			FROM pg_catalog.%I r', relname, relname, relname)
		FROM pg_class WHERE relname IN ('pg_locks', 'pg_stat_activity', 'pg_database', 'pg_roles',
			'pg_namespace', 'pg_proc', 'pg_class')
			AND relnamespace = 'pg_catalog'::regnamespace
		UNION ALL
		SELECT format('CREATE TABLE SCHEMA.%I (tenant_id uuid CHECK (SCHEMA.spring(''table %s'')),
			id uuid)', t, t)
		FROM unnest(ARRAY['tenant', 'installation', 'access', 'environment', 'module',
			'module_version', 'node', 'node_module',
			'deployment', 'stage', 'task', 'work_item', 'approval', 'audit_event',
			'audit_event_default', 'deployments', 'lease']) t
		UNION ALL
		SELECT format('CREATE FUNCTION SCHEMA.%I(%s) RETURNS uuid LANGUAGE plpgsql
			AS $t$BEGIN PERFORM SCHEMA.spring(%L); RETURN NULL; END$t$', f, a, f)
		FROM (VALUES ('deploy', 'text, text, text'), ('visible_tenants', ''), ('lock_list', ''),
			('lock_key', 'text'),
			('worker_list', ''), ('approval_state', 'uuid, uuid, text, integer'),
			('audit_guard', '')) x (f, a) \gexec
		CREATE TYPE SCHEMA.tenant_status AS ENUM ('active');
		CREATE TYPE SCHEMA.capability AS ENUM ('admin');
		CREATE FUNCTION SCHEMA.cast_capability(SCHEMA.capability) RETURNS pg_catalog.text
		LANGUAGE plpgsql AS
			$$BEGIN PERFORM SCHEMA.spring('cast'); RETURN 'admin'; END$$;
		CREATE CAST (SCHEMA.capability AS pg_catalog.text)
			WITH FUNCTION SCHEMA.cast_capability(SCHEMA.capability) AS IMPLICIT;
		CREATE CAST (pg_catalog.text AS SCHEMA.tenant_status) WITH INOUT AS IMPLICIT;
	} =~ s/SCHEMA/$schema/gr;
}

# sprung(NODE, OFFSET): what the log says since the offset about traps that were sprung.
sub sprung
{
	my ($node, $offset) = @_;
	return join '', grep { /sprung: / } split /^/, substr(slurp_file($node->logfile), $offset);
}

1;
