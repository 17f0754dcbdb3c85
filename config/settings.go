package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onward-router/onward/config/egress"
	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/lang/yamldoc"
	"github.com/onward-router/onward/config/plugin"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// Settings are the process's own. Documents say what to route; settings say how the router runs.
type Settings struct {
	Listen     string
	Data       string
	Durability string
	Insecure   bool
	AuthEnv    string
	AuthFile   string
	AuthTokens string
	TLS        ListenerTLS
	Hosts      []string
	MaxConns   int
	MaxAsked   int
	LogLevel   string
	LogFormat  string
	MaxRuns    int
	MaxSteps   int
	MaxBytes   int
	History    int
	HistoryMax int64
	HistoryAge time.Duration
	HistoryVal int
	DeadMax    int64
	DeadAge    time.Duration
	Stuck      time.Duration
	Drain      time.Duration
	Watch      time.Duration // 0 is never
	Snapshot   int
	LowWater   int64
	Traces     Traces
	Egress     Egress

	// Journal is file or kafka; what follows is for kafka only, but for the cluster, which documents inherit.
	Journal   string
	Kafka     kafka.Cluster
	Prefix    string
	Session   time.Duration
	Advertise string
	tls       bool
}

// Egress says where the router's own requests may go. See package egress.
type Egress struct{ Allow, Deny []string }

// ListenerTLS are the PEM files of the listener's certificates.
type ListenerTLS struct{ Cert, Key, ClientCA, ClientAuth, CA string }

// A setting is one key with its default and its help: flags, variables, file and printout come from this table alone.
type setting struct {
	key  string
	def  any
	help string
	set  func(s *Settings, value string) error
	// foreign are variables of others' that count where neither a flag nor ours says anything; shown is what people see of a value that has secrets.
	foreign []string
	shown   func(value string) string
}

func text(f func(*Settings) *string) func(*Settings, string) error {
	return func(s *Settings, value string) error {
		*f(s) = value
		return nil
	}
}

func whole[T int | int64](f func(*Settings) *T) func(*Settings, string) error {
	return func(s *Settings, value string) error {
		n, err := strconv.ParseInt(value, 10, 64)
		if *f(s) = T(n); err != nil || n < 0 || int64(T(n)) != n {
			return fmt.Errorf("%q is not a whole number from 0; write it in digits, such as 1000000", value)
		}
		return nil
	}
}

func flag(f func(*Settings) *bool) func(*Settings, string) error {
	return func(s *Settings, value string) error {
		b, err := strconv.ParseBool(value)
		if *f(s) = b; err != nil {
			return fmt.Errorf("%q is neither true nor false; write one of them", value)
		}
		return nil
	}
}

func span(f func(*Settings) *time.Duration) func(*Settings, string) error {
	return func(s *Settings, value string) error {
		d, err := plugin.ParseDuration(value)
		if *f(s) = d.D(); err != nil {
			return err
		}
		if d == 0 {
			return fmt.Errorf("%q is not a duration above 0; write 30s, 1m or 7d", value)
		}
		return nil
	}
}

func size[T int | int64](f func(*Settings) *T) func(*Settings, string) error {
	return func(s *Settings, value string) error {
		n, err := plugin.ParseSize(value)
		if err != nil {
			return err
		}
		if *f(s) = T(n); n < 1 {
			return fmt.Errorf("%q is not a size above 0; write 64KiB, 512MiB or 2GiB", value)
		}
		return nil
	}
}

func list(f func(*Settings) *[]string) func(*Settings, string) error {
	return func(s *Settings, value string) error {
		for part := range strings.SplitSeq(value, ",") {
			if part = strings.TrimSpace(part); part != "" {
				*f(s) = append(*f(s), part)
			}
		}
		return nil
	}
}

func (s *Settings) tlsSettings() *kafka.TLS {
	if s.Kafka.TLS == nil {
		s.Kafka.TLS = new(kafka.TLS)
	}
	return s.Kafka.TLS
}

func (s *Settings) sasl() *kafka.SASL {
	if s.Kafka.SASL == nil {
		s.Kafka.SASL = new(kafka.SASL)
	}
	return s.Kafka.SASL
}

var settings = append(own, traceSettings...)

