package plugin

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// Duration is a span of time as documents write it ("200ms", "30s", "24h"). Its text form is Go's.
type Duration time.Duration

// UnmarshalText reads what ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDuration(string(text))
	return err
}

// MarshalText writes Go's form of a duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// D returns d as a time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

// A Secret is named in a document and read when it is used: it never stands in a definition, a journal or a log.
type Secret struct {
	Env  string `doc:"env" help:"name of the environment variable that holds the secret"`
	File string `doc:"file" help:"path of the file that holds the secret; surrounding white space is cut"`
}

// IsZero reports whether no secret is named.
func (s Secret) IsZero() bool { return s.Env == "" && s.File == "" }

// String names where the secret lies, never the secret.
func (s Secret) String() string {
	if s.Env != "" {
		return "env " + s.Env
	}
	return "file " + s.File
}

// Check reports a secret that names both places or neither.
func (s Secret) Check() []Problem {
	if (s.Env == "") == (s.File == "") {
		return []Problem{{What: "a secret names either env or file", Cure: "write {env: NAME} or {file: PATH}"}}
	}
	return nil
}

// Read returns the secret's present value; an empty or missing one is an error that names the place, not the value.
func (s Secret) Read() (string, error) {
	if s.Env != "" {
		v := os.Getenv(s.Env)
		if v == "" {
			return "", fmt.Errorf("environment variable %q is empty or not set", s.Env)
		}
		return v, nil
	}
	if s.File == "" {
		return "", errors.New("no secret is named; write {env: NAME} or {file: PATH}")
	}
	b, err := os.ReadFile(s.File)
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	v := strings.TrimSpace(string(b))
	if v == "" {
		return "", fmt.Errorf("secret file %q is empty", s.File)
	}
	return v, nil
}

// A Problem is what a settings struct's own Check found; the caller adds file and position.
type Problem struct {
	Path []string // keys and indexes below the checked value; empty for the value itself
	What string
	Cure string // what to write instead; may be empty
}

// A Checker is a settings value with rules across its fields. Decode calls Check once the fields decoded without a finding. Of a definition that was
// journaled what it reports counts for nothing, since runs go by it that began under the rules of their day: what Check derives it derives all the same.
type Checker interface{ Check() []Problem }
