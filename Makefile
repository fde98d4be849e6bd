# Everything below needs only python3, pip and make; the environment is made in .venv on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint unit wheel frameworks eval clean

demo: $(VENV)/.demo  ## documents -> compact prompt, on real text
	$(BIN)/rag-compress demo

test: lint unit wheel  ## all checks and tests

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: $(VENV)/.test
	$(BIN)/python -m pytest -n 2

wheel: $(VENV)/.test  ## what users install: the wheel alone, without extras, away from the sources
	rm -rf dist $(VENV)-wheel
	$(BIN)/python -m build -q --wheel
	$(PYTHON) -m venv $(VENV)-wheel
	$(VENV)-wheel/bin/pip install -q --disable-pip-version-check dist/*.whl
	cd /tmp && $(abspath $(VENV)-wheel)/bin/rag-compress demo "how do I find the n largest elements of a dataset?" \
	  | grep -q "Find the n largest elements in a dataset."
	rm -rf $(VENV)-wheel

frameworks:  ## the adapters with the lowest versions of their frameworks; `make unit` has the highest
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/pip install -q --disable-pip-version-check --upgrade "pip>=25.1"
	$(VENV)-lowest/bin/pip install -q -c constraints.txt -c constraints-lowest.txt \
	  -e ".[cpu,langchain-agent,llama-index,haystack]" --group frameworks "pytest>=8" "hypothesis>=6.110"
	$(VENV)-lowest/bin/python -m pytest tests/pipelines -W ignore  # old frameworks warn of new pydantic
	rm -rf $(VENV)-lowest

eval: $(VENV)/.test  ## the figures of eval/RESULTS.md; needs the data folder (see eval/README.md)
	$(BIN)/python -m eval.run
	$(BIN)/python -m eval.report

clean:
	rm -rf $(VENV) $(VENV)-wheel $(VENV)-lowest dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check --upgrade "pip>=25.1"

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install -q -c constraints.txt -e ".[cpu]"
	touch $@

$(VENV)/.test: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install -q -c constraints.txt -e ".[cpu,torch,export,rank-bm25,tiktoken,langchain-agent,llama-index,haystack,stores,ray]" --group test --group lint --group eval
	touch $@ $(VENV)/.demo