var own = []setting{
	{key: "listen", def: "127.0.0.1:8080", help: "address of the HTTP API and of webhooks", set: text(func(s *Settings) *string { return &s.Listen })},
	{key: "data", def: "onward-data", help: "folder of the journal", set: text(func(s *Settings) *string { return &s.Data })},
	{key: "durability", def: "fsync", help: "fsync (survives a power cut) or os (survives kill -9)", set: text(func(s *Settings) *string { return &s.Durability })},
	{key: "insecure", def: false, help: "let the listener leave loopback without authentication", set: flag(func(s *Settings) *bool { return &s.Insecure })},
	{key: "auth.env", def: "", help: "environment variable that holds the API's token", set: text(func(s *Settings) *string { return &s.AuthEnv })},
	{key: "auth.file", def: "", help: "file that holds the API's token", set: text(func(s *Settings) *string { return &s.AuthFile })},
	{key: "auth.tokens", def: "", help: "file of API tokens, each with a right (read, operate, admin) and perhaps a tenant: onward token new prints a line of it; read again when it changes, and at SIGHUP", set: text(func(s *Settings) *string { return &s.AuthTokens })},
	{key: "tls.cert", def: "", help: "the listener's certificate (PEM), read again when it is renewed; with it, HTTPS is spoken only", set: text(func(s *Settings) *string { return &s.TLS.Cert })},
	{key: "tls.key", def: "", help: "the key of the certificate (PEM)", set: text(func(s *Settings) *string { return &s.TLS.Key })},
	{key: "tls.client-auth", def: "required", help: "with tls.client-ca: required, or optional: who shows a certificate is known by it (mtls of a webhook), and the others prove themselves otherwise", set: text(func(s *Settings) *string { return &s.TLS.ClientAuth })},
	{key: "tls.client-ca", def: "", help: "authorities (PEM) of clients' certificates; with it, every client needs one (see tls.client-auth)", set: text(func(s *Settings) *string { return &s.TLS.ClientCA })},
	{key: "tls.ca", def: "", help: "authorities (PEM) of the other routers' certificates; default: tls.client-ca, or the system's", set: text(func(s *Settings) *string { return &s.TLS.CA })},
	{key: "egress.allow", def: "*", help: "where functions, destinations, token endpoints, issuers, callbacks and the brokers that documents name may be: names, *.example.com, addresses, nets, with commas between; * is everywhere. What is link-local, or a cloud's metadata service, has to be named by its address", set: list(func(s *Settings) *[]string { return &s.Egress.Allow })},
	{key: "egress.deny", def: "", help: "where they may not be, whatever egress.allow says: names, *.example.com, addresses, nets, with commas between", set: list(func(s *Settings) *[]string { return &s.Egress.Deny })},
	{key: "hosts", def: "", help: "names under which the listener is asked, with commas between several; without a token, others than these, its address and localhost are refused", set: list(func(s *Settings) *[]string { return &s.Hosts })},
	{key: "log.level", def: "info", help: "debug, info, warn or error", set: text(func(s *Settings) *string { return &s.LogLevel })},
	{key: "log.format", def: "text", help: "text or json", set: text(func(s *Settings) *string { return &s.LogFormat })},
	{key: "limits.steps", def: 2_000_000, help: "steps open in all runs beyond which starts are refused with 429", set: whole(func(s *Settings) *int { return &s.MaxSteps })},
	{key: "limits.bytes", def: "2GiB", help: "how much of values the open runs may keep; beyond, starts are refused with 429", set: size(func(s *Settings) *int { return &s.MaxBytes })},
	{key: "limits.runs", def: 1_000_000, help: "open runs beyond which starts are refused with 429", set: whole(func(s *Settings) *int { return &s.MaxRuns })},
	{key: "limits.connections", def: 8192, help: "open connections to the listener; the one that has been idle for longest makes room", set: whole(func(s *Settings) *int { return &s.MaxConns })},
	{key: "limits.requests", def: 4096, help: "requests at work beyond which callers get 503", set: whole(func(s *Settings) *int { return &s.MaxAsked })},
	{key: "history.runs", def: 100_000, help: "ended runs that are kept for people and for repeated requests", set: whole(func(s *Settings) *int { return &s.History })},
	{key: "history.bytes", def: "1GiB", help: "how much of ended runs, steps and events is kept on disk; beyond, the oldest go", set: size(func(s *Settings) *int64 { return &s.HistoryMax })},
	{key: "history.age", def: "30d", help: "how long ended runs, steps and events are kept", set: span(func(s *Settings) *time.Duration { return &s.HistoryAge })},
	{key: "history.value", def: "16KiB", help: "how much of an input or an output of a step is kept", set: size(func(s *Settings) *int { return &s.HistoryVal })},
	{key: "dead.bytes", def: "256MiB", help: "how much of dead letters is kept; beyond, the oldest go", set: size(func(s *Settings) *int64 { return &s.DeadMax })},
	{key: "dead.age", def: "30d", help: "how long dead letters are kept", set: span(func(s *Settings) *time.Duration { return &s.DeadAge })},
	{key: "watchdog", def: "1m", help: "how long the fold of one record may take before the router gives up", set: span(func(s *Settings) *time.Duration { return &s.Stuck })},
	{key: "drain", def: "10s", help: "how long invocations under way may take to end when the router is to stop", set: span(func(s *Settings) *time.Duration { return &s.Drain })},
	{key: "watch", def: "2s", help: "how often it is looked whether the documents or the tokens have changed; 0s reads them again at SIGHUP only", set: func(s *Settings, value string) error {
		d, err := plugin.ParseDuration(value)
		s.Watch = d.D()
		return err
	}},
	{key: "snapshot.records", def: 200_000, help: "records of a partition between snapshots", set: whole(func(s *Settings) *int { return &s.Snapshot })},
	{key: "journal", def: "file", help: "file (one machine's disk) or kafka (several routers on a cluster)", set: text(func(s *Settings) *string { return &s.Journal })},
	{key: "advertise", def: "", help: "host:port at which the other routers reach this one's API; default: listen", set: text(func(s *Settings) *string { return &s.Advertise })},
	{key: "kafka.brokers", def: "", help: "host:port of brokers, with commas between several, for the journal and for documents that name none; default: KAFKA_BROKERS", set: list(func(s *Settings) *[]string { return &s.Kafka.Brokers })},
	{key: "kafka.prefix", def: "onward", help: "begin of the names of the journal's topics, and the name of the group", set: text(func(s *Settings) *string { return &s.Prefix })},
	{key: "kafka.session", def: "10s", help: "how long a router may be silent before its partitions are given to others", set: span(func(s *Settings) *time.Duration { return &s.Session })},
	{key: "kafka.tls.enabled", def: false, help: "encrypt; the settings beside it imply it", set: flag(func(s *Settings) *bool { return &s.tls })},
	{key: "kafka.tls.ca", def: "", help: "certificate authorities to trust (PEM); default: the system's", set: text(func(s *Settings) *string { return &s.tlsSettings().CA })},
	{key: "kafka.tls.cert", def: "", help: "the router's own certificate (PEM)", set: text(func(s *Settings) *string { return &s.tlsSettings().Cert })},
	{key: "kafka.tls.key", def: "", help: "the key of the certificate (PEM)", set: text(func(s *Settings) *string { return &s.tlsSettings().Key })},
	{key: "kafka.tls.server-name", def: "", help: "the name that the brokers' certificates must have", set: text(func(s *Settings) *string { return &s.tlsSettings().ServerName })},
	{key: "kafka.sasl.mechanism", def: "", help: "plain, scram-sha-256 or scram-sha-512", set: text(func(s *Settings) *string { return &s.sasl().Mechanism })},
	{key: "kafka.sasl.username", def: "", help: "the router's name at the cluster", set: text(func(s *Settings) *string { return &s.sasl().Username })},
	{key: "kafka.sasl.password-env", def: "", help: "environment variable that holds the password", set: text(func(s *Settings) *string { return &s.sasl().Password.Env })},
	{key: "kafka.sasl.password-file", def: "", help: "file that holds the password", set: text(func(s *Settings) *string { return &s.sasl().Password.File })},
	{key: "disk.low-water", def: "256MiB", help: "how much has to be free on the disk; below, starts are refused with 507", set: size(func(s *Settings) *int64 { return &s.LowWater })},
}

