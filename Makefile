.PHONY: build run dag demo examples test soak fuzz

# What the binary says of itself (onward version), also where Go does not look at the repository.
BUILT = -X $(ROUTER).commit=$(shell git rev-parse HEAD 2>/dev/null) -X $(ROUTER).modified=$(shell test -z "$$(git status --porcelain 2>/dev/null)" || echo true) \
	-X $(ROUTER).built=$(shell date -u +%Y-%m-%dT%H:%M:%SZ)
ROUTER = github.com/onward-router/onward/router

build:
	go build -ldflags '$(BUILT)' -o bin/ ./router/cmd/onward ./deploy/examples/01-word-count/functions ./deploy/examples/02-dag/tasks ./deploy/demo

run: build
	@./deploy/examples/01-word-count/run.sh

dag: build
	@./deploy/examples/02-dag/run.sh

# Every example, as its comments say; EXAMPLE=14 is one.
examples: build
	@./deploy/examples/run.sh $(EXAMPLE)

# A router with functions, traffic and failures, to look at in a browser.
demo: build
	@bin/demo

# The race detector needs a C compiler; without one the same tests run without it.
RACE := $(shell test "$$(go env CGO_ENABLED)" = 1 && command -v "$$(go env CC)" >/dev/null 2>&1 && echo -race)

# SQLite in Go is C that was translated, with locks of its own around memory of its own: looked at by the detector it takes half as long again, and shows nothing of ours.
RACE := $(if $(RACE),-race -gcflags='modernc.org/sqlite/lib=-race=false -d=checkptr=0')

# A process under the race detector rests for a second before it ends, unless it is told not to: there are more than fifty test binaries, and programs that they start.
export GORACE := atexit_sleep_ms=0 $(GORACE)

# The fold, the policies, the language, documents and the simulator have no goroutines (TestWithoutRaceDetector sees to it): the race detector would make them
# five times as slow and find nothing. What plays side by side have in common, policies and definitions, is looked at by the last line.
PURE := /(schedulers(/.*)?|router/engine|router/simulate|config|config/(lang|filter|envelope)(/.*)?)$$

# What go test would vet of each package, go vet has before.
test:
	@gofmt -l . | (! grep .) || (echo "gofmt would change these files"; exit 1)
	go vet ./...
	go tool staticcheck ./...
	@test -n "$(RACE)" || echo "no C compiler: the tests run without the race detector"
	@notes=$$(mktemp); export TOOLTEST_NOTES=$$notes; code=0; \
	all="./router/command $$(go list ./... | grep -vE '$(PURE)' | grep -v '/router/command$$')"; pure="$$(go list ./... | grep -E '$(PURE)')"; \
	echo "go test $(RACE), all but what has no goroutines; what takes longest comes first"; go test -vet=off -timeout 20m $(RACE) $$all || code=1; \
	echo "go test, of what has none"; go test -vet=off -timeout 20m $$pure || code=1; \
	test -z "$(RACE)" || { echo "go test $(RACE), of what it has in common"; go test -vet=off -timeout 20m $(RACE) -run TestPlays ./router/simulate -args -seeds 60 || code=1; }; \
	awk '!seen[$$0]++ { printf "%s%s", n++ ? "; " : "NOT RUN: ", $$0 } END { if (n) print "" }' $$notes; \
	rm -f $$notes; exit $$code

# The hostile hour, behind 100,000 calls of nested maps under kill -9: not part of test. Nothing may be lost or wrong.
MINUTES ?= 60
soak: build
	go test ./router/command -run 'TestKill(Nested)?$$' -v -args -nested-whole
	go test ./router -run TestWideRunIsSeenAndMended -v -args -wide-whole
	go test ./router -run TestNoGetHoldsAFold -v -args -hold-whole
	bin/onward soak --minutes $(MINUTES)

# All fuzz targets, one after the other; what they find is kept in the package's testdata/fuzz, to be committed with what mends it.
FUZZTIME ?= 10m
fuzz:
	@grep -rl --include='*_test.go' '^func Fuzz' . | sort | while read -r file; do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$file); do \
			echo "$$(dirname $$file) $$target"; \
			go test $$(dirname $$file) -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5s || exit 1; \
		done; \
	done
