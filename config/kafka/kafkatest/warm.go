//go:build unix

package kafkatest

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/onward-router/onward/config/tooltest"
)

// What the first node on a machine makes, and all others take.
const (
	features = "bootstrap.checkpoint" // what formatting a folder writes, beside whose folder it is
	classes  = "classes.jsa"          // the classes of a node as Java maps them (class data sharing)
)

const clusterID = "T253YXJkVGVzdHNLYWZrYQ"

// warm returns the folder of both: with them a node starts for half the CPU, and without a Java process that formats its folder. They are of one Java: another
// would take no classes of it.
func warm(jars string) (string, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return "", fmt.Errorf("%w: java is not installed", tooltest.ErrMissing)
	}
	if java, err = filepath.EvalSymlinks(java); err != nil {
		return "", err
	}
	info, err := os.Stat(java)
	if err != nil {
		return "", err
	}
	of := crc32.ChecksumIEEE(fmt.Append(nil, java, info.Size(), info.ModTime().UnixNano()))
	return tooltest.Cached(fmt.Sprintf("kafka-%s-warm-%08x", Version, of), func(part string) (string, error) {
		dir, keep := filepath.Join(part, "run"), filepath.Join(part, "keep")
		n := &node{dir: filepath.Join(dir, "0"), jars: jars, broker: tooltest.Port(), quorum: tooltest.Port(), share: "-Xshare:auto"}
		r := &real{dir: dir, jars: jars, nodes: []*node{n}}
		if err := os.Mkdir(keep, 0o755); err != nil {
			return "", err
		}
		if err := r.configure(n); err != nil {
			return "", err
		}
		format := exec.Command("java", n.java("kafka.tools.StorageTool", "format", "-t", clusterID, "-c", n.properties())...)
		format.SysProcAttr = tooltest.DieWithParent()
		if out, err := format.CombinedOutput(); err != nil {
			return "", fmt.Errorf("format a folder: %w: %s", err, out)
		}
		if err := r.train(n, filepath.Join(keep, classes)); err != nil {
			return "", err
		}
		return keep, os.Rename(filepath.Join(n.data(), features), filepath.Join(keep, features))
	})
}

// train has a node write the classes that it has loaded, when it ends in good order. A Java that has no such archives writes none, and needs none to start.
func (r *real) train(n *node, classes string) error {
	n.share = "-XX:ArchiveClassesAtExit=" + classes
	if err := n.start(); err != nil {
		return err
	}
	defer n.kill()
	c := newCluster(r.addresses())
	c.real = r
	if err := c.await(1); err != nil {
		return fmt.Errorf("%w\n%s", err, r.output())
	}
	if err := n.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-n.exited:
	case <-time.After(patience):
		return fmt.Errorf("a node did not end\n%s", r.output())
	}
	return nil
}

// format makes a node's folder one of the cluster, as Kafka's own tool does.
func (r *real) format(n *node) error {
	if err := os.MkdirAll(n.data(), 0o755); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(r.warm, features))
	if err != nil {
		return err
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // It never fails.
	id[0] &= 0x7f           // The text begins with no dash.
	meta := fmt.Sprintf("version=1\ncluster.id=%s\nnode.id=%d\ndirectory.id=%s\n", clusterID, n.id, base64.RawURLEncoding.EncodeToString(id[:]))
	if err := os.WriteFile(filepath.Join(n.data(), "meta.properties"), []byte(meta), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(n.data(), features), text, 0o644)
}