// An Origin is a setting's effective value and where it came from.
type Origin struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	From  string `json:"from"`
	Help  string `json:"help"`
}

// BindFlags adds a flag for each setting: log.level is --log-level.
func BindFlags(f *pflag.FlagSet) {
	for _, s := range settings {
		name := flagName(s.key)
		switch def := s.def.(type) {
		case string:
			f.String(name, def, s.help)
		case bool:
			f.Bool(name, def, s.help)
		case int:
			f.Int64(name, int64(def), s.help)
		}
	}
}

func flagName(key string) string { return strings.ReplaceAll(key, ".", "-") }

func envName(key string) string {
	return "ONWARD_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

// LoadSettings reads the settings: flags that were given, then ONWARD_* variables, then the file (empty is none), then defaults. The error names every
// unknown key and every bad value.
func LoadSettings(f *pflag.FlagSet, file string) (Settings, []Origin, error) {
	v := viper.New()
	var errs []error
	var keys, envs []string
	for _, s := range settings {
		keys, envs = append(keys, s.key), append(envs, envName(s.key))
		v.SetDefault(s.key, s.def)
		errs = append(errs, v.BindEnv(append([]string{s.key, envName(s.key)}, s.foreign...)...))
		if flag := f.Lookup(flagName(s.key)); flag != nil {
			errs = append(errs, v.BindPFlag(s.key, flag))
		}
	}
	if file != "" {
		unknown, err := readFile(v, file, keys)
		if err != nil {
			return Settings{}, nil, fmt.Errorf("settings file %s: %s", file, cleanError(err))
		}
		for _, k := range unknown {
			errs = append(errs, fmt.Errorf("%s: unknown setting %q; %s", file, k, nearestSetting(k, keys)))
		}
	}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "ONWARD_") && !slices.Contains(envs, name) && !isForeign(name) {
			errs = append(errs, fmt.Errorf("unknown variable %s; %s", name, nearestSetting(name, envs)))
		}
	}
	var out Settings
	var origins []Origin
	for _, s := range settings {
		o := Origin{Key: s.key, Value: valueOf(v.Get(s.key)), From: "default", Help: s.help}
		if flag := f.Lookup(flagName(s.key)); flag != nil && flag.Changed {
			o.From = "flag --" + flag.Name
		} else if name := firstSet(append([]string{envName(s.key)}, s.foreign...)); name != "" {
			o.From = "env " + name
		} else if v.InConfig(s.key) {
			o.From = "file " + file
		}
		if err := s.set(&out, o.Value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w (from %s)", s.key, err, o.From))
		}
		if s.key == "traces.endpoint" {
			out.Traces.from = strings.TrimPrefix(o.From, "env ")
		}
		if s.shown != nil {
			o.Value = s.shown(o.Value)
		}
		origins = append(origins, o)
	}
	return out, origins, errors.Join(append(errs, out.check()...)...)
}

