package command

import (
	"log/slog"
	"net"
	"os"
)

// notify tells systemd, where that has started the router with Type=notify, how far it is: READY=1, STOPPING=1. Nobody waits for it for long, and without
// systemd it does nothing.
func notify(log *slog.Logger, state string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"}) // A name that begins with @ is an abstract one.
	if err == nil {
		_, err = c.Write([]byte(state))
		_ = c.Close() // What counts was sent.
	}
	if err != nil {
		log.Warn("systemd is not told how far the router is", "state", state, "error", err)
	}
}
