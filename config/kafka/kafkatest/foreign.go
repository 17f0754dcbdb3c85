package kafkatest

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The versions that are fetched; kcat is the one of the Debian release.
const (
	confluentKafka = "2.14.0"
	cloudEvents    = "10.0.0"
)

//go:embed npm/package.json
var packageJSON []byte

//go:embed npm/package-lock.json
var packageLock []byte

// A Tool is a program of another language, with the library that a test wants in it.
type Tool struct {
	path string
	env  []string
}

// Command makes a process of the tool. It ends with ctx, and with the test's process.
func (x *Tool) Command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, x.path, args...)
	c.Env, c.SysProcAttr, c.WaitDelay = append(os.Environ(), x.env...), dieWithParent(), 5*time.Second
	return c
}

// works reports whether the tool runs with these arguments.
func (x *Tool) works(args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if out, err := x.Command(ctx, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s %s: %w: %s", errMissing, x.path, strings.Join(args, " "), err, out)
	}
	return nil
}

// A search finds a tool once for all tests of a binary.
type search struct {
	with, cure string
	find       func() (*Tool, error)

	once  sync.Once
	found *Tool
	err   error
}

func (s *search) get(t testing.TB) *Tool {
	t.Helper()
	if s.once.Do(func() { s.found, s.err = s.find() }); s.err != nil {
		lacking(t, s.with, s.err, s.cure)
	}
	return s.found
}

var (
	withKcat   = &search{with: "with kcat", cure: "install kcat", find: findKcat}
	withPython = &search{with: "with Python", cure: "install python3 and pip, or python3-confluent-kafka", find: findPython}
	withNode   = &search{with: "with Node", cure: "install node 20 or later and npm", find: findNode}
)

// Kcat returns kcat.
func Kcat(t testing.TB) *Tool { t.Helper(); return withKcat.get(t) }

// Python returns a Python that has confluent_kafka.
func Python(t testing.TB) *Tool { t.Helper(); return withPython.get(t) }

// Node returns a Node that has the package cloudevents of npm, for require.
func Node(t testing.TB) *Tool { t.Helper(); return withNode.get(t) }

func findKcat() (*Tool, error) {
	if path, err := exec.LookPath("kcat"); err == nil {
		return &Tool{path: path}, nil
	}
	x, root, err := debian("kcat")
	if err != nil {
		return nil, err
	}
	x.path = filepath.Join(root, "usr/bin/kcat")
	return x, x.works("-V")
}

// findPython takes one that has the library, gives it to one that has pip, or takes Debian's.
func findPython() (*Tool, error) {
	const has = "import confluent_kafka"
	pythons := []*Tool{{path: "python3"}, {path: "/usr/bin/python3"}}
	for _, x := range pythons {
		if x.works("-c", has) == nil {
			return x, nil
		}
	}
	dir, noPip := pip(pythons[0])
	if noPip == nil {
		x := &Tool{path: pythons[0].path, env: []string{"PYTHONPATH=" + dir}}
		return x, x.works("-c", has)
	}
	x, root, err := debian("python3-confluent-kafka")
	if err != nil {
		return nil, fmt.Errorf("%w; %w", noPip, err)
	}
	x.path = "/usr/bin/python3"
	x.env = append(x.env, "PYTHONPATH="+filepath.Join(root, "usr/lib/python3/dist-packages"))
	return x, x.works("-c", has)
}

// pip returns a folder with the library for this Python.
func pip(x *Tool) (string, error) {
	abi, err := fetch(quick, "", x.path, "-c", "import sysconfig; print(sysconfig.get_config_var('SOABI'))")
	if err != nil {
		return "", err
	}
	return cached("confluent-kafka-"+confluentKafka+"-"+abi, func(part string) (string, error) {
		_, err := fetch(quick, part, x.path, "-m", "pip", "install", "-q", "--no-deps", "--only-binary", ":all:", "--target", "whole", "confluent-kafka=="+confluentKafka)
		return filepath.Join(part, "whole"), err
	})
}

func findNode() (*Tool, error) {
	dir, err := cached("cloudevents-"+cloudEvents, func(part string) (string, error) {
		for name, text := range map[string][]byte{"package.json": packageJSON, "package-lock.json": packageLock} {
			if err := os.WriteFile(filepath.Join(part, name), text, 0o644); err != nil {
				return "", err
			}
		}
		_, err := fetch(quick, part, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		return filepath.Join(part, "node_modules"), err
	})
	if err != nil {
		return nil, err
	}
	x := &Tool{path: "node", env: []string{"NODE_PATH=" + dir}}
	return x, x.works("-e", "require('cloudevents')")
}

// debian unpacks a package of this Debian release, and those that it needs and the machine has not, beside the system: that takes no root.
func debian(name string) (*Tool, string, error) {
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", errMissing, err)
	}
	root, err := cached(fmt.Sprintf("debian-%s-%08x", name, crc32.ChecksumIEEE(release)), func(part string) (string, error) {
		lists, cache := filepath.Join(part, "lists"), filepath.Join(part, "cache")
		for _, dir := range []string{lists, cache} {
			if err := os.MkdirAll(filepath.Join(dir, "partial"), 0o755); err != nil {
				return "", err
			}
		}
		own := []string{"-q", "-o", "Dir::State::lists=" + lists, "-o", "Dir::Cache=" + cache}
		if _, err := fetch(quick, part, "apt-get", append(own, "update")...); err != nil {
			return "", err
		}
		plan, err := fetch(quick, part, "apt-get", append(own, "-s", "--no-install-recommends", "install", name)...)
		if err != nil {
			return "", err
		}
		names := []string{"download"}
		for line := range strings.Lines(plan) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "Inst" {
				names = append(names, f[1])
			}
		}
		if _, err := fetch(quick, part, "apt-get", append(own, names...)...); err != nil {
			return "", err
		}
		packages, err := filepath.Glob(filepath.Join(part, "*.deb"))
		if err != nil || len(packages) == 0 {
			return "", fmt.Errorf("%w: apt-get fetches no %s, %w", errMissing, name, err)
		}
		whole := filepath.Join(part, "whole")
		for _, p := range packages {
			if _, err := fetch(quick, part, "dpkg", "-x", p, whole); err != nil {
				return "", err
			}
		}
		return whole, nil
	})
	if err != nil {
		return nil, "", err
	}
	libraries, err := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu*"))
	if err != nil {
		return nil, "", err
	}
	return &Tool{env: []string{"LD_LIBRARY_PATH=" + strings.Join(libraries, ":")}}, root, nil
}

// What a fetch may take: all the jars of a server, or a package.
const (
	slow  = 10 * time.Minute
	quick = 2 * time.Minute
)

// fetch runs a program that is to fetch something into a folder, and returns what it says.
func fetch(within time.Duration, dir, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	c := exec.CommandContext(ctx, program, args...)
	c.Dir, c.SysProcAttr, c.WaitDelay = dir, dieWithParent(), 5*time.Second
	out, err := c.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return "", fmt.Errorf("%w: %s: %w: %s", errMissing, program, err, exit.Stderr)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", errMissing, err)
	}
	return strings.TrimSpace(string(out)), nil
}
