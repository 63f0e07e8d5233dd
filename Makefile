# make demo     the hub with its main job run on a generated patient register
# make run      the hub
# make test     the tests (DATABASE_URL and REDIS_URL: against those services too)
# make bench    the benchmarks into var/bench (NAME=anonymize for one of them)
# make bench-peers   DP training's speed beside Opacus and JAX Privacy, in .venv-peers
# make faults   kills, halts and outages against real processes (SEED=1), as a table
# make check    ruff and mypy
# make lock     requirements.txt anew from requirements.in

VENV := .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
VENV_PEERS := .venv-peers
READY_PEERS := $(VENV_PEERS)/.ready
# Where torch without CUDA comes from: a folder of wheels, or where uv knows it to be.
TORCH := $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS),--torch-backend cpu)
PORT ?= 8000
export TF_USE_LEGACY_KERAS = 1
export TF_CPP_MIN_LOG_LEVEL = 3

.PHONY: setup run demo test bench bench-peers faults check lock

setup: $(READY)

$(READY): requirements.txt
	@if command -v uv >/dev/null; then \
		uv venv -q --allow-existing --python 3.11 $(VENV) && \
		uv pip install -q --python $(PYTHON) --no-deps --require-hashes -r $<; \
	elif python3.11 -m venv $(VENV) >/dev/null 2>&1; then \
		$(PYTHON) -m pip install -q --no-deps --require-hashes -r $<; \
	else \
		echo "PrivacyHub needs uv, or Python 3.11 with venv" \
			"(Debian: apt-get install python3.11 python3.11-venv)." >&2; \
		exit 1; \
	fi
	@touch $@

$(READY_DEV): requirements-dev.txt $(READY)
	@if command -v uv >/dev/null; then \
		uv pip install -q --python $(PYTHON) --no-deps --require-hashes -r $<; \
	else \
		$(PYTHON) -m pip install -q --no-deps --require-hashes -r $<; \
	fi
	@touch $@

run: setup
	@$(PYTHON) manage.py serve --port $(PORT)

demo: setup
	@$(PYTHON) manage.py demo --port $(PORT) $(if $(ONESHOT),--oneshot) \
		$(if $(FILE),--file "$(FILE)" --target "$(TARGET)") \
		$(if $(EPSILON),--epsilon $(EPSILON))

test: $(READY_DEV)
	@$(PYTHON) -m pytest $(ARGS)

bench: $(READY_DEV)
	@for name in $(or $(NAME),anonymize dp_training dp_accuracy queue large_table); do \
		$(PYTHON) -m tests.benchmarks.$$name || exit 1; \
	done

bench-peers: $(READY_DEV) $(READY_PEERS)
	@$(PYTHON) -m tests.benchmarks.dp_training

$(READY_PEERS): requirements-peers.txt
	@uv venv -q --allow-existing --python 3.11 $(VENV_PEERS)
	@uv pip install -q --python $(VENV_PEERS)/bin/python --no-deps --require-hashes \
		$(TORCH) -r $<
	@touch $@

faults: $(READY_DEV)
	@$(PYTHON) -m tests.faults --write --seed $(or $(SEED),1) $(ARGS)

check: $(READY_DEV)
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy

lock:
	uv pip compile -q --python-version 3.11 --generate-hashes --no-header \
		--override requirements-overrides.txt requirements.in -o requirements.txt
	uv pip compile -q --python-version 3.11 --generate-hashes --no-header \
		requirements-dev.in -o requirements-dev.txt
	uv pip compile -q --python-version 3.11 --generate-hashes --no-header $(TORCH) \
		--no-emit-index-url --no-emit-find-links requirements-peers.in \
		-o requirements-peers.txt
