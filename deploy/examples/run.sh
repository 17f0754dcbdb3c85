#!/bin/sh
# Runs every example, or those whose folders begin with what is named: its run.sh, or else the commands in the comments of its documents (lines "#   bin/onward ..."),
# as a reader would type them, from the top or, with ../../../bin/onward, from its folder. A router that a comment starts gets a free port and a folder that goes with it; RUN in a command is the run that was told of last. Each
# example is linted, but for one that is a program of its own. A command ends with 0, or as its comment says (# ends with 1). What needs a Kafka cluster is linted only.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
router=
stop() { test -z "$router" || { kill "$router" 2>/dev/null && wait "$router" || true; router=; }; }
trap 'stop; rm -rf "$work"' EXIT INT TERM

# commands prints the commands in the comments of files, one a line; a command that goes on behind a \ is one.
commands() {
	sed -n 's/^#   \(bin\/onward .*\)/\1/p; s/^#   \(\.\.\/\.\.\/\.\.\/bin\/onward .*\)/\1/p; s/^#     \( *[^ ].*\)/\1/p; s/^\/\/	\(go run .*\)/\1/p' "$@" | sed -e ':a' -e '/\\$/N; s/\\\n */ /; ta' | grep -E '^(bin/|\.\./|go run)' || true
}

serve() {
	stop
	rm -rf "$work/data"
	: >"$work/log" # It is looked into before the shell behind has made it.
	(cd "$in" && ONWARD_LISTEN=127.0.0.1:0 ONWARD_DATA="$work/data" ONWARD_DURABILITY=os ONWARD_DISK_LOW_WATER=1 exec "$@") >"$work/log" 2>&1 &
	router=$!
	for i in $(seq 100); do
		grep -q msg=ready "$work/log" && break
		kill -0 "$router" 2>/dev/null || break
		sleep 0.1
	done
	ONWARD_ADDR=$(sed -n 's/.*msg="onward is routing" address=\([^ ]*\).*/\1/p' "$work/log")
	export ONWARD_ADDR
	grep -q msg=ready "$work/log" || { cat "$work/log"; return 1; }
}

failed=
example() {
	dir=$1
	test -e "$dir/main.go" || bin/onward lint "$dir" >"$work/said" 2>&1 || { cat "$work/said"; return 1; }
	if test -x "$dir/run.sh"; then
		"$dir/run.sh" >"$work/said" 2>&1 || { cat "$work/said"; return 1; }
		echo "  run.sh"
		return
	fi
	commands $(find "$dir" -name '*.yaml' -o -name '*.go' | sort) >"$work/commands"
	if grep -q -- '--journal kafka' "$work/commands"; then
		echo "  linted; the rest needs a cluster"
		return
	fi
	test -s "$work/commands" || { echo "  there is no run.sh, and no comment with a command"; return 1; }
	run=RUN
	while IFS= read -r command; do
		command=$(printf '%s\n' "$command" | sed "s/ RUN\( \|$\)/ $run\1/g")
		echo "  $command"
		case $command in
		../*) in=$dir ;; # From its folder.
		*) in=. ;;
		esac
		case $command in
		*' serve '*) eval "serve $command" || return 1 ;;
		*)
			due=$(printf '%s\n' "$command" | sed -n 's/.* # ends with \([0-9]*\)$/\1/p') code=0
			(cd "$in" && eval "$command") >"$work/said" 2>&1 </dev/null || code=$?
			test $code = ${due:-0} || { cat "$work/said"; echo "  it ends with $code"; return 1; }
			told=$(sed -n 's/.*\<run \([0-9a-z]\{26\}\)\>.*/\1/p' "$work/said" | tail -1)
			run=${told:-$run}
			;;
		esac
	done <"$work/commands"
}

for dir in deploy/examples/[0-9]*; do
	name=${dir##*/}
	test $# = 0 || { for want; do case $name in "$want"*) break ;; *) false ;; esac; done; } || continue
	echo "$name"
	example "$dir" || failed="$failed $name"
	stop
done
test -z "$failed" || { echo "these fail:$failed"; exit 1; }
