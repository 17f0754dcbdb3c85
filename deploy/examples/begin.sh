# What the run.sh of examples have in common; they name it from the top of the repository. A folder that goes with them, processes that end with them, and a router.
set -eu
work=$(mktemp -d)
pids=
trap 'for p in $pids; do kill "$p" 2>/dev/null && wait "$p" || true; done; rm -rf "$work"' EXIT INT TERM

# serve runs a router on a free port, which the commands behind it ask.
serve() {
	ONWARD_LISTEN=127.0.0.1:0 ONWARD_DATA="$work/data" ONWARD_DURABILITY=os ONWARD_DISK_LOW_WATER=1 bin/onward serve "$@" >"$work/log" 2>&1 &
	router=$!
	pids="$pids $router"
	until grep -q msg=ready "$work/log"; do
		kill -0 "$router" 2>/dev/null || { cat "$work/log"; exit 1; }
		sleep 0.1
	done
	ONWARD_ADDR=$(sed -n 's/.*msg="onward is routing" address=\([^ ]*\).*/\1/p' "$work/log")
	export ONWARD_ADDR
}

# beside runs a program beside the router, and waits until it listens at a port of this machine: beside PORT PROGRAM ...
beside() {
	port=$1
	shift
	"$@" >>"$work/beside" 2>&1 &
	pids="$pids $!"
	python3 - "$port" <<-'EOF'
		import socket, sys, time
		for _ in range(600):
		    try:
		        socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1).close()
		        sys.exit()
		    except OSError:
		        time.sleep(0.1)
		sys.exit("nothing listens")
	EOF
}

# needs ends the example, as one that was not run, where a program is missing.
needs() { for program; do command -v "$program" >/dev/null || { echo "NOT RUN: it needs $program"; exit 0; }; done; }

# pip fetches a package of Python, where a module is missing, into a folder that goes with the example: pip MODULE PACKAGE
pip() {
	python3 -c "import $1" 2>/dev/null && return
	if ! python3 -m pip install -q --target "$work/python" "$2" 2>"$work/pip"; then
		echo "NOT RUN: python3 has no $1, and pip fetches none: $(tail -1 "$work/pip")"
		exit 0
	fi
	export PYTHONPATH="$work/python"
}

# shows runs a command, prints what it says, and ends the example where a text is not in it: shows TEXT COMMAND ...
shows() {
	text=$1
	shift
	"$@" >"$work/said" 2>&1 || true # What it says is looked at.
	cat "$work/said"
	grep -qF -- "$text" "$work/said" || { echo "it is to say: $text"; cat "$work/log"; cat "$work/beside" 2>/dev/null || true; exit 1; }
}
