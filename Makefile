# pytest starts with the first files: the test of the README takes longest. An empty MARKED= selects also
# the slow tests, which CI runs before a merge.
PYTEST := pytest -n 2 --dist loadfile --no-loadscope-reorder
MARKED ?= not slow
TEST = $(PYTEST) -m "$(MARKED)"
GROUPS := benchmarks build dev dvc image ray serve
KNOWN_VARIABLES := ARM64 MARKED PYTEST TASKS
include keras_tabular/new_project/files/Makefile

.PHONY: test-unit test-all check check-cpu architecture wheel sdist

test-unit: .venv/installed-dev  ## the unit tests; less than a minute
	$(PYTEST) --dist load tests/unit

test: check  ## make check, and tests of what a user relies on

test-all: check  ## make check, and all tests, also those of the nightly run
	$(PYTEST) -m "" tests/test_readme.py tests/nightly tests/pipeline tests/faults tests/unit

check: .venv/installed-dev  ## check format, types, imports between packages, language, links and workflows
	ruff check
	ruff format --check
	mypy
	lint-imports --no-logo
	python -m tools.check_language
	codespell $$(git ls-files '*.py' '*.md' '*.yaml' '*.toml' '*.html' Makefile)
	zizmor --offline --quiet .github keras_tabular/new_project/files/.github

ARM64 := .arm64
check-cpu: .venv/installed-dev  ## check that one core, an emulated Haswell and ARM64 give the same bytes; TASKS=binary for one task
	@if [ "$$(uname -m)" != x86_64 ] || ! [ -x "$$(command -v qemu-x86_64)" ]; then \
		echo "not checked: this is not x86-64, or qemu-x86_64 is missing (Debian: apt install qemu-user)"; exit 0; fi; \
	set -e; folder=$$(mktemp -d); trap 'kill $$(jobs -p) 2> /dev/null || true; rm -rf "$$folder"' EXIT; \
	export OPENBLAS_CORETYPE=Haswell; same="python -m tests.same_bytes $(TASKS)"; \
	taskset -c 0 $$same > $$folder/here & here=$$!; \
	qemu-x86_64 -cpu Haswell $(BIN)/$$same > $$folder/haswell & haswell=$$!; \
	if [ -x $(ARM64)/python ] && [ -x "$$(command -v qemu-aarch64)" ]; then \
		OPENBLAS_CORETYPE=ARMV8 $(ARM64)/$$same > $$folder/arm64; \
	else echo "ARM64 not checked: $(ARM64)/python (Debian: sh tests/arm64.sh $(ARM64)) or" \
		"qemu-aarch64 (Debian: apt install qemu-user) is missing"; fi; \
	wait $$here; wait $$haswell; for output in $$folder/*; do diff $$folder/here $$output; done; \
	cd $$folder; echo "the same bytes:" *

wheel:  ## build the library from the last commit, as a wheel in dist/: the same bytes in any clone
	@rm -rf dist && mkdir dist
	@$(PYTHON) -c "from pathlib import Path; from keras_tabular.new_project import wheel; print(wheel.get_wheel(Path('dist').resolve()))"

sdist: .venv/installed-build  ## build the source distribution in dist/
	python -m hatchling build --target sdist

architecture: .venv/installed-dev  ## draw docs/architecture.svg from the imports
	python -m tools.draw_architecture docs/architecture.svg
