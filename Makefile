# One virtual environment per version of Airflow, created with PYTHON. AIRFLOW=lowest stands for the lowest version of
# everything that pyproject.toml allows.
AIRFLOW ?= 3.3.2
PYTHON ?= python3

VENV := .venv/airflow-$(AIRFLOW)
BIN := $(VENV)/bin
# In two Airflows, since these tests mostly wait.
SYSTEM := $(BIN)/python -m pytest -m system -o cache_dir=build/pytest-system-$(AIRFLOW) --dist loadfile -n
# The day after each release: the constraints pin what was available then, as Airflow's own constraints do.
DAY_OF_lowest := 2025-05-21
DAY_OF_2.11.2 := 2026-03-15
DAY_OF_3.0.6 := 2025-08-30
DAY_OF_3.1.8 := 2026-03-12
DAY_OF_3.2.2 := 2026-05-30
DAY_OF_3.3.2 := 2026-09-18
ifeq ($(AIRFLOW),lowest)
CONSTRAINTS := constraints/lowest.txt
# The lower bounds, without those of the development tools.
WANTED := $(shell sed -nE '/^dev =/q; s/^ *"([a-z-]+)>=([0-9.]+)",$$/\1==\2/p' pyproject.toml)
else
CONSTRAINTS := constraints/airflow-$(AIRFLOW).txt
WANTED := apache-airflow==$(AIRFLOW)
endif
DAY := $(DAY_OF_$(AIRFLOW))
COMPILE := .venv/uv/bin/uv pip compile --quiet --no-header --no-annotate --python-version 3.11 build/wanted.in
# The peer whose hook is run against the emulator. Installed without its hundred dependencies, where Airflow does not
# find it.
GOOGLE := apache-airflow-providers-google==22.8.0

# What a distributed Airflow needs beyond the environment, where the other tests do not find it.
CELERY := constraints/celery-$(AIRFLOW).txt

.PHONY: demo demo-takes up test test-takes test-unit test-system distributed lint format docs screenshots bench constraints \
    constraints-celery clean

demo: demo-takes $(VENV)/installed  ## run a recipe in a real Airflow, and report what happened
	$(BIN)/python demo/run.py

demo-takes:
	@echo "make demo: about 2.5 minutes on 2 cores the first time; it installs and starts a real Airflow"

test-takes:
	@echo "make test: about 12 minutes on 2 cores; longer the first time, since it installs everything"

up: $(VENV)/installed  ## Airflow with its UI and the emulator, until Ctrl-C; with OAUTH=1, as on Alteryx One
	$(BIN)/python demo/up.py $(if $(OAUTH),--oauth)

# Not by its name: make would run lines with it also when it is only asked what it would do.
SUBMAKE := $(MAKE) --no-print-directory
# Those in a real Airflow mostly wait, so they run beside the others. They have limits in seconds: what fails while the
# machine is busy is run once more, alone.
test: test-takes $(VENV)/installed $(VENV)/google  ## all tests
	@mkdir -p build; \
	$(SUBMAKE) test-system > build/test-system.log 2>&1 & system=$$!; \
	trap 'kill $$system' INT TERM; \
	nice $(SUBMAKE) test-unit; unit=$$?; \
	wait $$system; system=$$?; \
	cat build/test-system.log; \
	test $$unit -eq 0 || exit 1; \
	test $$system -eq 0 || $(SYSTEM) 0 --last-failed --last-failed-no-failures=none

# Half of their time is waiting, so there are more of them than processors.
WORKERS = $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) * 3 // 2)')

test-unit: $(VENV)/installed $(VENV)/google  ## all tests except those in a real Airflow
	GOOGLE_PROVIDER=$(VENV)/google $(BIN)/python -m pytest -m "not system and not distributed" -n $(WORKERS)

test-system: $(VENV)/installed  ## the tests in a real Airflow
	$(SYSTEM) 2

distributed: $(VENV)/celery  ## the tests in an Airflow on Celery, Redis and PostgreSQL; half an hour
	PYTHONPATH=$(VENV)/celery $(BIN)/python -m pytest -m distributed -s

lint: $(VENV)/installed  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/installed  ## the documentation, into build/docs; warnings are errors
	AIRFLOW_HOME=$(CURDIR)/build/airflow $(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

screenshots: $(VENV)/installed  ## retake the screenshots in the documentation, with Chromium
	REQUIRE_BROWSER=1 SCREENSHOTS=docs/images $(BIN)/python -m pytest -m system tests/system/test_browser.py \
	    tests/system/test_lineage_in_airflow.py

bench: $(VENV)/installed  ## the cost of the clients and of many waits; about six minutes
	$(BIN)/python demo/bench.py
	$(BIN)/python demo/bench_waits.py

constraints: .venv/uv/bin/uv  ## pin the versions as of Airflow's release (today's, if no day is given), and today's tools
	mkdir -p build
	printf '%s\n' $(WANTED) > build/wanted.in
	$(if $(DAY),$(COMPILE) pyproject.toml --exclude-newer $(DAY) --extra emulator --extra openlineage,:) > build/pins.txt
	(echo "# Made with: make constraints AIRFLOW=$(AIRFLOW)"; \
	 $(COMPILE) pyproject.toml --constraint build/pins.txt --extra dev) > $(CONSTRAINTS)

constraints-celery: .venv/uv/bin/uv  ## likewise, what `make distributed` needs beyond those
	mkdir -p build
	printf '%s\n' $(WANTED) apache-airflow-providers-celery asyncpg > build/wanted.in
	(echo "# Made with: make constraints-celery AIRFLOW=$(AIRFLOW)"; \
	 $(COMPILE) --constraint $(CONSTRAINTS) $(if $(DAY),--exclude-newer $(DAY)) | grep -vxFf $(CONSTRAINTS)) > $(CELERY)

.venv/uv/bin/uv:
	$(PYTHON) -m venv .venv/uv
	.venv/uv/bin/pip install --quiet uv

$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[dev]'
	touch $@

$(VENV)/google: $(VENV)/installed
	$(BIN)/pip install --quiet --no-deps --upgrade --target $@ $(GOOGLE)
	touch $@

$(VENV)/celery: $(VENV)/installed $(CELERY)
	$(BIN)/pip install --quiet --no-deps --upgrade --target $@ --requirement $(CELERY)
	touch $@

clean:
	rm -rf .venv .demo .up build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
