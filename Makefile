# The front door. Underneath, the native commands work as their users know them: see `yiwang env --help`.
ENVIRONMENT ?= local
YIWANG := tools/bootstrap
# Where this is set, each of the many programs behind a command would compile every module that it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup up onboard status gate plan demo-loop logs ssh down test test-fast torture lint bench lock

help: ## every target, one line each
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what the machine and the Python environment need, nothing more
	@$(YIWANG)

# These refuse production: it is changed by whoever answers what `yiwang` itself asks.
up onboard demo-loop down: export YIWANG_BY_MAKE := 1

up: ## bring up the environment (ENVIRONMENT=local), or heal it; run again it changes nothing
	@$(YIWANG) up $(ENVIRONMENT)

onboard: ## bring one tenant live: make onboard TENANT=330127
	@$(YIWANG) onboard $(ENVIRONMENT) "$(TENANT)"

status: ## what runs, with addresses, log-ins and the alerts that fire
	@$(YIWANG) status $(ENVIRONMENT)

LOAD := $(if $(SCENARIO),--scenario $(SCENARIO)) $(if $(RATE),--rate $(RATE)) $(if $(WORKERS),--workers $(WORKERS))

gate: ## is it fit for launch? GO, NO-GO or UNSURE with reasons (SCENARIO=launch RATE=… WORKERS=…)
	@$(YIWANG) gate $(ENVIRONMENT) $(LOAD)

plan: ## measure a cell's capacity and plan its hosts for a scenario's target (SCENARIO=… RATE=…)
	@$(YIWANG) plan $(ENVIRONMENT) $(LOAD)

demo-loop: ## the whole loop: gate says NO-GO, plan, pulumi up and playbook, the same gate says GO
	@$(YIWANG) demo-loop $(ENVIRONMENT)

logs: ## follow the logs of every host, or of one (HOST=…); Ctrl-C ends it
	@$(YIWANG) logs $(ENVIRONMENT) $(HOST)

ssh: ## a shell on a host: make ssh HOST=cell-a-application-1
	@$(YIWANG) ssh $(ENVIRONMENT) "$(HOST)"

down: ## end and remove everything that runs; data stays (PURGE=1 removes that too)
	@$(YIWANG) down $(ENVIRONMENT) $(if $(filter 1,$(PURGE)),--purge)

test: ## every test, with all set-up; in environments of its own that are removed after
	@$(YIWANG)
	@.venv/bin/python -m tests

test-fast: ## the tests that need no hosts
	@$(YIWANG)
	@.venv/bin/pytest -q -n 2 --dist loadfile -W ignore::DeprecationWarning tests/unit tests/contract

torture: ## promises in full counts, beside a neighbour who takes a core: hours (ONLY=… names tests as pytest -k does)
	@$(YIWANG)
	@.venv/bin/pytest -v -s -W ignore::DeprecationWarning tests/torture $(if $(ONLY),-k "$(ONLY)")

lint: ## ruff, mypy, ansible-lint, yamllint
	@$(YIWANG)
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/yamllint --strict .
	@PATH="$(CURDIR)/.venv/bin:$$PATH" ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED=false ANSIBLE_HOST_PATTERN_MISMATCH=warning .venv/bin/ansible-lint --offline playbooks

bench: ## performance as ratios against a peer measured in the same run
	@$(YIWANG)
	@.venv/bin/python -m tests.benchmarks

lock: ## pin the libraries again, with hashes
	@$(YIWANG)
	@.venv/bin/uv pip compile -q --upgrade --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		services/requirements.in -o services/requirements.txt
	@.venv/bin/uv pip compile -q --upgrade --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		requirements.in -o requirements.txt
