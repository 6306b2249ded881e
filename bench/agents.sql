-- Nodes with agents: one in environment one, :agents in environment field; versions for them.
CREATE TABLE bare.agent (n integer PRIMARY KEY, id uuid NOT NULL);
CREATE TABLE bare.claimed (task text NOT NULL, at timestamptz NOT NULL);
SELECT hotswap.configure_environment('one', 1), hotswap.configure_environment('field', 2,
	may_skip_environments => true);
INSERT INTO bare.agent SELECT n, hotswap.register_node(CASE n WHEN 0 THEN 'one' ELSE 'field' END,
	'agent' || n, 'agent', 'bench', shared_role => true) FROM generate_series(0, :agents) n;
SELECT count(hotswap.publish_artifact('app', 'v' || v, convert_to('v' || v, 'UTF8')))
FROM generate_series(0, 19) v;
