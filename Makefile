# Files go to the workers in their order: the README first, which takes longest. MARKED=slow runs what
# CI runs before a merge besides.
PYTEST := pytest -n 2 --dist loadfile --no-loadscope-reorder
MARKED ?= not slow
TEST = $(PYTEST) -m "$(MARKED)"
GROUPS := benchmarks build dev ray serve
include keras_tabular/projects/files/Makefile

.PHONY: test-unit test-all check check-cpu architecture

test-unit: .venv/installed-dev  ## functions alone: half a minute
	$(PYTEST) tests/unit

test: check  ## make check, and what a user relies on

test-all: check  ## everything, with the sweeps of the nightly run
	$(PYTEST) -m "" tests/test_readme.py tests/nightly tests/pipeline tests/faults tests/unit

check: .venv/installed-dev  ## format, types, imports between packages, language, links, workflows
	ruff check
	ruff format --check
	mypy
	lint-imports --no-logo
	python -m tests.language
	codespell $$(git ls-files '*.py' '*.md' '*.yaml' '*.toml' '*.html' Makefile)
	zizmor --offline --quiet .github keras_tabular/projects/files/.github/workflows/ci.yml

# Of a baseline's last digit nothing is claimed; it hangs on the kernels that OpenBLAS takes.
ARM64 := .arm64
check-cpu: .venv/installed-dev  ## the stages on one core, an emulated Haswell and ARM64: the same bytes; TASKS=binary
	@if [ "$$(uname -m)" != x86_64 ] || ! [ -x "$$(command -v qemu-x86_64)" ]; then \
		echo "not checked: no x86-64, or no qemu-x86_64 (Debian: apt install qemu-user)"; exit 0; fi; \
	set -e; folder=$$(mktemp -d); trap 'kill $$(jobs -p) 2> /dev/null || true; rm -rf "$$folder"' EXIT; \
	export OPENBLAS_CORETYPE=Haswell; same="python -m tests.same_bytes $(TASKS)"; \
	taskset -c 0 $$same > $$folder/here & here=$$!; \
	qemu-x86_64 -cpu Haswell $(BIN)/$$same > $$folder/haswell & haswell=$$!; \
	if [ -x $(ARM64)/python ] && [ -x "$$(command -v qemu-aarch64)" ]; then \
		OPENBLAS_CORETYPE=ARMV8 $(ARM64)/$$same > $$folder/arm64; \
	else echo "ARM64 not checked: no $(ARM64)/python (Debian: sh tests/arm64.sh $(ARM64)) or no" \
		"qemu-aarch64 (Debian: apt install qemu-user)"; fi; \
	wait $$here; wait $$haswell; for found in $$folder/*; do diff $$folder/here $$found; done; \
	cd $$folder; echo "the same bytes:" *

architecture: .venv/installed-dev  ## draw docs/architecture.svg from the imports
	python -m docs.draw_architecture docs/architecture.svg
