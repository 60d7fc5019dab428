.PHONY: dev check test docs fix

dev: ## install everything for development
	python3 -m pip install -c constraints.txt -e '.[dev]'

check: ## lint and types
	ruff check .
	ruff format --check .
	mypy

test: ## the tests, on all cores
	OMP_NUM_THREADS=1 python3 -m pytest -n auto

docs: ## write what the documentation takes from the code
	python3 -m cogapp -r -I . docs/cli.md

fix: ## what a tool can mend
	ruff check --fix .
	ruff format .
