package kafkatest

import (
	_ "embed"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/onward-router/onward/config/tooltest"
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

var (
	withKcat   = &tooltest.Search{With: "with kcat", Cure: "install kcat", Find: findKcat}
	withPython = &tooltest.Search{With: "with Python", Cure: "install python3 and pip, or python3-confluent-kafka", Find: findPython}
	withNode   = &tooltest.Search{With: "with Node", Cure: "install node 20 or later and npm", Find: findNode}
)

// Kcat returns kcat.
func Kcat(t testing.TB) *tooltest.Tool { t.Helper(); return withKcat.Get(t) }

// Python returns a Python that has confluent_kafka.
func Python(t testing.TB) *tooltest.Tool { t.Helper(); return withPython.Get(t) }

// Node returns a Node that has the package cloudevents of npm, for require.
func Node(t testing.TB) *tooltest.Tool { t.Helper(); return withNode.Get(t) }

func findKcat() (*tooltest.Tool, error) {
	if path, err := exec.LookPath("kcat"); err == nil {
		return &tooltest.Tool{Path: path}, nil
	}
	x, root, err := tooltest.Debian("kcat")
	if err != nil {
		return nil, err
	}
	x.Path = filepath.Join(root, "usr/bin/kcat")
	return x, x.Works("-V")
}

// findPython takes one that has the library, gives it to one that has pip, or takes Debian's.
func findPython() (*tooltest.Tool, error) {
	const has = "import confluent_kafka"
	pythons := []*tooltest.Tool{{Path: "python3"}, {Path: "/usr/bin/python3"}}
	for _, x := range pythons {
		if x.Works("-c", has) == nil {
			return x, nil
		}
	}
	dir, noPip := pip(pythons[0])
	if noPip == nil {
		x := &tooltest.Tool{Path: pythons[0].Path, Env: []string{"PYTHONPATH=" + dir}}
		return x, x.Works("-c", has)
	}
	x, root, err := tooltest.Debian("python3-confluent-kafka")
	if err != nil {
		return nil, fmt.Errorf("%w; %w", noPip, err)
	}
	x.Path = "/usr/bin/python3"
	x.Env = append(x.Env, "PYTHONPATH="+filepath.Join(root, "usr/lib/python3/dist-packages"))
	return x, x.Works("-c", has)
}

// pip returns a folder with the library for this Python.
func pip(x *tooltest.Tool) (string, error) {
	abi, err := tooltest.Fetch(tooltest.Quick, "", x.Path, "-c", "import sysconfig; print(sysconfig.get_config_var('SOABI'))")
	if err != nil {
		return "", err
	}
	return tooltest.Cached("confluent-kafka-"+confluentKafka+"-"+abi, func(part string) (string, error) {
		_, err := tooltest.Fetch(tooltest.Quick, part, x.Path, "-m", "pip", "install", "-q", "--no-deps", "--only-binary", ":all:", "--target", "whole", "confluent-kafka=="+confluentKafka)
		return filepath.Join(part, "whole"), err
	})
}

func findNode() (*tooltest.Tool, error) {
	dir, err := tooltest.NPM("cloudevents-"+cloudEvents, packageJSON, packageLock)
	if err != nil {
		return nil, err
	}
	x := &tooltest.Tool{Path: "node", Env: []string{"NODE_PATH=" + dir}}
	return x, x.Works("-e", "require('cloudevents')")
}
