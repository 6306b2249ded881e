# Two commands for a newcomer:   make demo    make check
# For a server of yours:         make && sudo make install
#
# Flags: COVERAGE=1 (gcov counters, no optimisation), CI_STRICT=1 (warnings are errors),
# PG_CONFIG=/path/to/pg_config (another server than the first in PATH).

EXTENSION = hotswap
PG_CONFIG ?= pg_config
export PG_CONFIG

# Goals that bring their own server, and install what is missing first: PGXS may not be there yet.
OWN_GOALS = demo check bench format format-check lint setup

ifneq ($(filter $(OWN_GOALS),$(MAKECMDGOALS)),)

.PHONY: $(MAKECMDGOALS)
.NOTPARALLEL:

setup:
	scripts/setup
demo:
	scripts/setup
	scripts/demo
check:
	scripts/setup test
	scripts/check $(TESTS)
bench:
	scripts/setup bench
	$(if $(QUICK),bench/counts,bench/run)
format:
	scripts/setup lint
	clang-format -i $(wildcard src/*.[ch] src/*/*.[ch])
format-check:
	scripts/setup lint
	clang-format --dry-run -Werror $(wildcard src/*.[ch] src/*/*.[ch])
lint:
	scripts/setup lint
	scripts/lint

# "make clean check": the goals of the other half run in a make of their own.
$(filter-out $(OWN_GOALS),$(MAKECMDGOALS)):
	$(MAKE) $@

else

# The control file is the only place that states the version.
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(EXTENSION).control)

# The folders of src/, in their order: a file includes only headers of its own folder and of those
# before it (scripts/lint-layers).
LAYERS = base shm core module environment route rollout lock approval deployment tenant pipeline run \
	agent dispatch operations worker

MODULE_big = hotswap
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))

# The parts of the SQL scripts; a part may use what stands before it. Tables are made once and changed
# by the steps in sql/updates; functions are replaced by every update (sql/README.md).
SQL_TABLES = $(patsubst %,sql/tables/%.sql,schema tenant access environment module route \
	deployment approval lock audit)
SQL_FUNCTIONS = $(foreach layer,$(LAYERS),$(sort $(wildcard sql/$(layer)/*.sql)))
SQL_UPDATES ?= $(sort $(wildcard sql/updates/*.sql))
SQL_FORGOTTEN = $(filter-out $(SQL_TABLES) $(SQL_FUNCTIONS) sql/updates/%,$(wildcard sql/*/*.sql))
ifneq ($(SQL_FORGOTTEN),)
$(error No place in the order for $(SQL_FORGOTTEN))
endif
UPDATE_SCRIPTS = $(foreach step,$(SQL_UPDATES),\
	sql/$(EXTENSION)--$(firstword $(subst --, ,$(notdir $(step))))--$(EXTVERSION).sql)
DATA_built = sql/$(EXTENSION)--$(EXTVERSION).sql $(UPDATE_SCRIPTS)
SCRIPTS = bin/hotswap-publish
EXTRA_CLEAN = $(wildcard sql/$(EXTENSION)--*) tmp_check tmp_bench .built-for $(wildcard src/*.gc?? src/*/*.gc??)

# Server headers count as system headers: they are not clean under -Wextra, our code is.
PG_CPPFLAGS = -I$(srcdir)/src -isystem $(includedir_server) -DHOTSWAP_VERSION='"$(EXTVERSION)"'
PG_CFLAGS = -Wall -Wextra
ifdef CI_STRICT
PG_CFLAGS += -Werror
endif
ifdef COVERAGE
PG_CFLAGS += --coverage -O0
SHLIB_LINK += --coverage
endif

# Signatures are checked by OpenSSL.
SHLIB_LINK += -lcrypto
ifeq ($(shell uname -s),Linux)
SHLIB_LINK += -Wl,--version-script=$(srcdir)/src/exports.map
endif

# Bitcode for the server's JIT would need clang and gains nothing here.
override with_llvm = no

PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifeq ($(wildcard $(PGXS)),)
$(error No PGXS found by "$(PG_CONFIG) --pgxs". Run scripts/setup, or set PG_CONFIG)
endif
include $(PGXS)

# Objects made for another server, or with other flags, are made again.
BUILT_FOR = $(VERSION) $(includedir_server) $(COVERAGE) $(CI_STRICT)
.built-for: FORCE
	@echo '$(BUILT_FOR)' | cmp -s - $@ || echo '$(BUILT_FOR)' > $@
.PHONY: FORCE

$(OBJS): $(wildcard src/*.h src/*/*.h) $(EXTENSION).control .built-for

$(DATA_built): $(SQL_TABLES) $(SQL_FUNCTIONS) $(SQL_UPDATES) sql/closed.sql scripts/make-sql \
		$(EXTENSION).control Makefile
sql/$(EXTENSION)--$(EXTVERSION).sql:
	TABLES='$(SQL_TABLES)' FUNCTIONS='$(SQL_FUNCTIONS)' scripts/make-sql install > $@.tmp
	mv $@.tmp $@
$(UPDATE_SCRIPTS): sql/$(EXTENSION)--%--$(EXTVERSION).sql:
	FUNCTIONS='$(SQL_FUNCTIONS)' UPDATES='$(SQL_UPDATES)' scripts/make-sql update $* $(EXTVERSION) > $@.tmp
	mv $@.tmp $@

endif
