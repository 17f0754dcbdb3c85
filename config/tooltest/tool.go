// Package tooltest gives tests programs of other languages, and what they need: what the machine lacks is fetched once, pinned, into the user's cache folder,
// beside the system. Where something is not to be had, a test that asks for it is skipped and says so, and make test repeats that in its last line.
package tooltest

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Tool is a program of another language, with the library that a test wants in it.
type Tool struct {
	Path string
	Env  []string // beside the test's own
}

// Command makes a process of the tool. It ends with ctx, and with the test's process.
func (x *Tool) Command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, x.Path, args...)
	c.Env, c.SysProcAttr, c.WaitDelay = append(os.Environ(), x.Env...), DieWithParent(), 5*time.Second
	return c
}

// Works reports whether the tool runs with these arguments.
func (x *Tool) Works(args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if out, err := x.Command(ctx, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s %s: %w: %s", ErrMissing, x.Path, strings.Join(args, " "), err, out)
	}
	return nil
}

// A Search finds a tool once for all tests of a binary.
type Search struct {
	With, Cure string // the tests that need it: with Node; and what to install
	Find       func() (*Tool, error)
	Must       bool // with CI=true, that it is missing is a failure

	once  sync.Once
	found *Tool
	err   error
}

// Get returns the tool, or skips the test.
func (s *Search) Get(t testing.TB) *Tool {
	t.Helper()
	if s.once.Do(func() { s.found, s.err = s.Find() }); s.err != nil {
		if s.Must && os.Getenv("CI") == "true" {
			t.Fatalf("tests %s: %v; %s", s.With, s.err, s.Cure)
		}
		Lacking(t, s.With, s.err, s.Cure)
	}
	return s.found
}

// NPM returns a folder of packages of npm, those of a package.json and its lock, under a name that has their versions.
func NPM(name string, packageJSON, packageLock []byte) (string, error) {
	return Cached(name, func(part string) (string, error) {
		for name, text := range map[string][]byte{"package.json": packageJSON, "package-lock.json": packageLock} {
			if err := os.WriteFile(filepath.Join(part, name), text, 0o644); err != nil {
				return "", err
			}
		}
		_, err := Fetch(Quick, part, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		return filepath.Join(part, "node_modules"), err
	})
}

// Debian unpacks a package of this Debian release, and those that it needs and the machine has not, beside the system: that takes no root.
func Debian(name string) (*Tool, string, error) {
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrMissing, err)
	}
	root, err := Cached(fmt.Sprintf("debian-%s-%08x", name, crc32.ChecksumIEEE(release)), func(part string) (string, error) {
		lists, cache := filepath.Join(part, "lists"), filepath.Join(part, "cache")
		for _, dir := range []string{lists, cache} {
			if err := os.MkdirAll(filepath.Join(dir, "partial"), 0o755); err != nil {
				return "", err
			}
		}
		own := []string{"-q", "-o", "Dir::State::lists=" + lists, "-o", "Dir::Cache=" + cache}
		if _, err := Fetch(Quick, part, "apt-get", append(own, "update")...); err != nil {
			return "", err
		}
		plan, err := Fetch(Quick, part, "apt-get", append(own, "-s", "--no-install-recommends", "install", name)...)
		if err != nil {
			return "", err
		}
		names := []string{"download"}
		for line := range strings.Lines(plan) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "Inst" {
				names = append(names, f[1])
			}
		}
		if _, err := Fetch(Quick, part, "apt-get", append(own, names...)...); err != nil {
			return "", err
		}
		packages, err := filepath.Glob(filepath.Join(part, "*.deb"))
		if err != nil || len(packages) == 0 {
			return "", fmt.Errorf("%w: apt-get fetches no %s, %w", ErrMissing, name, err)
		}
		whole := filepath.Join(part, "whole")
		for _, p := range packages {
			if _, err := Fetch(Quick, part, "dpkg", "-x", p, whole); err != nil {
				return "", err
			}
		}
		return whole, nil
	})
	if err != nil {
		return nil, "", err
	}
	var libraries []string
	for _, where := range []string{"usr/lib/*-linux-gnu*", "lib/*-linux-gnu*", "usr/lib/*-linux-gnu*/*"} { // Some keep theirs in a folder below.
		found, err := filepath.Glob(filepath.Join(root, where, "*.so*"))
		if err != nil {
			return nil, "", err
		}
		for _, file := range found {
			if dir := filepath.Dir(file); !slices.Contains(libraries, dir) {
				libraries = append(libraries, dir)
			}
		}
	}
	return &Tool{Env: []string{"LD_LIBRARY_PATH=" + strings.Join(libraries, ":")}}, root, nil
}

// What a fetch may take: all the jars of a server, or a package.
const (
	Slow  = 10 * time.Minute
	Quick = 2 * time.Minute
)

// Fetch runs a program that is to fetch something into a folder, and returns what it says.
func Fetch(within time.Duration, dir, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	c := exec.CommandContext(ctx, program, args...)
	c.Dir, c.SysProcAttr, c.WaitDelay = dir, DieWithParent(), 5*time.Second
	out, err := c.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return "", fmt.Errorf("%w: %s: %w: %s", ErrMissing, program, err, exit.Stderr)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrMissing, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// ErrMissing says that this machine has not what is needed; any other error is a fault.
var ErrMissing = errors.New("it is not to be had")

// Lacking skips a test for want of something, and notes it where make test collects what it says in its last line.
func Lacking(t testing.TB, with string, err error, cure string) {
	t.Helper()
	if !errors.Is(err, ErrMissing) {
		t.Fatalf("tests %s: %v; %s", with, err, cure)
	}
	why := fmt.Sprintf("the tests %s: %s; %s", with, strings.Join(strings.Fields(err.Error()), " "), cure)
	if file := os.Getenv("TOOLTEST_NOTES"); file != "" {
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := fmt.Fprintln(f, why); err != nil {
			t.Fatal(err)
		}
	}
	t.Skipf("NOT RUN: %s is among %s", t.Name(), why)
}

// Chromium returns the browser of the machine, or Debian's.
func Chromium() (*Tool, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return &Tool{Path: path}, nil
		}
	}
	x, root, err := Debian("chromium")
	if err != nil {
		return nil, err
	}
	x.Path = filepath.Join(root, "usr/lib/chromium/chromium")
	return x, x.Works("--version")
}
