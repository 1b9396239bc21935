# Works from a clean clone: each target makes the virtual environment first if there is none.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TEST := $(VENV)/.test
DEV := $(VENV)/.dev
# In strict mode an editable install links each file, which is what type checkers and editors
# follow; a file that came or went is linked anew.
SOURCES := pyproject.toml _procession_pytest.py $(shell find actors store -type d -not -name __pycache__)

.PHONY: help demo test check bench docs format profile pythons mutants clean

help:
	@echo "make demo     orders through a store on disk, with the worker killed on the way"
	@echo "make test     all tests"
	@echo "make check    linters and type checkers"
	@echo "make bench    what is measured, with tables"
	@echo "make docs     run the examples of the documents"
	@echo "make format   format the code"
	@echo "make profile  where the time of one order goes"
	@echo "make pythons  all tests on each Python that is there"
	@echo "make mutants  which changes of the core no test notices"
	@echo "make clean    remove the virtual environment and caches"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(TEST): $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --config-settings editable_mode=strict --editable ".[test]"
	@touch $@

$(DEV): $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --config-settings editable_mode=strict --editable ".[test,dev]"
	@touch $@ $(TEST)

demo: $(TEST)
	$(BIN)/python -m domain_examples.demo

test: $(TEST)
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy -p procession
	$(BIN)/mypy
	$(BIN)/basedpyright

bench: $(TEST)
	$(BIN)/python -m pip install --quiet --config-settings editable_mode=strict --editable ".[test,bench]"
	$(BIN)/python -m bench
	$(BIN)/python -m bench.plots
	$(BIN)/python -m bench.page

docs: $(TEST)
	$(BIN)/python -m pytest tests/docs

format: $(DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

profile: $(DEV)
	$(BIN)/python -m bench.profile

pythons: $(DEV)
	$(BIN)/nox

mutants: $(TEST)
	$(BIN)/python -m pip install --quiet --config-settings editable_mode=strict --editable ".[test,mutation]"
	$(BIN)/python -m tests.mutants

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .nox *.egg-info build
