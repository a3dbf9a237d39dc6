PYTHON ?= python3
MODEL ?= gateway-demo
DATASETTE_NEXT ?= datasette==1.0a41
WORKERS ?= auto
BIN = .venv/bin
PROMPT ?= Say hello, and count these words.
MINUTES ?= 10
FOLLOW_UP ?= What did I ask you first?

.PHONY: demo test test-datasette test-vendor lint docs check-docs bench bench-screens soak clean

# What `make demo` records stays in .demo; a vendor's CLI still finds its own login.
demo: export LLM_USER_PATH = $(CURDIR)/.demo/llm
demo: export LLM_GATEWAY_HOME = $(CURDIR)/.demo/gateway
demo: .venv/installed
	@mkdir -p .demo
	@printf '\n\033[1m$$ llm -m $(MODEL) "$(PROMPT)"\033[0m\n'
	@$(BIN)/llm -m $(MODEL) "$(PROMPT)"
	@printf '\n\033[1m$$ llm -c "$(FOLLOW_UP)"\033[0m\n'
	@$(BIN)/llm -c "$(FOLLOW_UP)"
	@printf '\n\033[1m$$ llm logs -n 2\033[0m\n'
	@$(BIN)/llm logs -n 2
	@printf '\n\033[1mThe flight recorder ($(LLM_GATEWAY_HOME)/logs.db)\033[0m\n'
	@$(BIN)/sqlite-utils query $(LLM_GATEWAY_HOME)/logs.db "select substr(datetime_utc, 12, 8) as at, cli, \
		model, status, duration_ms as ms, input_tokens as tokens_in, output_tokens as tokens_out, \
		substr(session_id, 1, 8) as session from requests order by datetime_utc desc limit 2" -t

# Playwright keeps an event loop running, so the browser has processes of its own.
test: .venv/tested
	$(BIN)/python -m pytest -n auto tests/browser $(PYTEST_ARGS) || [ $$? -eq 5 ]
	$(BIN)/python -m pytest -n $(WORKERS) --ignore tests/browser $(PYTEST_ARGS)

# The screens on the newest Datasette 1.0; `make test` has them on the released one.
test-datasette: .venv-next/tested
	.venv-next/bin/python -m pytest $(PYTEST_ARGS) tests/datasette

# The real CLIs from npm against a mock model server, in a namespace that has loopback only.
test-vendor: .venv/tested
	LLM_GATEWAY_REQUIRE_VENDOR=1 $(BIN)/python -m pytest tests/vendor

lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/tested
	$(BIN)/cog -I docs -r README.md docs/*.md

check-docs: .venv/tested
	$(BIN)/cog -I docs --check README.md docs/*.md

# What the gateway costs: the table of docs/performance.md, printed.
bench: .venv/installed
	$(BIN)/python -m benchmarks

# How long the screens take over the recorder DB, or over a smaller one, on both Datasettes.
bench-screens: .venv/installed .venv-next/tested
	$(BIN)/python -m benchmarks.screens $(if $(DB),--db $(DB)) \
		--python $(BIN)/python --python .venv-next/bin/python

# Two jobs a second for MINUTES while processes are killed; nothing may be left afterwards.
soak: .venv/installed
	$(BIN)/python -m benchmarks.soak $(MINUTES)

clean:
	rm -rf .venv .venv-next .demo .cache build *.egg-info datasette_plugin/*.egg-info

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml datasette_plugin/pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e . -e datasette_plugin
	@touch $@

.venv/tested: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

.venv-next/tested: pyproject.toml datasette_plugin/pyproject.toml
	$(PYTHON) -m venv .venv-next
	.venv-next/bin/python -m pip install --quiet --disable-pip-version-check '$(DATASETTE_NEXT)' \
		-e . -e datasette_plugin hypothesis pytest pytest-rerunfailures pytest-timeout
	@touch $@
