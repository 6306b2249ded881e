# Throwaway servers for the demo, the tests, the sandbox and the benchmarks; sourced by them.
#
# A run owns one temporary folder, $WORK, and leaves nothing behind: in it stands a private copy of
# the server's installation with hotswap added (so no root rights are needed to install, and nothing
# outside is touched), and every data directory and socket. As root, the server and everything that
# talks to it run as an unprivileged user, because PostgreSQL refuses to run as root.

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() { echo "${0##*/}: $*" >&2; exit 1; }

# Runs a command as the user that owns the servers, in $WORK: the checkout may be unreadable for it.
as_server()
{
	(
		cd "$WORK"
		if [ "$(id -u)" = 0 ]; then
			exec setpriv --reuid="$SERVER_USER" --regid="$(id -g "$SERVER_USER")" --init-groups \
				env HOME="$WORK" USER="$SERVER_USER" LOGNAME="$SERVER_USER" "$@"
		else
			exec "$@"
		fi
	)
}

# begin_work NAME: makes $WORK and sees to it that it goes away, on Ctrl-C as well.
begin_work()
{
	local var
	for var in "${!PG@}"; do		# somebody's PGHOST must not lead us to a real server
		case $var in
		PG_CONFIG | PG_TEST_*) ;;
		*) unset "$var" ;;
		esac
	done
	unset "${!LC_@}"
	export LANG=C.UTF-8 PG_CONFIG=${PG_CONFIG:-pg_config}
	"$PG_CONFIG" --version > /dev/null || die "no $PG_CONFIG; run scripts/setup first"

	SERVER_USER=$(id -un)
	if [ "$(id -u)" = 0 ]; then
		SERVER_USER=postgres
		id -u postgres > /dev/null 2>&1 || SERVER_USER=nobody
	fi
	WORK=$(mktemp -d "${TMPDIR:-/tmp}/hotswap-$1.XXXXXX")
	chmod 755 "$WORK"
	[ "$(id -u)" != 0 ] || chown "$SERVER_USER" "$WORK"
	trap end_work EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	as_server test -w "$WORK" || die "user $SERVER_USER cannot use $WORK; set TMPDIR to another folder"
}

end_work()
{
	local status=$? pidfile pid
	trap '' INT TERM HUP
	# Only servers of this run: their pid files are in our own folder.
	while read -r pidfile; do
		pid=$(head -n 1 "$pidfile")
		kill -QUIT "$pid" 2> /dev/null || continue
		for _ in $(seq 100); do
			kill -0 "$pid" 2> /dev/null || break
			sleep 0.1
		done
	done < <(find "$WORK" -name postmaster.pid 2> /dev/null)
	rm -rf "$WORK" || { sleep 1; rm -rf "$WORK"; }
	exit "$status"
}

# install_private [make arguments]: builds hotswap and a private installation of the server with it.
# Sets BIN (its programs, first in PATH from now on) and PGXS_DIR.
# The server finds its files relative to its own program, so programs are copied and the rest linked.
install_private()
{
	local source=${BUILD_DIR:-$ROOT} bin share lib dir file
	make -s -C "$source" -j"$(nproc)" "$@" < /dev/null
	make -s -C "$source" install DESTDIR="$WORK" "$@" < /dev/null > /dev/null

	bin=$("$PG_CONFIG" --bindir)
	share=$("$PG_CONFIG" --sharedir)
	lib=$("$PG_CONFIG" --pkglibdir)
	mkdir -p "$WORK$bin"
	for file in "$bin"/*; do
		case ${file##*/} in
		hotswap*) ;;		# one that is installed there is not the one to test
		*) cp -L "$file" "$WORK$bin/" ;;
		esac
	done
	for dir in "$lib" "$share" "$share/extension"; do
		for file in "$dir"/*; do
			case ${file##*/} in
			hotswap*) ;;
			*) [ -e "$WORK$file" ] || ln -s "$file" "$WORK$file" ;;
			esac
		done
	done
	BIN=$WORK$bin
	PGXS_DIR=$(dirname "$("$PG_CONFIG" --pgxs)")/../..
	export PATH="$BIN:$PATH"
}

# start_server NAME [SETTING...]: a server with hotswap loaded; the socket is in $WORK/NAME.
start_server()
{
	local dir=$WORK/$1
	shift
	as_server mkdir "$dir"
	as_server initdb -D "$dir/data" -U postgres -A trust -N --locale=C.UTF-8 --encoding=UTF8 \
		> /dev/null
	printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$dir'" "fsync = off" \
		"shared_preload_libraries = 'hotswap'" "max_worker_processes = 64" \
		"max_prepared_transactions = 10" "log_line_prefix = '%m [%p] %b %q%u@%d %a '" "$@" \
		| as_server tee -a "$dir/data/postgresql.conf" > /dev/null
	as_server pg_ctl -D "$dir/data" -l "$dir/log" -w -s start < /dev/null \
		|| { cat "$dir/log" >&2; die "the server did not start"; }
}

# stop_server NAME: a clean stop; end_work would do it the hard way.
stop_server()
{
	as_server pg_ctl -D "$WORK/$1/data" -w -s -m fast stop < /dev/null
}
