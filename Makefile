PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)

.PHONY: repro report pr-report gate test check check-cpu lock

repro: .venv/installed  ## run what changed of the pipeline
	dvc repro

gate: repro  ## fail when the run misses a limit of evaluate.gate; BASE=main compares with main
	python -m stages.gate metrics/metrics.json --fail $(if $(BASE),--against "$(BASE)")

report: .venv/installed  ## report.html: the run in the workspace beside the last commit's, or REV=
	python -m stages.report $(if $(REV),--rev "$(REV)")

pr-report: repro  ## write pr.md: what the run changes against BASE, and whether it repeats
	python -m stages.pr_report "$(or $(BASE),main)"

test: check  ## ruff, mypy, then the tests
	pytest -n 2 --dist loadfile

check: .venv/installed  ## ruff and mypy
	ruff check
	ruff format --check
	mypy

check-cpu: .venv/installed  ## train and evaluate here and on an emulated Haswell: the same bytes
	@if ! command -v qemu-x86_64 > /dev/null; then \
		echo "not checked: qemu-x86_64 is missing (Debian: apt install qemu-user)"; exit 0; fi; \
	set -e; dvc repro --quiet split; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	check() { out=$$folder/$$1; shift; \
		"$$@" $(BIN)/python -m stages.train data/split/train data/split/validation $$out/model.keras \
			$$out/curves $$out/held_out $$out/training.json $$out/state; \
		"$$@" $(BIN)/python -m stages.evaluate $$out/model.keras data/split $$out/held_out \
			$$out/training.json $$out/metrics.json $$out/plots $$out/predicted; }; \
	check here env; check emulated qemu-x86_64 -cpu Haswell; \
	diff -r $$folder/here $$folder/emulated && echo "the same bytes on both"

lock:  ## write requirements.txt for pyproject.toml (needs uv)
	uv pip compile pyproject.toml --group dev --universal --fork-strategy fewest \
		--python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
		--custom-compile-command "make lock" --output-file requirements.txt

# Bytecode is compiled here, once: without it TensorFlow starts three times slower.
.venv/installed: requirements.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --compile \
		--require-hashes -r requirements.txt
	touch $@
