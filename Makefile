.PHONY: build run dag test

build:
	go build -o bin/ ./router/cmd/onward ./deploy/examples/01-word-count/functions ./deploy/examples/02-dag/tasks

run: build
	@./deploy/examples/01-word-count/run.sh

dag: build
	@./deploy/examples/02-dag/run.sh

# The race detector needs a C compiler; without one the same tests run without it.
RACE := $(shell test "$$(go env CGO_ENABLED)" = 1 && command -v "$$(go env CC)" >/dev/null 2>&1 && echo -race)

test:
	@gofmt -l . | (! grep .) || (echo "gofmt would change these files"; exit 1)
	go vet ./...
	go tool staticcheck ./...
	@test -n "$(RACE)" || echo "no C compiler: the tests run without the race detector"
	@notes=$$(mktemp); echo "go test $(RACE) ./..."; KAFKATEST_NOTES=$$notes go test $(RACE) ./...; code=$$?; \
	if test -s $$notes; then \
		echo "NOT RUN: the tests on a real Kafka: $$(sort -u $$notes | head -1); install java 17 or later and mvn, or set KAFKA_BROKERS=host:port"; \
	fi; rm -f $$notes; exit $$code