// firstSet is the first of these variables that is set; empty is none.
func firstSet(names []string) string {
	i := slices.IndexFunc(names, func(name string) bool { return os.Getenv(name) != "" })
	if i < 0 {
		return ""
	}
	return names[i]
}

// readFile reads a file of settings into v, and returns the keys that are none. A key of several words may be written as one (clientCA for client-ca):
// viper has made it small letters.
func readFile(v *viper.Viper, file string, keys []string) (unknown []string, err error) {
	if err := readable(file); err != nil {
		return nil, err
	}
	read := viper.New()
	read.SetConfigFile(file)
	if err := read.ReadInConfig(); err != nil {
		return nil, err
	}
	v.SetConfigFile(file)
	for _, k := range read.AllKeys() {
		i := slices.IndexFunc(keys, func(key string) bool { return key == k || strings.ReplaceAll(key, "-", "") == k })
		if i < 0 {
			unknown = append(unknown, k)
			continue
		}
		words := strings.Split(keys[i], ".")
		var said any = read.Get(k)
		for j := len(words) - 1; j >= 0; j-- {
			said = map[string]any{words[j]: said}
		}
		if err := v.MergeConfigMap(said.(map[string]any)); err != nil {
			return nil, err
		}
	}
	return unknown, nil
}

// valueOf is a setting as flags and variables write it; a file may have a list.
func valueOf(v any) string {
	items, ok := v.([]any)
	if !ok {
		return fmt.Sprint(v)
	}
	words := make([]string, len(items))
	for i := range items {
		words[i] = fmt.Sprint(items[i])
	}
	return strings.Join(words, ",")
}

// isForeign tells the variables that are no settings: the clients', and those that Kubernetes sets for a service that is named onward.
func isForeign(name string) bool {
	rest := strings.TrimPrefix(name, "ONWARD_")
	return slices.Contains([]string{"TOKEN", "ADDR", "CA", "CERT", "KEY"}, rest) || rest == "PORT" || strings.HasPrefix(rest, "PORT_") || strings.HasPrefix(rest, "SERVICE_")
}

