-- Publishes the next version; :script is a template for format().
\set n :n + 1
\set module :n % :modules
\set version :n / :modules
SELECT hotswap.publish_version('m' || :module, 'v' || :version, format(:script, :module::text, :version::text));
