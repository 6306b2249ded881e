-- Between the start of a hook's task and its call, the name may come to mean another function: src/run/hook.c.
SELECT plan(4);

CREATE ROLE hotswap_test_nohook LOGIN;
CREATE TABLE called (what text);
GRANT INSERT ON called TO PUBLIC;
-- hooks are called in the order of their names
CREATE FUNCTION a_first(uuid) RETURNS void LANGUAGE sql AS 'INSERT INTO called VALUES (''first'');';
CREATE FUNCTION b_second(uuid) RETURNS void LANGUAGE sql AS 'INSERT INTO called VALUES (''second'')';
SELECT hotswap.register_hook('test', f::regprocedure) FROM unnest('{a_first(uuid),b_second(uuid)}'::text[]) f;
SELECT hotswap.publish_version('m', '1', 'SELECT 1');

CREATE OR REPLACE FUNCTION a_first(uuid) RETURNS void LANGUAGE plpgsql AS $$BEGIN ALTER FUNCTION b_second(uuid) OWNER TO hotswap_test_nohook; END$$;
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
CALL hotswap.work();
SELECT is((SELECT sqlstate || ': ' || message FROM hotswap.tasks WHERE deployment_id = :'d' AND hook = 'public.b_second'),
	'42501: function public.b_second(uuid) is not the one that was registered', 'it belongs to somebody else');
ALTER FUNCTION b_second(uuid) OWNER TO CURRENT_USER;
CREATE OR REPLACE FUNCTION a_first(uuid) RETURNS void LANGUAGE plpgsql AS $$BEGIN DROP FUNCTION b_second(uuid); CREATE FUNCTION b_second(uuid) RETURNS integer LANGUAGE sql AS 'SELECT 1'; END$$;
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
CALL hotswap.work();
SELECT is((SELECT sqlstate || ': ' || message FROM hotswap.tasks WHERE deployment_id = :'d' AND hook = 'public.b_second'),
	'42501: function public.b_second(uuid) is not the one that was registered', 'it does not fit any more');
DROP FUNCTION b_second(uuid);
CREATE FUNCTION b_second(uuid) RETURNS void LANGUAGE sql AS 'INSERT INTO called VALUES (''second'')';
CREATE OR REPLACE FUNCTION a_first(uuid) RETURNS void LANGUAGE plpgsql AS $$BEGIN DROP FUNCTION b_second(uuid); END$$;
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
CALL hotswap.work();
SELECT is((SELECT sqlstate || ': ' || message FROM hotswap.tasks WHERE deployment_id = :'d' AND hook = 'public.b_second'),
	'42883: function public.b_second(uuid) does not exist', 'it is gone');
SELECT is_empty('SELECT FROM called', 'none was called');
DROP OWNED BY hotswap_test_nohook;
DROP ROLE hotswap_test_nohook;
SELECT * FROM finish();
