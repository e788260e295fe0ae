GROUPS := benchmarks copier dev ray serve
include pipeline.mk

.PHONY: test test-unit test-all check check-cpu architecture

# Files go to the workers in their order: the README first, which takes longest. MARKED= takes the
# slow ones too.
PYTEST := pytest -n 2 --dist loadfile --no-loadscope-reorder
MARKED ?= not slow

test-unit: .venv/installed-dev  ## functions alone: half a minute
	$(PYTEST) tests/unit

test: check  ## make check, and what a user relies on: three minutes
	$(PYTEST) -m "$(MARKED)"

test-all: check  ## everything, with the sweeps of the nightly run
	$(PYTEST) -m "" tests/test_readme.py tests/nightly tests/pipeline tests/faults tests/unit

check: .venv/installed-dev  ## format, types, imports between packages, the workflow
	ruff check
	ruff format --check
	mypy
	lint-imports --no-logo
	zizmor --offline --quiet .github template/.github/workflows/ci.yml

# Of a baseline's last digit nothing is claimed; it hangs on the kernels that OpenBLAS takes.
check-cpu: .venv/installed-dev  ## the stages on one core and on an emulated Haswell: the same bytes; TASKS=binary
	@if [ "$$(uname -m)" != x86_64 ] || ! command -v qemu-x86_64 > /dev/null; then \
		echo "not checked: no x86-64, or no qemu-x86_64 (Debian: apt install qemu-user)"; exit 0; fi; \
	set -e; folder=$$(mktemp -d); trap 'kill $$! 2> /dev/null || true; rm -rf "$$folder"' EXIT; \
	export OPENBLAS_CORETYPE=Haswell; \
	taskset -c 0 python -m tests.same_bytes $(TASKS) > $$folder/here & \
	qemu-x86_64 -cpu Haswell $(BIN)/python -m tests.same_bytes $(TASKS) > $$folder/emulated; \
	wait $$!; diff $$folder/here $$folder/emulated; echo "the same bytes on both"

architecture: .venv/installed-dev  ## draw docs/architecture.svg from the imports
	python -m docs.draw_architecture docs/architecture.svg

.venv/installed-dev: .venv/installed requirements-dev.txt
	@echo "Installing what tests and checks need"
	@$(INSTALL) -r requirements.txt -r requirements-dev.txt
	@touch $@
