-- The people of the tests of approvals, each of whom logs in as himself, a module, and a node in
-- production: alice and app request, bob and carol are the leads who approve, the others have no
-- rights yet.
SELECT format('CREATE ROLE %I LOGIN', named(who))
FROM unnest('{alice,bob,carol,dave,erin,app,boss,node}'::text[]) who \gexec
SELECT format('CREATE ROLE %I', named('leads')) \gexec
SELECT format('GRANT %I TO %I, %I', named('leads'), named('bob'), named('carol')) \gexec
SELECT format('CREATE SCHEMA n AUTHORIZATION %I', named('node')) \gexec
SELECT hotswap.grant_access(named('alice')::regrole, 'deployer'),
	hotswap.grant_access(named('app')::regrole, 'deployer'),
	hotswap.publish_version('m', '1', 'SELECT 1'),
	hotswap.register_node('production', 'p', run_as => named('node')::regrole,
		schema => 'n') \g /dev/null

CREATE FUNCTION request(environment text DEFAULT 'production', more text DEFAULT '',
		role text DEFAULT 'alice') RETURNS uuid LANGUAGE sql AS $$
	SELECT as_role(named(role),
		format('SELECT hotswap.deploy(''m'', ''1'', %L%s)', environment, more))::uuid
$$;

-- what a function of approvals answers to somebody: vote('bob', 'approve', deployment)
CREATE FUNCTION vote(role text, what text, d uuid, more text DEFAULT '') RETURNS text
		LANGUAGE sql AS $$
	SELECT as_role(named(role), format('SELECT hotswap.%s(%L%s)', what, d, more))
$$;
