package router

import (
	"runtime"
	"runtime/debug"
	"strings"
)

// What a build may stamp by -ldflags "-X github.com/onward-router/onward/router.commit=...", where Go does not see the repository; built is a time of RFC 3339.
var version, commit, modified, built string

// A BuildInfo says what a binary was made of.
type BuildInfo struct {
	Version  string `json:"version"`            // the release, or devel
	Commit   string `json:"commit,omitempty"`   // empty: the build did not say
	Modified bool   `json:"modified,omitempty"` // there were changes beside the commit
	Built    string `json:"built,omitempty"`    // when; or when the commit was made
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Build says what this binary was made of: what was stamped, else what Go has recorded.
func Build() BuildInfo {
	x := BuildInfo{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		if v := strings.Trim(info.Main.Version, "()"); v != "" {
			x.Version = v
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				x.Commit = s.Value
			case "vcs.time":
				x.Built = s.Value
			case "vcs.modified":
				x.Modified = s.Value == "true"
			}
		}
	}
	if version != "" {
		x.Version = version
	}
	if commit != "" {
		x.Commit, x.Modified = commit, modified == "true"
	}
	if built != "" {
		x.Built = built
	}
	return x
}

// String is a line for people.
func (x BuildInfo) String() string {
	said := x.Version
	if x.Commit != "" {
		said += ", commit " + x.Commit[:min(len(x.Commit), 12)]
		if x.Modified {
			said += " with changes"
		}
	}
	if x.Built != "" {
		said += ", of " + x.Built
	}
	return said + ", " + x.Go + ", " + x.Platform
}
