# All that is done with this repository. `make help` lists it.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint bench compare ci build-tools lint-tools compare-tools browser

# Where rustup puts cargo, and where we put a cmake that the system lacks.
export PATH := $(PATH):$(HOME)/.cargo/bin:$(CURDIR)/target/tools/bin

CARGO ?= cargo
N8N := tests/clients/n8n
N8N_INSTALLED := $(N8N)/node_modules/.package-lock.json
SCHEMATHESIS := target/tools/schemathesis
SCHEMATHESIS_INSTALLED := $(SCHEMATHESIS)/bin/st
CONSOLE := tests/clients/console
CONSOLE_INSTALLED := $(CONSOLE)/node_modules/.package-lock.json
LOG := target/install.log

# Installs Debian packages without asking: as root, or where sudo needs no password.
APT = $(if $(filter 0,$(shell id -u)),,sudo -n) env DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes
apt-install = { $(APT) install --no-install-recommends $(1) \
	|| { $(APT) update && $(APT) install --no-install-recommends $(1); }; } >>$(LOG) 2>&1

help:
	@echo "make demo    a legacy API, the gateway in front of it, keys and curl lines"
	@echo "             (make demo ARGS=--once: the whole story by itself, then the end)"
	@echo "make test    all tests"
	@echo "make lint    formatting, clippy and documentation, without a warning"
	@echo "make bench   the pure parts; tokens minted a second on one core; 100,000"
	@echo "             credentials and 10 million revocations, in time and memory"
	@echo "make compare the gateway beside nginx and HAProxy on this machine"
	@echo "make ci      lint and test"

demo: build-tools
	@echo "Building portcullis; the first time takes some minutes."
	@exec $(CARGO) run --quiet --locked -- demo $(ARGS)

test: build-tools $(N8N_INSTALLED) $(SCHEMATHESIS_INSTALLED) $(CONSOLE_INSTALLED) browser
	@echo "Building and testing; the first time takes some minutes."
	@$(CARGO) test --quiet --locked

lint: build-tools lint-tools
	@$(CARGO) fmt --check
	@$(CARGO) clippy --quiet --locked --all-targets -- -D warnings
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet --locked --no-deps

bench: build-tools
	@$(CARGO) bench --locked

compare: build-tools compare-tools
	@echo "Building optimised as a whole; this takes some minutes."
	@$(CARGO) build --quiet --locked --release
	@python3 benches/compare/compare.py

ci: lint test

build-tools:
	@mkdir -p target
	@command -v $(CARGO) >/dev/null || { echo "cargo is missing: install Rust, see https://rustup.rs" >&2; exit 1; }
	@command -v cmake >/dev/null && exit 0; \
	echo "Installing cmake: the zlib that Pingora brings along is built with it."; \
	$(call apt-install,cmake) && exit 0; \
	echo "apt-get can't do it here; installing cmake from PyPI into target/tools."; \
	{ python3 -m venv target/tools && target/tools/bin/pip install --quiet 'cmake<4'; } >>$(LOG) 2>&1 && exit 0; \
	echo "cmake could not be installed ($(LOG) says why). Install it and try again." >&2; exit 1

compare-tools:
	@for tool in nginx haproxy wrk; do command -v $$tool >/dev/null || missing=1; done; \
	[ -z "$$missing" ] && exit 0; \
	echo "Installing nginx, HAProxy and wrk: what the gateway is compared with, and the load."; \
	$(call apt-install,nginx-light haproxy wrk) && exit 0; \
	echo "nginx, haproxy and wrk could not be installed ($(LOG) says why)." >&2; exit 1

lint-tools:
	@$(CARGO) fmt --version >/dev/null 2>&1 && $(CARGO) clippy --version >/dev/null 2>&1 && exit 0; \
	echo "Installing rustfmt and clippy: they check the code."; \
	rustup component add rustfmt clippy >>$(LOG) 2>&1 && exit 0; \
	echo "rustfmt and clippy could not be installed ($(LOG) says why)." >&2; exit 1

# Without these, the test that needs it is skipped, but not where CI is set.
npm-tools = { command -v npm >/dev/null || { \
	echo "Installing node and npm: tests drive what is published there."; \
	$(call apt-install,npm); }; }

$(N8N_INSTALLED): $(N8N)/package-lock.json
	@mkdir -p target
	@$(npm-tools); \
	echo "Installing n8n-nodes-abtasty from npm: a client that the tests drive through the gateway."; \
	{ npm ci --prefix $(N8N) --ignore-scripts --no-audit --no-fund && touch $@; } >>$(LOG) 2>&1 && exit 0; \
	echo "n8n-nodes-abtasty could not be installed ($(LOG) says why)." >&2; \
	[ -z "$$CI" ]

# Without it that one test is skipped, but not where CI is set.
$(SCHEMATHESIS_INSTALLED): tests/clients/schemathesis/requirements.txt
	@mkdir -p target
	@python3 -c 'import ensurepip' 2>/dev/null || { \
		echo "Installing python3-venv: a test drives a program that is published on PyPI."; \
		$(call apt-install,python3 python3-venv); }; \
	echo "Installing schemathesis from PyPI: it tests the admin port against its description."; \
	{ python3 -m venv $(SCHEMATHESIS) && $(SCHEMATHESIS)/bin/pip install --quiet -r $< && touch $@; } >>$(LOG) 2>&1 && exit 0; \
	echo "schemathesis could not be installed ($(LOG) says why)." >&2; \
	[ -z "$$CI" ]

$(CONSOLE_INSTALLED): $(CONSOLE)/package-lock.json
	@mkdir -p target
	@$(npm-tools); \
	echo "Installing playwright-core and axe-core from npm: a test plays the console with them."; \
	{ npm ci --prefix $(CONSOLE) --ignore-scripts --no-audit --no-fund && touch $@; } >>$(LOG) 2>&1 && exit 0; \
	echo "playwright-core and axe-core could not be installed ($(LOG) says why)." >&2; \
	[ -z "$$CI" ]

browser:
	@mkdir -p target
	@[ -x /usr/bin/chromium ] && exit 0; \
	echo "Installing chromium: a test plays the console in it."; \
	$(call apt-install,chromium) && exit 0; \
	echo "chromium could not be installed ($(LOG) says why)." >&2; \
	[ -z "$$CI" ]
