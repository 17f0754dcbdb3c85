package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSystemdUnit holds the unit to the program: its command line is one, it stops the router as that wants to be stopped, and it keeps it in; and systemd reads
// it, where there is systemd.
func TestSystemdUnit(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("systemd/onward.service")
	if err != nil {
		t.Fatal(err)
	}
	keys, section := make(map[string][]string), ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[]")
			continue
		}
		if key, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			keys[section+"."+key] = append(keys[section+"."+key], value)
		}
	}
	one := func(key string) string {
		t.Helper()
		if len(keys[key]) != 1 {
			t.Errorf("%s is said %d times", key, len(keys[key]))
			return ""
		}
		return keys[key][0]
	}
	command := strings.Fields(one("Service.ExecStart"))
	if len(command) < 2 || filepath.Base(command[0]) != "onward" {
		t.Fatalf("it starts %q", command)
	}
	checkCommand(t, "systemd/onward.service", command[1:])
	for key, want := range map[string]string{
		"Service.Type": "notify", "Service.DynamicUser": "yes", "Service.StateDirectory": "onward", "Service.ProtectSystem": "strict", "Service.NoNewPrivileges": "yes", "Service.CapabilityBoundingSet": "",
		"Service.Restart": "always", "Service.RestartPreventExitStatus": "2", "Service.KillSignal": "SIGTERM", "Service.KillMode": "mixed", "Service.UMask": "0077", "Install.WantedBy": "multi-user.target",
		"Service.ExecReload": "/bin/kill -HUP $MAINPID",
	} {
		if got := one(key); got != want {
			t.Errorf("%s is %q; want %q", key, got, want)
		}
	}
	if !strings.Contains(one("Service.ExecStart"), "--data /var/lib/"+one("Service.StateDirectory")) {
		t.Error("the journal is not in the state directory")
	}
	if stop, err := time.ParseDuration(one("Service.TimeoutStopSec")); err != nil || stop < time.Minute {
		t.Errorf("it has %s to stop (%v), and drain alone is 10 s", stop, err)
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("there is no systemd-analyze here: the keys alone were looked at")
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), "onward.service") // The program need not be where the unit has it.
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(b), command[0], self)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", unit).CombinedOutput(); err != nil || strings.Contains(string(out), "onward.service:") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
