package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/onward-router/onward/config/plugin"
)

// BrokersVariable names the cluster where a document does not: host:port, with commas between several.
const BrokersVariable = "KAFKA_BROKERS"

// Cluster names a cluster. Embed it: its keys stand among those of what is reached through it.
type Cluster struct {
	Brokers []string `doc:"brokers,list" help:"host:port of brokers to begin with; default: the cluster of the router's settings (kafka.brokers, kafka.tls, kafka.sasl), or the environment variable KAFKA_BROKERS"`
	TLS     *TLS     `doc:"tls" help:"encrypt; {} trusts the system's certificate authorities"`
	SASL    *SASL    `doc:"sasl" help:"who the router is to the cluster"`

	inherited bool // the brokers are the settings'
}

// TLS says how connections are encrypted, and with which certificates.
type TLS struct {
	CA                 string `doc:"ca" help:"path of the certificate authorities to trust (PEM), read for every connection; default: the system's"`
	Cert               string `doc:"cert" help:"path of the router's own certificate (PEM); it is read for every connection"`
	Key                string `doc:"key" help:"path of the key of cert (PEM)"`
	ServerName         string `doc:"serverName" help:"the name that the brokers' certificates must have; default: the host connected to"`
	InsecureSkipVerify bool   `doc:"insecureSkipVerify" help:"believe any certificate: for tests only"`
}

// SASL says who the router is.
type SASL struct {
	Mechanism string        `doc:"mechanism,required" help:"plain, scram-sha-256 or scram-sha-512"`
	Username  string        `doc:"username,required" help:"the user's name"`
	Password  plugin.Secret `doc:"password,required" help:"the user's password: {env: NAME} or {file: PATH}; it is read for every connection"`
}

// Inherit takes another's brokers where none are named, and its tls and sasl with them unless there are own ones. What embeds a Cluster inherits so, too.
func (c *Cluster) Inherit(from Cluster) {
	if len(c.Brokers) > 0 {
		return
	}
	c.Brokers, c.inherited = from.Brokers, true
	if c.TLS == nil {
		c.TLS = from.TLS
	}
	if c.SASL == nil {
		c.SASL = from.SASL
	}
}

// Check reports addresses that are none. A struct that embeds a Cluster and has a Check of its own calls it.
func (c *Cluster) Check() []plugin.Problem {
	var out []plugin.Problem
	for i, b := range c.Brokers {
		if err := checkAddress(b); err != nil {
			out = append(out, plugin.Problem{Path: []string{"brokers", strconv.Itoa(i)}, What: fmt.Sprintf("%q is not the address of a broker", b), Cure: "write host:port, e.g. 127.0.0.1:9092"})
		}
	}
	return out
}

func checkAddress(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || host == "" || strings.ContainsAny(host, "/ ") {
		return errors.New("no host and port")
	}
	return nil
}

// Check reports what does not belong together.
func (t *TLS) Check() []plugin.Problem {
	var out []plugin.Problem
	if (t.Cert == "") != (t.Key == "") {
		out = append(out, plugin.Problem{What: "a certificate and its key come together", Cure: "write both cert: and key:, or neither"})
	}
	if t.InsecureSkipVerify && (t.CA != "" || t.ServerName != "") {
		out = append(out, plugin.Problem{Path: []string{"insecureSkipVerify"}, What: "a certificate that is not checked needs no ca and no serverName", Cure: "leave insecureSkipVerify out"})
	}
	return out
}

// Check reports a mechanism that is not known.
func (s *SASL) Check() []plugin.Problem {
	if _, ok := mechanisms[s.Mechanism]; !ok {
		return []plugin.Problem{{Path: []string{"mechanism"}, What: fmt.Sprintf("unknown mechanism %q", s.Mechanism), Cure: "write plain, scram-sha-256 or scram-sha-512"}}
	}
	return nil
}

// addresses returns the brokers, from the document or from the environment.
func (c *Cluster) addresses() ([]string, error) {
	if len(c.Brokers) > 0 {
		return c.Brokers, nil
	}
	var list []string
	for part := range strings.SplitSeq(os.Getenv(BrokersVariable), ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		if checkAddress(part) != nil {
			return nil, &Error{Doing: "read " + BrokersVariable, Err: fmt.Errorf("%q is not the address of a broker", part), Cure: "write host:port, with commas between several", Final: true}
		}
		list = append(list, part)
	}
	if len(list) == 0 {
		return nil, &Error{Doing: "connect to Kafka", Err: errors.New("no brokers are named"), Cure: `write brokers: ["host:port"], or set the router's kafka.brokers, or ` + BrokersVariable, Final: true}
	}
	return list, nil
}

// config reads the certificates. That is done for every connection, so that renewed ones are used without a restart.
func (t *TLS) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, &Error{Doing: "read tls.ca", Err: err}
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &Error{Doing: "read tls.ca", Err: fmt.Errorf("%s holds no certificate", t.CA), Cure: "name a file in PEM form"}
		}
	}
	if t.Cert == "" {
		return c, nil
	}
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, &Error{Doing: "read tls.cert and tls.key", Err: err}
	}
	if pair.Leaf != nil && time.Now().After(pair.Leaf.NotAfter) {
		return nil, &Error{Doing: "read tls.cert", Err: fmt.Errorf("the certificate in %s expired on %s; renew it", t.Cert, pair.Leaf.NotAfter.UTC().Format(time.RFC3339)), Final: true}
	}
	// Whichever authorities the brokers name: their own word on it is clearer than a certificate that is held back.
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return c, nil
}
