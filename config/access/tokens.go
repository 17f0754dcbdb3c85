package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/lang/yamldoc"
	"github.com/onward-router/onward/config/plugin"
)

// A Token is one line of the file of tokens.
type Token struct {
	Right  Right  `doc:"right,required" help:"what it is good for: read, operate (read, start, steer and mend runs) or admin (all)"`
	Tenant string `doc:"tenant" help:"whose runs, triggers, events and dead letters it is for; default: the whole router's"`
	SHA256 string `doc:"sha256" help:"the SHA-256 of the token, in hex, so that the file holds no secret: onward token new writes it"`
	Env    string `doc:"env" help:"environment variable that holds the token, instead of its hash"`
	File   string `doc:"file" help:"file that holds the token, instead of its hash"`
}

// noToken is the hash of an empty text, which is no token.
var noToken = sha256.Sum256(nil)

// Check reports a token of which it is not said, or said twice, what it is.
func (t *Token) Check() []plugin.Problem {
	said := 0
	for _, x := range []string{t.SHA256, t.Env, t.File} {
		if x != "" {
			said++
		}
	}
	if said != 1 {
		return []plugin.Problem{{What: "a token is known by one of sha256, env and file", Cure: "write one of them: onward token new prints the line"}}
	}
	if t.SHA256 == "" {
		return nil
	}
	b, err := hex.DecodeString(t.SHA256)
	if err != nil || len(b) != sha256.Size {
		return []plugin.Problem{{Path: []string{"sha256"}, What: "this is no SHA-256 in hex", Cure: "write the 64 digits that onward token new prints, or sha256sum of the token without a line's end"}}
	}
	if [sha256.Size]byte(b) == noToken {
		return []plugin.Problem{{Path: []string{"sha256"}, What: "this is the hash of an empty text, and no token", Cure: "make a token: onward token new"}}
	}
	return nil
}

// file is the form of a file of tokens.
type file struct {
	Tokens map[string]*Token `doc:"tokens,required" help:"names with tokens"`
}

// held is a token at work.
type held struct {
	who    Who
	known  bool
	hash   [sha256.Size]byte
	secret plugin.Secret // zero for one whose hash is in the file
}

// Tokens are the tokens of a file. Their methods may be called concurrently.
type Tokens struct {
	path string
	now  func() time.Time // nil is the machine's

	mu   sync.Mutex
	all  []held
	read time.Time // when secrets beside the file were read last
}

// fresh is how long a secret beside the file is not read again.
const fresh = time.Second

// Open reads a file of tokens. The error names everything that is wrong with it.
func Open(path string) (*Tokens, error) {
	t := &Tokens{path: path, now: time.Now}
	if err := t.Reload(); err != nil {
		return nil, err
	}
	return t, nil
}

// Reload reads the file again. With an error, what was in force stays.
func (t *Tokens) Reload() error {
	text, err := os.ReadFile(t.path)
	if err != nil {
		return fmt.Errorf("the tokens: %w; write the file, or name another by auth.tokens", err)
	}
	nodes, findings := yamldoc.Parse(t.path, text)
	var f file
	switch {
	case len(findings) > 0:
	case len(nodes) != 1 || nodes[0].Kind != lang.MapNode:
		findings = append(findings, lang.Finding{Pos: lang.Pos{File: t.path, Line: 1, Col: 1}, What: "a file of tokens is one mapping", Cure: "write tokens: { NAME: { right: read, sha256: ... } }"})
	default:
		findings = lang.Decode(nodes[0], &f, nil)
	}
	if len(findings) == 0 && len(f.Tokens) == 0 {
		findings = append(findings, lang.Finding{Pos: nodes[0].Pos, Path: "tokens", What: "there is no token", Cure: "add one: onward token new prints the line"})
	}
	var errs []error
	for _, x := range findings {
		errs = append(errs, errors.New(x.String()))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	all, err := hold(f.Tokens)
	if err != nil {
		return fmt.Errorf("%s: %w", t.path, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all, t.read = all, t.now()
	return nil
}

// hold makes tokens ready. All secrets must be there, and no two tokens the same: which is who would be left to chance.
func hold(tokens map[string]*Token) (all []held, err error) {
	var errs []error
	whose := make(map[[sha256.Size]byte]string)
	for _, name := range slices.Sorted(maps.Keys(tokens)) {
		x := tokens[name]
		h := held{who: Who{Name: name, Right: x.Right, Tenant: x.Tenant}, secret: plugin.Secret{Env: x.Env, File: x.File}, known: true}
		if h.secret.IsZero() {
			_, _ = hex.Decode(h.hash[:], []byte(x.SHA256)) // It was checked.
		} else if err := h.look(); err != nil {
			errs = append(errs, fmt.Errorf("token %q: %w; set it, or take the token out", name, err))
			continue
		}
		if other, is := whose[h.hash]; is {
			errs = append(errs, fmt.Errorf("tokens %q and %q are the same; make another by onward token new", other, name))
		}
		whose[h.hash] = name
		all = append(all, h)
	}
	return all, errors.Join(errs...)
}

// look reads a secret beside the file. One that is not there is nobody's until it is.
func (h *held) look() error {
	secret, err := h.secret.Read()
	h.known, h.hash = err == nil, sha256.Sum256([]byte(secret))
	return err
}

// Of returns whose a token is. It takes as long for one that is nobody's.
func (t *Tokens) Of(token string) (who Who, known bool) {
	given := sha256.Sum256([]byte(token))
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.now(); now.Sub(t.read).Abs() >= fresh {
		for i := range t.all {
			if h := &t.all[i]; !h.secret.IsZero() {
				_ = h.look() // It is not known then.
			}
		}
		t.read = now
	}
	for i := range t.all {
		h := &t.all[i]
		if subtle.ConstantTimeCompare(given[:], h.hash[:]) == 1 && h.known {
			who, known = h.who, true
		}
	}
	return who, known
}

// Secrets are the environment variables that hold tokens.
func (t *Tokens) Secrets() (names []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range t.all {
		if h.secret.Env != "" {
			names = append(names, h.secret.Env)
		}
	}
	return names
}

// New makes a token, and the hash by which a file knows it.
func New() (token, hash string) {
	token = "onward_" + strings.ToLower(rand.Text()+rand.Text()[:6])
	sum := sha256.Sum256([]byte(token))
	return token, hex.EncodeToString(sum[:])
}
