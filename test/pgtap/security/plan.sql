-- What EXPLAIN tells does not depend on the rows of tenants that one does not see.
SELECT plan(3);

-- Given a tenant that is mine and one that is not, with rows in every table that a view shows.
CREATE ROLE hotswap_test_plan_nora;
CREATE ROLE hotswap_test_plan_vera;
SELECT hotswap.grant_access('hotswap_test_plan_nora', 'viewer'),
	hotswap.revoke_access('hotswap_test_plan_nora', 'viewer'),
	gen_random_uuid() AS mine, gen_random_uuid() AS theirs \gset
CREATE FUNCTION fill(t uuid, word text, rows integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	never CONSTANT timestamptz = '2100-01-01';
	deployment uuid;
BEGIN
	INSERT INTO hotswap.tenant (id, name, status, subdomain, contact_email, status_reason)
		VALUES (t, word, 'active', word, word || '@example.com', word);
	INSERT INTO hotswap.environment (tenant_id, name, rank, strategy, revert_on_failure)
		SELECT t, word || i, i, 'direct', true FROM generate_series(1, rows) i;
	INSERT INTO hotswap.environment_rule VALUES (t, word || 1, 'truncate', 'deny');
	INSERT INTO hotswap.environment_window SELECT t, gen_random_uuid(), word || 1, word || i,
		'deny', word, tstzrange(never, NULL), NULL, NULL, NULL, NULL, ARRAY[word], word, now()
		FROM generate_series(1, rows) i;
	INSERT INTO hotswap.module (tenant_id, name) VALUES (t, word);
	INSERT INTO hotswap.module_version
		(tenant_id, module, version, digest, published_by, deploy_sql)
		VALUES (t, word, word, sha256(''), word, word);
	INSERT INTO hotswap.module_version
		(tenant_id, module, version, digest, published_by, deploy_sql)
		SELECT t, word, word || i, sha256(''), word, word FROM generate_series(1, rows) i;
	INSERT INTO hotswap.version_tag SELECT t, word, word || '@' || i, word || i, now(), word
		FROM generate_series(1, rows) i;
	INSERT INTO hotswap.release SELECT t, word || i, sha256(''), now(), word
		FROM generate_series(1, rows) i;
	INSERT INTO hotswap.release_module SELECT t, word || i, word, word
		FROM generate_series(1, rows) i;
	INSERT INTO hotswap.signing_key (tenant_id, name, algorithm, public_key, fingerprint, valid,
		created_by) SELECT t, word || i, 'ed25519', word,
		decode(lpad(i::text, 64, CASE word WHEN 'mine' THEN '0' ELSE 'f' END), 'hex'),
		tstzrange(NULL, NULL), word FROM generate_series(1, rows) i;
	INSERT INTO hotswap.version_signature (tenant_id, module, version, signing_key, signature,
		signed_by) SELECT t, word, word, word || i, '', word FROM generate_series(1, rows) i;
	INSERT INTO hotswap.hook SELECT t, 'test', word, word || i, 'hotswap_test_plan_vera'
		FROM generate_series(1, rows) i;
	INSERT INTO hotswap.quota SELECT t, 'nodes', length(word) * 111;
	INSERT INTO hotswap.lease SELECT t, word || i, 1, now(), never, word, word, 0, word
		FROM generate_series(1, rows) i;
	INSERT INTO hotswap.approval_delegation SELECT t, gen_random_uuid(), 'hotswap_test_plan_vera',
		'hotswap_test_plan_nora', now(), never, NULL, word FROM generate_series(1, rows);
	UPDATE hotswap.approval_delegation SET revoked_at = now();
	INSERT INTO hotswap.audit_event SELECT t, t, i, now(), word, word, word, word, word, word, 0,
		NULL, word, word, NULL, NULL, '' FROM generate_series(1, rows) i;
	FOR i IN 1..rows LOOP
		deployment = gen_random_uuid();
		INSERT INTO hotswap.node VALUES (t, deployment, word || 1, word || i, 'database',
			'hotswap_test_plan_vera', word || i, '{}');
		INSERT INTO hotswap.node_metric VALUES (t, deployment, never, true, 1, 1, 1, 1, 1, 1, '',
			jsonb_build_object(word, 1));
		INSERT INTO hotswap.node_pin VALUES (t, deployment, word, word, never, word, now(), word);
		INSERT INTO hotswap.node_module VALUES (t, deployment, word, DEFAULT, deployment, word, '',
			now());
		INSERT INTO hotswap.deployment (tenant_id, id, status, priority, audit_seq, requested_at,
			audit_hash, module, version, environment, requested_by, run_by_role, login, metadata,
			cancel_reason, sqlstate, message) VALUES (t, deployment, 'scheduled', length(word), 1,
			now(), '', word, word, word || 1, word, word, word, '{}', word, word, word);
		INSERT INTO hotswap.stage VALUES (t, deployment, 1, 'deploy', 'pending', word || 1, NULL,
			NULL, word);
		INSERT INTO hotswap.task (tenant_id, deployment_id, stage, ordinal, kind, status, wave,
			attempt, node_id, message) VALUES (t, deployment, 1, 1, 'swap', 'pending', 1, 1,
			deployment, word);
		INSERT INTO hotswap.rollout VALUES (t, deployment, 1, 'rolling', 1, '0', '0', false, '0',
			length(word), never, NULL, NULL, false, false, '0', NULL, NULL, 0.9,
			length(word), 1, 1, 1, 1, false, '0', false, 0);
		INSERT INTO hotswap.analysis (tenant_id, deployment_id, stage, at, metric, wave, look,
			method, verdict, gate, nodes_with, nodes_without, baseline_since, since, left_out,
			reason) VALUES (t, deployment, 1, never, 'health', length(word), 1, 'health', 'pass',
			'pass', 1, 1, now(), now(), ARRAY[word], word);
		INSERT INTO hotswap.pause VALUES (t, deployment, 'person', now(), never, word, word);
		INSERT INTO hotswap.held_version VALUES (t, word || 1, word, word || i, now(), word,
			deployment, word);
		INSERT INTO hotswap.rehearsal VALUES (t, deployment, deployment, 1, word, word, 'up', '1 s',
			length(word), jsonb_build_array(jsonb_build_object('relation', word, 'mode', word,
			'held_ms', i, 'waiters', i)));
		INSERT INTO hotswap.work_item VALUES (t, deployment, never, length(word));
		INSERT INTO hotswap.approval (tenant_id, deployment_id, environment, round, status, extra,
			opened_at, expires_at, digest, decided_by, reason, ticket)
			SELECT t, deployment, word || 1, r, CASE r WHEN 1 THEN 'bypassed' ELSE 'void' END
			::hotswap.approval_status, false, now(), never, sha256(''), word, word, word
			FROM generate_series(1, 2) r;
		INSERT INTO hotswap.freeze_override VALUES (t, deployment, deployment, word || 1, '{}',
			word, word, now(), word, NULL, never);
		INSERT INTO hotswap.notification VALUES (t, deployment, deployment, 'approved', now(), NULL,
			word || 1, ARRAY[word], word);
		INSERT INTO hotswap.route_slot VALUES (t, deployment, word, word || i, i, word, sha256(''),
			word, '{}', now());
		INSERT INTO hotswap.route (tenant_id, node_id, module, epoch, slot, generation, version)
			VALUES (t, deployment, word, nextval('hotswap.epoch_seq'), word || i, i, word);
	END LOOP;
	EXECUTE format('CREATE FUNCTION %I() RETURNS integer LANGUAGE hotswap AS %L', word,
		format('tenant %s node %s module "%s" function "f" slot "s"', t, deployment, word));
END $$;
SELECT hotswap.stop_dispatching('made-up rows') \g /dev/null
SELECT fill(:'mine', 'mine', 3), fill(:'theirs', 'secret', 60) \g /dev/null
SELECT hotswap.grant_access('hotswap_test_plan_vera', 'viewer', :'mine') \g /dev/null
ANALYZE;

-- Given, for each column of each view, values that only they have, and one that nobody has.
CREATE TABLE asked (view text, col text, operator text, value text);
CREATE FUNCTION note_values(of_view text, col text, type regtype, whose text, mine uuid,
		theirs uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO asked SELECT %1$L, %2$L, o, v FROM (
		(SELECT x.%2$I::text FROM hotswap.%1$I x WHERE %3$s = %4$L EXCEPT
			SELECT x.%2$I::text FROM hotswap.%1$I x WHERE %3$s = %5$L LIMIT 2) UNION ALL
		SELECT %6$L) v (v), unnest(%7$L::text[]) o WHERE v IS NOT NULL', of_view, col, whose,
		theirs, mine, CASE type WHEN 'text'::regtype THEN 'sz' WHEN 'name'::regtype THEN 'sz'
			WHEN 'uuid'::regtype THEN gen_random_uuid()::text WHEN 'integer'::regtype THEN '7777'
			WHEN 'bigint'::regtype THEN '7777' WHEN 'timestamptz'::regtype THEN '2111-11-11' END,
		CASE WHEN type = 'text'::regtype THEN '{=,<,>}' ELSE '{=}' END);
END $$;
SELECT note_values(c.relname, a.attname, a.atttypid,
	CASE c.relname WHEN 'tenants' THEN 'x.id' WHEN 'locks' THEN
		format('CASE WHEN x.resource ~ ''^secret'' THEN %L ELSE %L END::uuid', :'theirs', :'mine')
	ELSE 'x.tenant_id' END, :'mine', :'theirs')
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'hotswap'::regnamespace AND c.relkind = 'v'
	AND c.relname NOT IN ('tiers', 'workers', 'quota_limits', 'usual_environments',
		'seen_deployments')
	AND a.atttypid NOT IN ('boolean'::regtype, 'jsonb'::regtype) \g /dev/null

-- What EXPLAIN says of a query with a condition, without the value that was asked for.
CREATE FUNCTION told(settings text, view text, col text, operator text, value text) RETURNS text
		LANGUAGE plpgsql AS $$
DECLARE
	line text;
	plan text = '';
BEGIN
	PERFORM set_config(s, 'off', true) FROM unnest(string_to_array(settings, ' ')) s;
	FOR line IN EXECUTE format('EXPLAIN (ANALYZE, BUFFERS OFF, TIMING OFF, SUMMARY OFF)
		SELECT FROM hotswap.%I
		WHERE %I %s %L', view, col, operator, value) LOOP
		-- the rest of locks is about the server's own lists, which change all the time
		CONTINUE WHEN view = 'locks' AND line !~ 'Scan on (lease|e|visible)';
		plan = plan || E'\n' || line;
	END LOOP;
	PERFORM set_config(s, 'on', true) FROM unnest(string_to_array(settings, ' ')) s;
	RETURN replace(replace(plan, operator || ' ' || quote_literal(value), '?'),
		operator || ' ' || value, '?');
END $$;
CREATE TABLE plan_settings (settings text);
INSERT INTO plan_settings VALUES (''), ('enable_seqscan'), ('enable_indexscan enable_bitmapscan'),
	('enable_nestloop enable_mergejoin enable_indexscan enable_bitmapscan'),
	('enable_nestloop enable_hashjoin enable_seqscan enable_indexscan');
GRANT SELECT ON asked, plan_settings TO PUBLIC;
SELECT set_eq('SELECT DISTINCT view FROM asked WHERE value ~ ''secret''',
	$$SELECT relname::text FROM pg_class WHERE relnamespace = 'hotswap'::regnamespace
		AND relkind = 'v' AND relname NOT IN ('tiers', 'workers', 'quota_limits', 'quotas',
		'usual_environments', 'seen_deployments')$$,
	'every view has a row of theirs');
CREATE VIEW differing WITH (security_invoker) AS
	SELECT view, col, operator, settings, min(plan), max(plan) FROM (
		SELECT *, told(settings, view, col, operator, value) AS plan
		FROM asked CROSS JOIN plan_settings OFFSET 0) p
	GROUP BY 1, 2, 3, 4 HAVING min(plan) <> max(plan);
GRANT SELECT ON differing TO PUBLIC;

SET jit = off;

-- When somebody asks who sees nothing, or another tenant, no plan tells which values there are.
SET ROLE hotswap_test_plan_nora;
SELECT is_empty('TABLE differing', 'to who sees nothing');
SET ROLE hotswap_test_plan_vera;
SELECT is_empty('TABLE differing', 'to who sees another tenant');
RESET ROLE;
SELECT * FROM finish();
