# `make quickstart` makes the environment and runs the main study; `make test` makes it and passes the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: quickstart test slow check lock clean

quickstart: $(READY)
	$(BIN)/aivsim run quickstart

test: check
	$(BIN)/pytest -n 2 --dist loadgroup

slow: $(READY)
	$(BIN)/pytest -m slow

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(READY): pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $(READY)

# Pins with hashes for all platforms, without addresses. Needs uv.
lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-header \
		--no-annotate --quiet --upgrade --output-file requirements.lock

clean:
	rm -rf $(VENV) dist
