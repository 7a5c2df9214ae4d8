# make demo      the main job on media that cuebank makes itself (sets up what it needs)
# make test      lint, types and the default tests (sets up what it needs)
# make test-all  the same with the slow tests
# make test-numpy2  the default tests with numpy 2, without faces

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
CONSTRAINTS ?= constraints.txt
PYTEST_ARGS ?=
# Files of tests are dealt to so many processes; 0: one after the other in this one.
WORKERS ?= 2
PYTEST = python -m pytest -n $(WORKERS) --dist loadfile

.PHONY: demo test test-all test-numpy2 lint types clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo-ready: $(BIN)/python setup.cfg pyproject.toml $(CONSTRAINTS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e ".[all]"
	@touch $@

$(VENV)/.test-ready: $(BIN)/python setup.cfg pyproject.toml $(CONSTRAINTS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e ".[all,dev]"
	@touch $@ $(VENV)/.demo-ready

demo: $(VENV)/.demo-ready
	$(BIN)/cuebank demo --out demo-output

lint: $(VENV)/.test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test-ready
	@mkdir -p .typing && ln -sfn .. .typing/cuebank
	MYPYPATH=.typing $(BIN)/mypy -p cuebank --exclude '(tests|benchmarks)/'

test: lint types
	$(BIN)/$(PYTEST) -m "not slow and not gpu" $(PYTEST_ARGS)

test-all: lint types
	$(BIN)/$(PYTEST) $(PYTEST_ARGS)

test-numpy2:
	$(MAKE) VENV=.venv-numpy2 CONSTRAINTS=constraints-numpy2.txt .venv-numpy2/.numpy2-ready
	.venv-numpy2/bin/$(PYTEST) -m "not slow and not gpu" $(PYTEST_ARGS)

.venv-numpy2/.numpy2-ready: setup.cfg pyproject.toml constraints-numpy2.txt
	$(PYTHON) -m venv .venv-numpy2
	.venv-numpy2/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-numpy2.txt \
		-e ".[hf,clip,audio,graph,fast,s3,table,track,dev]"
	@touch $@

clean:
	rm -rf .venv .venv-numpy2 .typing build *.egg-info demo-output
