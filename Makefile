# Every command of this project. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PY := .venv/bin/python
LAB := $(PY) -m lab
TF := $(shell command -v tofu || command -v terraform)
# A setting that names no file makes the command warn at every step.
ifneq ($(TF_CLI_CONFIG_FILE),)
ifeq ($(wildcard $(TF_CLI_CONFIG_FILE)),)
unexport TF_CLI_CONFIG_FILE
endif
endif
SOURCES := lambdas node_agent app lab tests tools

SIZE ?= minimal
DURABILITY ?= region
CLOCK ?= fast
FAULT ?=
TARGET ?=
export SLOT ?=
TRIALS ?= 20
VARIANT ?= both
GUARD ?= on
MOVER ?= off
SEEDS ?= 0:1000
FAULTS ?= 60
ONLY ?=
MINUTES ?= 20
SEED ?= 1
BREAK ?=
WITHOUT ?=
DIRECTORY ?=
# Words of people's commands, for the shell to take as they are.
export ON ?= auto
export FOR ?=
export WHY ?=
export TO ?=
export OFF ?=
export CANCEL ?=

# People's commands go to the lab that runs here, else to AWS; ON=aws|lab forces one of them.
define people
	@code=0; found=""; \
	if [ "$$ON" != aws ]; then found=$$($(LAB) env 2>/dev/null) || code=$$?; fi; \
	if [ $$code -gt 1 ] || { [ $$code -eq 1 ] && [ "$$ON" = lab ]; }; then $(LAB) env >/dev/null || exit $$code; fi; \
	if [ $$code -eq 0 ]; then eval "$$found"; fi; \
	$(PY) -m lambdas.people --on "$$ON" $(1)
endef

.PHONY: help setup demo test check check-static format lint types imports hcl yaml shell package lock \
	unit adapters contract infra smoke simulate test-freeze test-faults chaos heal-status heal-pause heal-resume heal-ack \
	heal-history switchover roll lab-up lab-down lab-status lab-break lab-mend lab-shell lab-logs bench clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: ## install what this checkout needs (Debian packages as root, virtual environment)
	@tools/setup.sh

demo: setup package ## the lab loses one host after another and heals (CLOCK=fast|aws, SIZE, DURABILITY)
	@$(LAB) demo --size $(SIZE) --durability $(DURABILITY) --clock $(CLOCK)

test: setup package ## all tests, fastest first, then one fault healed on the real lab
	@$(PY) -m pytest -q -p no:cacheprovider tests/unit tests/adapters tests/contract tests/infra tests/simulation -n 2
	@tools/smoke.sh

check: check-static unit contract ## what must be green before a commit: format, lint, types, imports, fast tests

check-static: setup format-check lint types imports hcl yaml shell

.PHONY: format-check
format-check:
	@.venv/bin/ruff format --check $(SOURCES)

format: setup ## rewrite the Python and HCL sources in the house format
	@.venv/bin/ruff format $(SOURCES)
	@.venv/bin/ruff check --fix $(SOURCES)
	@$(TF) fmt -recursive tofu

lint:
	@.venv/bin/ruff check $(SOURCES)

types:
	@.venv/bin/mypy lambdas node_agent app lab tools tests

imports:
	@.venv/bin/lint-imports

hcl:
	@if [ -n "$(TF)" ]; then $(TF) fmt -check -recursive tofu; else \
	  echo "HCL format not checked: neither tofu nor terraform is on the path (see https://opentofu.org/docs/intro/install/)"; fi

yaml:
	@.venv/bin/yamllint --strict ssm_documents

shell:
	@git ls-files -z -- '*.sh' .ci/run node_agent/bin lab/image | xargs -0 grep -lZE '^#!.*\b(ba)?sh\b' | xargs -0 .venv/bin/shellcheck

unit: setup ## unit tests
	@$(PY) -m pytest -q -p no:cacheprovider tests/unit -n 2

adapters: setup ## adapter tests (moto)
	@$(PY) -m pytest -q -p no:cacheprovider tests/adapters -n 2

contract: setup ## contract tests
	@$(PY) -m pytest -q -p no:cacheprovider tests/contract

