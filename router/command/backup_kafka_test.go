package command

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/config/tooltest"
)

// TestBackupOnKafka: the backup of a router whose journal is on Kafka says that the journal is not in it. A router that has lost its folder goes on from the
// brokers, with the pauses; the history of before, and the dead letters, come from the backup.
func TestBackupOnKafka(t *testing.T) {
	t.Parallel()
	c := kafkatest.Shared(t)
	dir := t.TempDir()
	doc := filepath.Join(dir, "doc.yaml")
	text := `version: 1
functions:
  cat: { exec: cat }
  bad: { exec: [sh, -c, "exit 3"] }
sources: { inbox: { webhook: {} } }
triggers:
  done: { filters: [{ exact: { type: done } }], flow: { function: cat }, onSuccess: { function: bad } }
  ask: { filters: [{ exact: { type: ask } }], flow: { signal: approved } }
`
	if err := os.WriteFile(doc, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	onKafka := []string{"--kafka-prefix", fmt.Sprintf("kept-%d", time.Now().UnixNano()), "--kafka-brokers", strings.Join(c.Brokers(), ",")}
	addr := ""
	onward := func(args ...string) string {
		t.Helper()
		out, err := onwardCommand(addr, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("onward %s: %v\n%s", args, err, out)
		}
		return string(out)
	}
	eventually := func(text string, args ...string) {
		t.Helper()
		for deadline := time.Now().Add(within); !strings.Contains(onward(args...), text); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("onward %s never says %q: %s", args, text, onward(args...))
			}
		}
	}
	start := func(data string) (stop func()) {
		addr = tooltest.Address()
		child := exec.Command(os.Args[0], append([]string{"serve", doc, "--journal", "kafka", "--kafka-session", "3s", "--listen", addr, "--advertise", addr, "--data", data, "--log-level", "error"}, onKafka...)...)
		child.Env, child.Stderr = append(os.Environ(), childVariable+"=1"), os.Stderr
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		stopped := false
		stop = func() {
			if !stopped {
				stopped = true
				_ = child.Process.Signal(os.Interrupt)
				_ = child.Wait()
			}
		}
		t.Cleanup(stop)
		waitReady(t, addr)
		return stop
	}
	onward(append([]string{"kafka", "init", "--partitions", "2", "--replication", "1"}, onKafka...)...)
	stop := start(filepath.Join(dir, "lost"))
	onward("send", "--type", "done", "--id", "d-1")
	onward("send", "--type", "ask", "--id", "a-1")
	eventually("exit_3", "dead", "list")
	eventually("succeeded", "runs", "list", "--event", "d-1")
	onward("functions", "pause", "cat")
	kept := filepath.Join(dir, "one.backup")
	if said := onward("backup", kept); !strings.Contains(said, "and is whole\nthe journal is on Kafka, and is NOT in it, nor is what is paused") {
		t.Error(said)
	}
	stop()
	if said := onward("restore", kept, "--data", filepath.Join(dir, "again")); !strings.Contains(said, "the journal is on Kafka and was not in the backup") {
		t.Error(said)
	}
	start(filepath.Join(dir, "again"))
	eventually("waiting", "runs", "list", "--event", "a-1")   // From the brokers.
	eventually("paused", "functions", "list")                 // Likewise.
	eventually("succeeded", "runs", "list", "--event", "d-1") // From the backup.
	eventually("exit_3", "dead", "list")
}