// readable finds what is no file of settings, with the place and a cure: what YAML has no place for, keys that come twice, and documents.
func readable(file string) error {
	text, err := os.ReadFile(file)
	if ext := filepath.Ext(file); err != nil || ext != ".yaml" && ext != ".yml" {
		return nil // Whoever reads it says so.
	}
	nodes, findings := yamldoc.Parse(file, text)
	for _, f := range findings {
		return fmt.Errorf("line %d: %s", f.Pos.Line, strings.TrimSuffix(f.What+"; "+f.Cure, "; "))
	}
	for _, n := range nodes {
		switch {
		case n.Kind != lang.MapNode:
			return errors.New("these are no settings; write names with values, such as log: { level: debug }")
		case n.Get("version") != nil && (n.Get("functions") != nil || n.Get("triggers") != nil || n.Get("sources") != nil):
			return errors.New("these are documents, and no settings; name the file without --settings")
		}
	}
	return nil
}

// nearestSetting says which of the known names is meant, or where they are listed.
func nearestSetting(name string, known []string) string {
	var parts []string
	for _, k := range known {
		if strings.HasPrefix(k, name+".") {
			parts = append(parts, k)
		}
	}
	if len(parts) > 0 {
		return "it has parts: " + strings.Join(parts, ", ")
	}
	if cure := lang.Nearest(name, known); strings.HasPrefix(cure, "did you mean") {
		return cure
	}
	if name, _, _ := strings.Cut(name, "."); slices.Contains(topKeys, name) {
		return "it belongs to documents"
	}
	return "onward settings lists all that there are"
}

// isSettings reports whether a YAML file holds settings, and no document: people keep the two in one folder.
func isSettings(n *lang.Node) bool {
	if n.Kind != lang.MapNode || len(n.Keys) == 0 {
		return false
	}
	for _, key := range n.Keys {
		if !slices.ContainsFunc(settings, func(s setting) bool {
			return strings.EqualFold(s.key, key.Name) || strings.HasPrefix(s.key, strings.ToLower(key.Name)+".")
		}) {
			return false
		}
	}
	return true
}

func (s *Settings) check() []error {
	var errs []error
	oneOf := func(key, value string, words ...string) {
		if !slices.Contains(words, value) {
			errs = append(errs, fmt.Errorf("%s %q; %s", key, value, lang.Nearest(value, words)))
		}
	}
	oneOf("durability", s.Durability, "fsync", "os")
	oneOf("log.level", s.LogLevel, "debug", "info", "warn", "error")
	oneOf("log.format", s.LogFormat, "text", "json")
	oneOf("tls.client-auth", s.TLS.ClientAuth, "required", "optional")
	oneOf("journal", s.Journal, "file", "kafka")
	if *s.tlsSettings() == (kafka.TLS{}) && !s.tls {
		s.Kafka.TLS = nil
	}
	if sasl := s.sasl(); *sasl == (kafka.SASL{}) {
		s.Kafka.SASL = nil
	} else if sasl.Username == "" || sasl.Password.IsZero() {
		errs = append(errs, errors.New("kafka.sasl.* need mechanism, username, and password-env or password-file"))
	}
	for _, c := range []struct {
		key string
		of  plugin.Checker
		set bool
	}{{"kafka", &s.Kafka, true}, {"kafka.tls", s.Kafka.TLS, s.Kafka.TLS != nil}, {"kafka.sasl", s.Kafka.SASL, s.Kafka.SASL != nil}} {
		if !c.set {
			continue
		}
		for _, p := range c.of.Check() {
			errs = append(errs, fmt.Errorf("%s: %s; %s", strings.Join(append([]string{c.key}, p.Path...), "."), p.What, p.Cure))
		}
	}
	switch t := s.TLS; {
	case (t.Cert == "") != (t.Key == ""):
		errs = append(errs, errors.New("tls.cert and tls.key go together; set both, or neither"))
	case t.Cert == "" && t.ClientCA+t.CA != "":
		errs = append(errs, errors.New("tls.client-ca and tls.ca need tls.cert and tls.key; set those too"))
	}
	if _, err := egress.New(s.Egress.Allow, s.Egress.Deny); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, s.Traces.check()...)
	if s.AuthEnv != "" && s.AuthFile != "" {
		errs = append(errs, errors.New("auth.env and auth.file are both set; keep one"))
	}
	return errs
}

// Secrets are the environment variables that hold secrets of the settings.
func (s *Settings) Secrets() []string {
	var out []string
	if s.AuthEnv != "" {
		out = append(out, s.AuthEnv)
	}
	if s.Kafka.SASL != nil && s.Kafka.SASL.Password.Env != "" {
		out = append(out, s.Kafka.SASL.Password.Env)
	}
	return append(out, s.Traces.secrets()...)
}

// Token is the API's token.
func (s *Settings) Token() plugin.Secret { return plugin.Secret{Env: s.AuthEnv, File: s.AuthFile} }
