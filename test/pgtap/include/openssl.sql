-- Keys and signatures, made with the openssl command as the manual says. The test ends with
-- SELECT shell('rm -rf ' || :'dir').
CREATE TABLE output (line text);

-- What a command of the shell prints.
CREATE FUNCTION shell(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	DELETE FROM output;
	EXECUTE format('COPY output FROM PROGRAM %L (DELIMITER E''\x01'')', command);
	SELECT string_agg(line, E'\n') INTO result FROM output;
	RETURN result;
END $$;
SELECT shell('mktemp -d') AS dir \gset
CREATE TABLE dir AS SELECT :'dir' AS name;
CREATE FUNCTION in_dir(command text) RETURNS text
	LANGUAGE sql AS $$SELECT shell('cd ' || name || ' && ' || command) FROM dir$$;
CREATE TABLE key (name text PRIMARY KEY, algorithm text, options text, pem text);
INSERT INTO key VALUES ('ed', 'ed25519', '-algorithm ed25519'),
	('ed_2', 'ed25519', '-algorithm ed25519'), ('ed_3', 'ed25519', '-algorithm ed25519'),
	('ed_4', 'ed25519', '-algorithm ed25519'),
	('rsa', 'rsa-pss-sha256', '-algorithm RSA -pkeyopt rsa_keygen_bits:2048'),
	('rsa_small', 'rsa-pss-sha256', '-algorithm RSA -pkeyopt rsa_keygen_bits:1024'),
	('ec', 'ed25519', '-algorithm EC -pkeyopt ec_paramgen_curve:P-256');
UPDATE key
	SET pem = in_dir(format('openssl genpkey %s -out %s.pem 2> /dev/null && '
		'openssl pkey -in %2$s.pem -pubout', options, name));
CREATE FUNCTION pem(n text) RETURNS text
	LANGUAGE sql AS 'SELECT pem || E''\n'' FROM key WHERE name = n';

-- The signature of a payload, made as the manual says.
CREATE FUNCTION sign(n text, payload text, options text DEFAULT '') RETURNS bytea LANGUAGE sql AS $$
SELECT decode(in_dir(format('printf %%s %s | base64 -d > payload && '
	'openssl %s %s.pem %s | od -An -v -tx1 | tr -d '' \n''',
	replace(encode(convert_to(payload, 'UTF8'), 'base64'), E'\n', ''),
	CASE algorithm WHEN 'ed25519' THEN 'pkeyutl -sign -rawin -inkey'
		ELSE 'dgst -sha256 -sigopt rsa_padding_mode:pss -sign' END,
	name, sign.options || CASE algorithm WHEN 'ed25519' THEN ' -in payload' ELSE ' payload' END)),
	'hex') FROM key WHERE name = n
$$;

-- publish(signer, ...): publishes a version; what was signed is another one where signed_* says so
CREATE FUNCTION publish(signer text, module text, version text, deploy text DEFAULT 'SELECT 1',
	key text DEFAULT NULL, options text DEFAULT '',
		signed_module text DEFAULT NULL, signed_version text DEFAULT NULL,
		signed_deploy text DEFAULT NULL, signed_tenant uuid DEFAULT NULL) RETURNS text
	LANGUAGE sql AS $$
	SELECT hotswap.publish_version(module, version, deploy, signing_key => coalesce(key, signer),
		signature => sign(signer,
		hotswap.module_signing_payload(coalesce(signed_module, module),
			coalesce(signed_version, version), coalesce(signed_deploy, deploy),
			tenant => signed_tenant), options))
$$;
