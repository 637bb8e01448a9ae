# Everything runs in this folder; nothing outside it is changed. `make` alone prints the targets.
.DEFAULT_GOAL := help
.PHONY: help up down ps logs restart clean test chaos test-pythons lint format lock environment
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory

PYTHON ?=
PYTEST_ARGS ?=
NAME ?=
DOCKER ?=
UPGRADE ?=
TEST_ENVIRONMENT ?= .venv

COMPOSE := docker compose
DRIVER := .venv/bin/python -m deploy.local
BIN := $(TEST_ENVIRONMENT)/bin
LOCAL_CODE := deploy/local
# A file's tests run in one worker, in their order; the files with the longest tests come first.
IN_PARALLEL := -n 4 --dist loadfile --no-loadscope-reorder
CHECKED := bionewsbot beat_schedule.py tests $(LOCAL_CODE) deploy/compose

# An environment that is there makes and checks the others, unless PYTHON asks for another Python.
define find_python
if [ -z '$(PYTHON)' ] && [ -f .venv/.installed.json ] && [ -x .venv/bin/python ]; \
then python=.venv/bin/python; \
else python=$$(PYTHON='$(PYTHON)' sh $(LOCAL_CODE)/find-python) || exit 1; fi
endef

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  Variables: DOCKER=1 (up, down, ps, logs, restart: with Docker Compose), NAME=beat (logs),"
	@echo "  PYTHON=/path/to/python3.12 (up, test), PYTEST_ARGS='-k redis' (test, chaos), UPGRADE=1 (lock)"

ifneq ($(filter-out 0 no,$(DOCKER)),)

up: ## Install, start everything, run the first analysis, show its result
	@sh deploy/compose/up

down: ## Stop everything gracefully
	@$(COMPOSE) down

ps: ## Show what runs
	@$(COMPOSE) ps

logs: ## Show the logs, of one program with NAME=...; follows on a terminal
	@follow=; if [ -t 1 ]; then follow=--follow; fi; $(COMPOSE) logs --tail 50 $$follow $(NAME)

restart: ## Stop everything and start it again
	@$(COMPOSE) down
	@sh deploy/compose/up

else

up: environment
	@$(DRIVER) up

down:
	@if [ -f .venv/.installed.json ]; then $(DRIVER) down; else echo "Nothing runs."; fi

ps:
	@if [ -f .venv/.installed.json ]; then $(DRIVER) ps; else echo "Nothing runs; \`make up\` starts it."; fi

logs: environment
	@$(DRIVER) logs '$(NAME)'

restart: environment
	@$(DRIVER) restart

endif

environment:
	@$(find_python); "$$python" $(LOCAL_CODE)/environments.py up

clean: down ## Stop everything; remove data, environments and caches; keep .env
	@rm -rf var .venv .venv-* build dist *.egg-info .coverage .hypothesis
	@rm -rf .mypy_cache .pytest_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@if [ -f .env ]; then echo "Removed all but .env, which is yours."; else echo "Removed all."; fi

test: ## Install what tests need, lint, run all tests with coverage
	@$(find_python); "$$python" $(LOCAL_CODE)/environments.py test $(TEST_ENVIRONMENT)
	@$(MAKE) lint
	@$(BIN)/python -m pytest $(IN_PARALLEL) --cov --cov-report= $(PYTEST_ARGS)
	@$(BIN)/coverage report

chaos: ## Play the whole fault matrix; kill beats, workers and Redis: nothing lost or doubled
	@$(find_python); "$$python" $(LOCAL_CODE)/environments.py test $(TEST_ENVIRONMENT)
	@$(BIN)/python -m pytest tests/chaos $(PYTEST_ARGS)

test-pythons: ## Run the tests on each Python 3.11, 3.12 and 3.13 of this machine
	@sh $(LOCAL_CODE)/test-pythons

lint: ## Check format, style, types and the layers of the house
	@$(BIN)/black --check --quiet $(CHECKED) || { echo "make format mends this:"; $(BIN)/black --check $(CHECKED); }
	@$(BIN)/isort --check --quiet $(CHECKED) || { echo "make format mends this:"; $(BIN)/isort --check $(CHECKED); }
	@$(BIN)/flake8 $(CHECKED)
	@$(BIN)/mypy
	@$(BIN)/mypy -p deploy.local -p deploy.compose
	@$(BIN)/lint-imports --no-logo

format: ## Bring the code into its format
	@$(BIN)/black --quiet $(CHECKED)
	@$(BIN)/isort --quiet $(CHECKED)

lock: ## Write the lock files anew, with UPGRADE=1 to the newest versions
	@$(find_python); PYTHON="$$python" UPGRADE='$(UPGRADE)' sh $(LOCAL_CODE)/lock
