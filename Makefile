# "make help" says what each command does.
# Everything is installed into .venv, once; constraints.txt holds the exact versions.
PYTHON ?= python3
VENV   := .venv
LOWEST := .venv-lowest
NEWEST := .venv-newest
BIN    := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PIP    := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
PRETTIER := npx --yes --prefer-offline --fetch-retries=0 prettier@3.10.1
# A process for each core; the last ones take over what the others have not begun.
SPREAD := --numprocesses=logical --dist=worksteal
# The form of a line that a newcomer follows: what happens now, and why it takes a while.
say     = @printf '\n== %s\n'

.DEFAULT_GOAL := help
.PHONY: help book pdf editions check test notebooks twice elsewhere road mutants figures pretrained lint lowest newer bench gpu colab constraints address clean

help:
	@printf '%s\n' \
	  'make book             build the static book in _build/html (needs no PyTorch)' \
	  'make pdf              print the built book as one file, _build/html/vae-tutorial.pdf (needs Chromium, no PyTorch)' \
	  'make editions         make the notebooks that readers run in Colab, JupyterLab or VS Code (also part of "make book")' \
	  'make test             lint, unit tests, notebooks (nbval), form checks, the book in a browser' \
	  'make check            the quick part of it, in a few minutes: lint, the tests that need no browser and no other process' \
	  'make notebooks        run every notebook in a fresh kernel and store its outputs' \
	  '                      (N=08 runs one; LEDGER=update records the numbers they compute)' \
	  'make twice            run every cell of every notebook twice; the second run must do no harm (N=08: one)' \
	  'make elsewhere        compare the notebooks as "make test" does, computed as on another processor (N=08: one); what' \
	  '                      differs there depends on the machine, and wants the tag nbval-ignore-output' \
  'make road             run every notebook with its side rooms and checks taken out (N=08: one), and say how many' \
  '                      minutes each evening takes to read' \
  'make mutants          give every check of every chapter wrong versions of what it checks; each must fail (N=08: one)' \
  'make figures          draw the pictures of the pages: the front door, the ledger, the map of concepts, the self-tests (a minute; needs MNIST)' \
	  'make pretrained       train the shipped models anew and compare them with their cards (an hour;' \
	  '                      NAMES="mlp conv" trains some)' \
	  'make colab            run every notebook as Colab does (N=08 runs one); ten minutes or so' \
	  'make lint             ruff on everything, types on the package' \
	  'make lowest           tests and notebooks with the lowest versions that pyproject.toml allows, in .venv-lowest' \
	  'make newer            build the book by plain Sphinx with the newest Sphinx, theme and MyST, in .venv-newest, and' \
	  '                      say what differs from the book of "make book" (two minutes)' \
	  'make bench            time one training epoch against the loop everybody copies' \
	  'make gpu              try on a GPU what is otherwise tested on CPUs; six minutes at most (DATA=FOLDER has MNIST)' \
	  'make constraints      resolve the newest versions of everything anew' \
	  'make address URL=...  give the course another repository address, in every file' \
	  'make clean            remove the built book and .venv'

# A stamp is touched when its installation ended well, so that a second run installs nothing.
$(VENV)/.made:
	$(say) 'Making a virtual environment in $(VENV)'
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "$(PYTHON) is Python " + sys.version.split()[0] + "; the course needs 3.10 or newer. Try: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); echo 'Python could not make a virtual environment. On Debian and Ubuntu: apt install python3-venv'; exit 1; }
	@touch $@

$(VENV)/.book: book/requirements.txt constraints.txt | $(VENV)/.made
	$(say) 'Installing what builds the book (about a minute; no PyTorch)'
	$(PIP) install -c constraints.txt -r book/requirements.txt
	@touch $@

$(VENV)/.pdf: book/pdf-requirements.txt constraints.txt | $(VENV)/.made
	$(say) 'Installing what prints the book (no PyTorch)'
	$(PIP) install -c constraints.txt -r book/pdf-requirements.txt
	@touch $@

$(VENV)/.test: pyproject.toml tests/requirements.txt constraints.txt | $(VENV)/.made
	$(say) 'Installing the package with PyTorch and the test tools (a few minutes, several GB on Linux)'
	$(PIP) install -c constraints.txt -r tests/requirements.txt -e .
	@touch $@

# All pages, not only the changed ones: otherwise the site map lists only those, and static files stay as they were.
book: $(VENV)/.book
	$(say) 'Building the book'
	$(BIN)/jupyter-book build . --all -W -n --keep-going $(BOOKFLAGS)
	@printf '\nThe book: file://%s/_build/html/index.html\n' "$(CURDIR)"

pdf: $(VENV)/.pdf
	$(say) 'Printing the book (a minute or two)'
	$(BIN)/python tools/pdf.py

