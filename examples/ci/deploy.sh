#!/bin/sh
# deploy.sh FOLDER MODULE ENVIRONMENT [VERSION]
#
# Publishes a folder of migrations and deploys a version of the module; when none is named, the release that the
# folder has become (with repeatable migrations of Flyway), or else its last version. Waits for the end. The connection is that of psql: PGHOST, PGUSER, PGDATABASE, PGPASSWORD ...
# KEY: the idempotency key of the request; a job that is run again asks for the same deployment.
# TIMEOUT: how long to wait. Exit code: 0 the deployment succeeded; 1 it did not, or something in the folder is
# refused; 2 it had not ended in time and goes on; 3 the server refused something, or there was no connection.
set -eu
folder=$1 module=$2 environment=$3 version=${4-}
published=$(hotswap-publish --module "$module" "$folder") || exit
printf '%s\n' "$published"
release=
[ -n "$version" ] || release=$(printf '%s\n' "$published" | sed -n 's/^release //p')

sql()
{
	psql -XqAt -v ON_ERROR_STOP=1 -v module="$module" -v environment="$environment" "$@"
}

if [ -z "$version$release" ]; then
	version=$(echo "SELECT version FROM hotswap.versions WHERE module = :'module'
		ORDER BY ordinal DESC LIMIT 1" | sql)
fi

# CALL await() holds no snapshot while it waits: statements that wait for snapshots can go on.
status=$(sql -v version="$version" -v release="$release" -v key="${KEY-}" -v timeout="${TIMEOUT:-30 min}" <<'SQL'
SELECT :'release' <> '' AS is_release \gset
\if :is_release
SELECT hotswap.deploy_release(:'release', :'environment', idempotency_key => nullif(:'key', '')) AS id \gset
\else
SELECT hotswap.deploy(:'module', :'version', :'environment', idempotency_key => nullif(:'key', '')) AS id \gset
\endif
CALL hotswap.await(:'id', :'timeout', NULL);
SQL
) || exit 3
echo "${release:-$module $version} in $environment: $status"
case $status in
succeeded) exit 0 ;;
failed | cancelled | rejected | expired | rolled_back | rollback_failed) exit 1 ;;
*) exit 2 ;;
esac
