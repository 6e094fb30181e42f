# Each command sets itself up: Python 3.11 or newer and make are all that a fresh machine needs.
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench pictures pages docs lock clean
python := .venv/bin/python
# tests wait for servers more than they compute, so that three of them keep two cores busy
JOBS ?= 3

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## make .venv from the locked requirements (the others do this by themselves)
	@sh scripts/setup git

demo: setup ## watch it work on local mail servers; ARGS=--keep keeps the project to play with
	@$(python) -m demo.story $(ARGS)

test: setup ## run the tests; ARGS='-k name' passes options to pytest, JOBS=1 runs one at a time
	@$(python) -m pytest --numprocesses $(JOBS) --dist loadfile $(ARGS)

lint: setup ## check style, types, the published schemas and the lock files; needs no network
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
	@$(python) -m mypy
	@$(python) scripts/check_schemas.py
	@$(python) scripts/lock.py --check

format: setup ## format the code and mend what ruff can mend
	@$(python) -m ruff check --fix .
	@$(python) -m ruff format .

bench: setup ## measure speed against peers; prints a table
	@$(python) -m bench

pictures: setup ## take the screenshots of the docs anew; needs Chromium and, to look as they do, Inter
	@$(python) -m scripts.screenshots

pages: setup ## write the pages of docs/ that are made from the program and its schemas anew
	@$(python) -m scripts.reference_pages

docs: setup ## build the site of docs/ into site/, and check every link of it
	@FOR=docs sh scripts/setup
	@$(python) -m scripts.site

lock: setup ## pin the requirements anew (needs uv)
	@$(python) scripts/lock.py

clean: ## remove what make made; your .gateways/ folder stays
	@rm -rf .venv .venv-docs site bench/.peers bench/results .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