# Reads the pages as "make book" does, for the numbers, and writes only the notebooks.
editions: $(VENV)/.book
	$(say) 'Making the notebooks to run'
	$(BIN)/jupyter-book build . --builder custom --custom-builder editions -W -n --keep-going
	@printf '\nThe notebooks: %s/_build/editions/running\n' "$(CURDIR)"

check: lint
	$(say) 'Tests of the package, and of the form of notebooks and pages'
	$(PYTEST) $(SPREAD) -m 'not browser and not process and not timed'

test: lint book $(VENV)/.test
	$(say) 'Unit tests, form checks, and the book in a browser'
	$(PYTEST) $(SPREAD) -m 'not timed'
	$(say) 'Notebooks, re-run and compared with their stored outputs'
	$(BIN)/python tools/notebooks.py check
	$(say) 'What measures seconds, one after the other; what fails has a second chance'
	$(PYTEST) -m timed || $(PYTEST) -m timed --last-failed

notebooks: $(VENV)/.test
	VAE_TUTORIAL_LEDGER=$(LEDGER) $(BIN)/python tools/notebooks.py run $(N)

twice: $(VENV)/.test
	$(BIN)/python tools/notebooks.py twice $(N)

elsewhere: $(VENV)/.test
	$(BIN)/python tools/notebooks.py elsewhere $(N)

road: $(VENV)/.test
	$(BIN)/python tools/notebooks.py road $(N)
	$(BIN)/python tools/clock.py $(N)

mutants: $(VENV)/.test
	$(BIN)/python tools/mutants.py $(N)

figures: $(VENV)/.test
	$(BIN)/python tools/landing.py
	$(BIN)/python tools/door.py
	$(BIN)/python tools/ledger_page.py
	$(BIN)/python tools/figures.py

pretrained: $(VENV)/.test
	$(BIN)/python -m vae_tutorial pretrained $(NAMES)

colab: $(VENV)/.test editions
	$(BIN)/python tools/colab.py $(N)

lint: $(VENV)/.test
	$(say) 'Lint'
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ty check
	@if $(PRETTIER) --version >/dev/null 2>&1; then $(PRETTIER) --check vae_tutorial/explorers/static/explorers vae_tutorial/answers/static "book/_static/*.js" book/_ext/search.js; \
	else echo 'No Node.js with npm here: the form of the JavaScript was not checked'; fi

# Of our own dependencies the lowest versions, of theirs today's: they tell each other what is deprecated, which is
# no fault here. The book is not built there.
$(LOWEST)/.made: pyproject.toml tests/requirements.txt | $(VENV)/.made
	$(say) 'Installing the lowest versions that pyproject.toml allows'
	$(PIP) install uv
	$(PYTHON) -m venv --clear $(LOWEST)
	$(BIN)/uv pip install --python $(LOWEST) --resolution lowest-direct -r tests/requirements.txt -e .
	@touch $@

lowest: $(LOWEST)/.made
	$(LOWEST)/bin/python -m pytest $(SPREAD) -m 'not timed and not book' \
	  -W ignore::DeprecationWarning -W ignore::PendingDeprecationWarning -W ignore::FutureWarning
	$(LOWEST)/bin/python tools/notebooks.py check --lax

# Jupyter Book 1 stays at Sphinx 7. What it brings is listed here; what the book adds stands in its requirements.
# No stamp: what is the newest may be another one each time.
newer: book
	$(say) 'Installing the newest Sphinx, theme and MyST in $(NEWEST)'
	@test -x $(NEWEST)/bin/python || $(PYTHON) -m venv --clear $(NEWEST)
	@grep -v '^jupyter-book' book/requirements.txt > $(NEWEST)/book.txt
	$(NEWEST)/bin/python -m pip --disable-pip-version-check install -q --upgrade --upgrade-strategy eager playwright \
	  sphinx sphinx-book-theme myst-nb myst-parser sphinx-external-toc sphinx-design sphinx-togglebutton \
	  sphinx-copybutton sphinxcontrib-bibtex -r $(NEWEST)/book.txt
	$(say) 'Building the book with them, and comparing'
	$(NEWEST)/bin/python tools/newer.py $(BIN)/python

bench: $(VENV)/.test
	$(BIN)/python benchmarks/training.py

# It installs nothing: a machine with a GPU may have a PyTorch of its own, and no network.
gpu:
	$(or $(wildcard $(BIN)/python),$(PYTHON)) tools/gpu.py $(if $(DATA),--data $(DATA))

constraints: $(VENV)/.made
	$(say) 'Resolving the newest versions for all Pythons and systems'
	$(PIP) install uv
	$(BIN)/uv pip compile -q --universal --python-version 3.10 --no-python-downloads --upgrade --no-annotate \
	  --custom-compile-command 'make constraints   (the versions that CI and the published book use; Python 3.10 to 3.13)' \
	  -o constraints.txt pyproject.toml book/requirements.txt book/pdf-requirements.txt tests/requirements.txt

address:
	$(PYTHON) tools/address.py $(URL)

clean:
	rm -rf _build $(VENV) $(LOWEST) $(NEWEST)
