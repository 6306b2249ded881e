-- What most pages of the manual begin with: run it by \i in psql, as a superuser, in a new database of
-- a server that has hotswap preloaded. Afterwards billing 1.0 runs in development and production, bob
-- may approve, and the variable :first has the id of that deployment.
\set QUIET on
\set ON_ERROR_STOP on
CREATE EXTENSION IF NOT EXISTS hotswap;

-- two nodes: a role and a schema each
CREATE ROLE billing_dev LOGIN;
CREATE SCHEMA billing_dev AUTHORIZATION billing_dev;
CREATE ROLE billing LOGIN;
CREATE SCHEMA billing AUTHORIZATION billing;
SELECT hotswap.register_node('development', 'dev', run_as => 'billing_dev', schema => 'billing_dev') AS dev,
  hotswap.register_node('production', 'prod', run_as => 'billing', schema => 'billing') AS prod \gset

-- somebody who may approve
CREATE ROLE bob LOGIN;
SELECT hotswap.grant_access('bob', 'approver') \g /dev/null

-- a version, and its deployment to production
SELECT hotswap.publish_version('billing', '1.0',
  deploy_sql => $$
    CREATE TABLE invoice (id bigint PRIMARY KEY, cents bigint NOT NULL);
    CREATE FUNCTION total() RETURNS bigint LANGUAGE sql STABLE SET search_path FROM CURRENT
      AS 'SELECT coalesce(sum(cents), 0)::bigint FROM invoice';
  $$,
  verify_sql => 'SELECT total() >= 0',
  revert_sql => 'DROP FUNCTION total(); DROP TABLE invoice') AS digest \gset
SELECT hotswap.deploy('billing', '1.0', 'production', idempotency_key => 'ci-1001') AS first \gset
SET SESSION AUTHORIZATION bob;
SELECT hotswap.approve(:'first', comment => 'read it') \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT hotswap.wait(:'first', timeout => '60 s') \g /dev/null
\set QUIET off
