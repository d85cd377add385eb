# orchestry_ext: built, installed and tested with PGXS.
#
#   make            build                    make install      install into the server of PG_CONFIG
#   make test       everything, installs included              make demo [INPUT=dir] [KEEP=1]
#   make torture    the long set             make bench        speeds beside the peers'
EXTENSION = orchestry_ext
MODULE_big = $(EXTENSION)
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(EXTENSION).control)

OBJS = $(patsubst %.cpp,%.o,$(sort $(wildcard src/*.cpp src/*/*.cpp)))
SQL_PARTS = $(sort $(wildcard sql/install/*.sql))
SQL_INCLUDED = $(wildcard sql/templates/*.sql sql/templates/parts/*.sql)
DATA = $(wildcard sql/upgrade/$(EXTENSION)--*.sql)
DATA_built = sql/$(EXTENSION)--$(EXTVERSION).sql

REGRESS = $(filter-out $(EXTENSION)--%,$(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql))))
ISOLATION = $(patsubst test/isolation/specs/%.spec,%,$(sort $(wildcard test/isolation/specs/*.spec)))
REGRESS_OPTS = --load-extension=$(EXTENSION)
ISOLATION_OPTS = --inputdir=test/isolation --load-extension=$(EXTENSION)
TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl

PG_CONFIG ?= pg_config
ifeq ($(shell command -v $(PG_CONFIG) 2>/dev/null),)
# Nothing to build with yet: the targets that install what is missing must still work.
HAVE_PGXS =
else
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
HAVE_PGXS := $(wildcard $(PGXS))
endif

PG_CPPFLAGS = -Isrc -isystem $(shell $(PG_CONFIG) --includedir-server 2>/dev/null) \
	-DORCHESTRY_VERSION='"$(EXTVERSION)"'
PG_CXXFLAGS = -std=c++20 -Wall -Wextra -Wno-missing-field-initializers -fvisibility=hidden \
	-fvisibility-inlines-hidden -MMD -MP $(if $(WERROR),-Werror) $(EXTRA_CXXFLAGS)
SHLIB_EXPORTS = src/exports.txt
SHLIB_LINK += -lstdc++ -lm $(EXTRA_LINK)
EXTRA_CLEAN = $(OBJS:.o=.d) $(DATA_built)

# The bitcode rule ignores PG_CXXFLAGS, and inlining guarded C++ entries into JIT code gains nothing.
override with_llvm = no

ifneq ($(HAVE_PGXS),)
include $(PGXS)
else
.DEFAULT_GOAL := missing
missing:
	@echo 'There is no server to build against: install postgresql-server-dev, or run "make demo" or "make test", which do.' >&2; exit 1
endif

-include $(OBJS:.o=.d)

# A line \i FILE in a part stands for that file.
$(DATA_built): $(SQL_PARTS) $(SQL_INCLUDED) $(EXTENSION).control
	awk '$$1 == "\\i" { while ((got = (getline line < $$2)) > 0) print line; if (got < 0) exit 1; close($$2); next } { print }' $(SQL_PARTS) > $@

.PHONY: test demo torture bench
test:
	test/run.sh
demo:
	test/demo.sh
torture:
	test/torture.sh
bench:
	test/bench.sh
