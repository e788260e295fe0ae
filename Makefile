PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)

.PHONY: repro test check check-cpu lock

repro: .venv/installed  ## run what changed of the pipeline
	dvc repro

test: check  ## ruff, mypy, then the tests
	pytest

check: .venv/installed  ## ruff and mypy
	ruff check
	ruff format --check
	mypy

lock:  ## write requirements.txt anew from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --group dev --universal --fork-strategy fewest \
		--python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
		--custom-compile-command "make lock" --upgrade --output-file requirements.txt

# Bytecode is compiled here, once: without it TensorFlow starts three times slower.
.venv/installed: requirements.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --compile \
		--require-hashes -r requirements.txt
	touch $@
