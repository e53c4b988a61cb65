# SPDX-License-Identifier: GPL-2.0
#
# The one entry. `make help` says what there is.
#
# With KDIR=, `make` builds the modules natively against a prepared kernel tree, into build/. All other
# targets run in the lab: a Debian 13 root with a stock kernel, made once in a cache outside the checkout (scripts/provision).

LAB := scripts

ifdef KDIR
modules: ## build the modules; with KDIR=DIR natively, against any prepared tree with CONFIG_RUST=y
	@grep -qsx CONFIG_RUST=y $(KDIR)/.config $(KDIR)/include/config/auto.conf || \
		{ echo "$(KDIR) is not a built kernel tree with CONFIG_RUST=y" >&2; exit 1; }
	$(MAKE) -C $(KDIR) M=$(CURDIR) MO=$(CURDIR)/build modules
else
modules: ## build the modules; with KDIR=DIR natively, against any prepared tree with CONFIG_RUST=y
	@$(LAB)/in-root $(LAB)/modules
endif

demo: ## from a fresh machine to frames through a pool, with an explanation
	@$(LAB)/in-root $(LAB)/demo

test: ## all tests, or SUITES="...": make check, the host's, the VM's with and without an IOMMU
	@$(LAB)/in-root $(LAB)/test $(SUITES)

test-debug: ## the VM's tests on a kernel with KASAN, lockdep, kmemleak and more, and faults that these must see
	@MBPOOL_KERNEL=debug JOBS=$(or $(JOBS),$(shell nproc)) $(LAB)/in-root $(LAB)/test $(SUITES)

bench: ## what it costs, beside its peers, into Documentation/performance; COMPARE="REV [REV]": two revisions
	@$(LAB)/bench $(if $(COMPARE),--compare $(COMPARE))

check: ## formatting, lints, SAFETY comments, checkpatch
	@$(LAB)/in-root $(LAB)/test check

stress: ## all contexts at one pool while CPUs, memory and drivers come and go, SECONDS=600
	@STRESS_SECONDS=$(or $(SECONDS),600) $(LAB)/in-root $(LAB)/test stress

fuzz: ## coverage-guided fuzzing of geometry and handles, SECONDS=60 for each target
	@$(LAB)/in-root $(LAB)/fuzz $(SECONDS)

vm: ## a shell in the VM, with the modules, the card and sysfs at hand
	@$(LAB)/in-root $(LAB)/shell

lab: ## make the lab itself and nothing else
	@$(LAB)/provision

help: ## this list
	@sed -nE 's/^([a-z-]+): ## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | sort -u | expand -t 16
	@echo
	@echo "  MBPOOL_CACHE=DIR   where the lab is kept (now: $${MBPOOL_CACHE:-$${XDG_CACHE_HOME:-~/.cache}/mbpool})"
	@echo "  MBPOOL_MIRROR=URL  the Debian archive to use (http://deb.debian.org/debian)"
	@echo "  MBPOOL_KERNEL=NAME what make test SUITES=... runs on: stock, debug, kcsan (data races), rt"
	@echo "  JOBS=N             suites at a time (1; make test-debug, which takes hours: one a processor)"
	@echo "  scripts/vm --help  the VM, for a script of your own"

.PHONY: modules demo test test-debug bench check stress fuzz vm lab help
.DEFAULT_GOAL := modules
