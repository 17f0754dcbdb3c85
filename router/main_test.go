package router_test

import (
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain holds the whole package to leaving no goroutine behind. Its machine stands far from Greenwich: who is told of a time hears it in UTC all the same.
func TestMain(m *testing.M) {
	time.Local = time.FixedZone("far", 9*3600+30*60)
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