infra: setup package ## tests of the HCL
	@$(PY) -m pytest -q -p no:cacheprovider tests/infra

smoke: setup package ## one fault healed on the real lab (root)
	@tools/smoke.sh

simulate: setup ## the real healer in a simulated world (SEEDS=first:end FAULTS=a seed)
	@$(PY) -m tests.simulation --seeds $(SEEDS) --faults $(FAULTS) --workers $$(nproc)

test-freeze: setup package ## the host of both leaders frozen and thawed (TRIALS, VARIANT=natural|forced|both, GUARD=on|off, MOVER)
	@$(LAB) freeze --trials $(TRIALS) --variant $(VARIANT) --guard $(GUARD) --mover $(MOVER) --size $(SIZE)

test-faults: setup package ## every fault of the catalogue on the real lab, under load (ONLY=name,...)
	@$(LAB) faults $(if $(ONLY),--only $(ONLY))

chaos: setup package ## random faults by a seed under the checker of writes (MINUTES, SEED, DURABILITY, SIZE, BREAK=commit, DIRECTORY)
	@$(LAB) chaos --minutes $(MINUTES) --seed $(SEED) --durability $(DURABILITY) --size $(SIZE) \
	  $(if $(BREAK),--break $(BREAK)) $(if $(WITHOUT),--without $(WITHOUT)) $(if $(DIRECTORY),--directory $(DIRECTORY))

heal-status: setup ## strength, modes, open incidents: what the healer does and what holds it (ON=aws|lab)
	$(call people,status)

heal-pause: setup ## the healer does nothing for a time: WHY='new disks' FOR=2h (OFF=1: switched off)
	$(call people,pause --why "$$WHY" $${FOR:+--for "$$FOR"} $${OFF:+--off})

heal-resume: setup ## the healer may act again
	$(call people,resume)

heal-ack: setup ## I have looked: close the breaker, begin anew with what is held (WHY=)
	$(call people,ack $${WHY:+--why "$$WHY"})

heal-history: setup ## incidents, their steps, and what people ordered (SLOT=)
	$(call people,history $${SLOT:+--slot "$$SLOT"})

switchover: setup ## another database shall lead (TO=, CANCEL=1)
	$(call people,switchover $${TO:+--to "$$TO"} $${WHY:+--why "$$WHY"} $${CANCEL:+--cancel})

roll: setup ## replace every node, one at a time, the leader last (CANCEL=1)
	$(call people,roll $${WHY:+--why "$$WHY"} $${CANCEL:+--cancel})

package: setup ## build dist/lambdas.zip and dist/node-bundle.tar.gz, byte for byte the same every time
	@$(PY) tools/package.py

lock: setup ## compile requirements/*.in to locked versions with hashes
	@$(PY) -m uv --version >/dev/null 2>&1 || $(PY) -m pip install --quiet uv
	@$(PY) -m uv pip compile -q --no-config --universal --generate-hashes --python-version 3.11 \
	  --custom-compile-command 'make lock' requirements/dev.in -o requirements.lock

lab-up: setup package ## start the lab and fill every slot (SIZE=minimal|standard)
	@$(LAB) up --size $(SIZE) --durability $(DURABILITY) --clock $(CLOCK)

lab-down: setup ## stop the lab and remove every trace of it
	@$(LAB) down

lab-status: setup ## slots, instances, roles, lag, etcd, agent age
	@$(LAB) status

lab-break: setup ## break something: FAULT=power-loss TARGET=leader
	@$(LAB) break $(FAULT) $(TARGET)

lab-mend: setup ## undo the faults that were injected by hand
	@$(LAB) mend

lab-shell: setup ## a shell on a node: SLOT=db-euw1-a
	@$(LAB) shell $(SLOT)

lab-logs: setup ## logs of a node, or of everything: SLOT=db-euw1-a
	@$(LAB) logs $(SLOT)

bench: setup ## benchmarks: the healer's reconcile, the agent's pass
	@$(PY) -m pytest -q -p no:cacheprovider tests/bench -s

clean: ## remove what was built here
	@rm -rf dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
