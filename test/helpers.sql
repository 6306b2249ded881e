-- What the tests of a database share. It is in the database of every pgTAP test and isolation spec
-- before the test starts, in schema public (see scripts/check, where the template is made).
CREATE EXTENSION dblink;

-- What an error says, in all its parts: SELECT * FROM refusal('SELECT hotswap.deploy(...)').
CREATE FUNCTION refusal(query text, OUT code text, OUT message text, OUT detail text,
		OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE query;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END $$;

-- What a query returns, or the SQLSTATE of its error.
CREATE FUNCTION attempt(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	value text;
BEGIN
	EXECUTE query INTO STRICT value;
	RETURN value;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;

-- as_role() is attempt() by a role that really logs in, in a session of its own: what SET ROLE
-- shows is something else.
CREATE FUNCTION connection_of(role text, options text DEFAULT '') RETURNS text LANGUAGE sql AS $$
	SELECT format('host=%s port=%s dbname=%s user=%s options=%L',
		current_setting('unix_socket_directories'), current_setting('port'), current_database(),
		role, options)
$$;
CREATE FUNCTION as_role(role text, query text, options text DEFAULT '') RETURNS text
		LANGUAGE plpgsql AS $$
DECLARE
	result text;
	connection text = 'c' || pg_backend_pid();
BEGIN
	PERFORM dblink_connect(connection, connection_of(role, options));
	BEGIN
		SELECT r INTO result FROM dblink(connection, query) t (r text);
	EXCEPTION WHEN OTHERS THEN
		result = SQLSTATE;
	END;
	PERFORM dblink_disconnect(connection);
	RETURN result;
END $$;

-- Waits for something that another process does, and says what if it does not happen.
CREATE PROCEDURE until(condition text) LANGUAGE plpgsql AS $$
DECLARE
	happened boolean;
	deadline timestamptz = clock_timestamp() + interval '60 s';
BEGIN
	LOOP
		EXECUTE format('SELECT %s', condition) INTO happened;
		EXIT WHEN happened;
		IF clock_timestamp() > deadline THEN
			RAISE 'not within 60 s: %', condition;
		END IF;
		PERFORM pg_sleep(0.01), pg_stat_clear_snapshot();
	END LOOP;
END $$;

-- Has somebody in this database come to the gate, an advisory lock, and waits there?
CREATE FUNCTION at_gate(gate integer) RETURNS boolean LANGUAGE sql AS $$
	SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
		WHERE l.locktype = 'advisory' AND l.objid = gate::oid AND NOT l.granted
			AND d.datname = current_database())
$$;

CREATE FUNCTION status_of(d uuid) RETURNS text LANGUAGE sql AS
	'SELECT status::text FROM hotswap.deployment WHERE id = d';

-- Waits until a deployment has come so far; hotswap.wait() waits for its end only.
CREATE PROCEDURE await(d uuid, wanted text) LANGUAGE plpgsql AS $$
BEGIN
	CALL until(format('status_of(%L) = %L', d, wanted));
END $$;

-- Roles belong to the whole server, where tests run side by side: named('bob') is the bob of this
-- test, for example approval_vote_bob in test/pgtap/approval/vote.sql.
CREATE FUNCTION named(who text) RETURNS text LANGUAGE sql AS
	$$SELECT regexp_replace(current_database(), '^[a-z]+_', '') || '_' || who$$;
