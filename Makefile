# One virtual environment a version of Airflow; PYTHON makes it. AIRFLOW=lowest is the lowest version of everything that
# pyproject.toml promises.
AIRFLOW ?= 3.3.2
PYTHON ?= python3

VENV := .venv/airflow-$(AIRFLOW)
BIN := $(VENV)/bin
ifeq ($(AIRFLOW),lowest)
CONSTRAINTS := constraints/lowest.txt
PINNED := the lowest that pyproject.toml promises
# Its lower bounds without those of the tools for development. Airflow 2.11.0 allows universal-pathlib 0.3, which breaks
# its ObjectStoragePath.
WANTED := $(shell sed -nE '/^dev =/q; s/^ *"([a-z-]+)>=([0-9.]+)",$$/\1==\2/p' pyproject.toml) 'universal-pathlib<0.3'
else
CONSTRAINTS := constraints/airflow-$(AIRFLOW).txt
PINNED := Airflow $(AIRFLOW)
WANTED := apache-airflow==$(AIRFLOW)
endif
# The peer whose hook is run against the emulator. Without its hundred dependencies, and out of Airflow's sight.
GOOGLE := apache-airflow-providers-google==22.8.0

.PHONY: demo demo-takes up test test-takes test-unit test-system lint format docs screenshots bench constraints clean

demo: demo-takes $(VENV)/installed  ## run a recipe in a real Airflow, and say what happened
	$(BIN)/python demo/run.py

demo-takes:
	@echo "make demo: about 2.5 minutes on 2 cores the first time; it installs, and starts a real Airflow"

test-takes:
	@echo "make test: about 10 minutes on 2 cores, and some more to install the first time"

up: $(VENV)/installed  ## Airflow with its UI and the emulator, until Ctrl-C
	$(BIN)/python demo/up.py

test: test-takes test-unit test-system  ## all tests

test-unit: $(VENV)/installed $(VENV)/google  ## all tests but those in a real Airflow
	GOOGLE_PROVIDER=$(VENV)/google $(BIN)/python -m pytest -m "not system" -n auto

test-system: $(VENV)/installed  ## the tests in a real Airflow
	$(BIN)/python -m pytest -m system

lint: $(VENV)/installed  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/installed  ## the documentation, into build/docs; warnings are errors
	AIRFLOW_HOME=$(CURDIR)/build/airflow $(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

screenshots: $(VENV)/installed  ## take the pictures in the documentation anew, with Chromium
	REQUIRE_BROWSER=1 SCREENSHOTS=docs/images $(BIN)/python -m pytest -m system tests/system/test_browser.py

bench: $(VENV)/installed  ## what the clients cost, as ratios
	$(BIN)/python demo/bench.py

constraints:  ## pin the versions that a fresh installation gets now, with AIRFLOW=lowest the lowest
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]' $(WANTED)
	(echo "# Versions that the tests pass with ($(PINNED)). Made with: make constraints AIRFLOW=$(AIRFLOW)"; \
	 $(BIN)/pip freeze --exclude-editable) > $(CONSTRAINTS)

$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[dev]'
	touch $@

$(VENV)/google: $(VENV)/installed
	$(BIN)/pip install --quiet --no-deps --upgrade --target $@ $(GOOGLE)
	touch $@

clean:
	rm -rf .venv .demo .up build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
