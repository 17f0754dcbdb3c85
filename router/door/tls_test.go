package door

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	a := new(authority)
	a.key, a.cert, a.pem = certificate(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "an authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil)
	return a
}

var serial = big.NewInt(time.Now().UnixNano())

func certificate(t *testing.T, template *x509.Certificate, by *authority) (*ecdsa.PrivateKey, *x509.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = new(big.Int).Add(serial, big.NewInt(time.Now().UnixNano()))
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// issue writes a certificate of that name and its key into a folder, under the names cert.pem and key.pem.
func (a *authority) issue(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	k, _, text := certificate(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a)
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, dir, "cert.pem", text), write(t, dir, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

func write(t *testing.T, dir, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (a *authority) client(certs ...tls.Certificate) *http.Client {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs}}}
}

// subject asks the door and returns the name in the certificate that it shows.
func subject(t *testing.T, c *http.Client, d *Door) (string, error) {
	t.Helper()
	resp, err := c.Get("https://" + d.Addr() + "/")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.Proto != "HTTP/1.1" {
		t.Error(resp.Proto)
	}
	return resp.TLS.PeerCertificates[0].Subject.CommonName, nil
}

// TestRenewedCertificates: they count without a restart; garbage in between leaves the former in force.
func TestRenewedCertificates(t *testing.T) {
	t.Parallel()
	ca, dir := newAuthority(t), t.TempDir()
	files := new(TLS)
	files.Cert, files.Key = ca.issue(t, dir, "first")
	d := open(t, Options{TLS: files}, echo)
	if name, err := subject(t, ca.client(), d); name != "first" {
		t.Fatal(name, err)
	}
	again := files.watch.Look // As it would be a second later.
	write(t, dir, "cert.pem", []byte("half a certific"))
	again()
	if name, err := subject(t, ca.client(), d); name != "first" {
		t.Error(name, err)
	}
	ca.issue(t, dir, "second")
	again()
	if name, err := subject(t, ca.client(), d); name != "second" {
		t.Error(name, err)
	}
	if err := os.Remove(files.Key); err != nil {
		t.Fatal(err)
	}
	again()
	if name, err := subject(t, ca.client(), d); name != "second" {
		t.Error(name, err)
	}
}

// TestAnAuthorityThatIsTakenBack: whoever came by it comes in no more with the next connection, also when he goes on with a session that he had; neither does one of
// another authority, one whose time is over, or one that is no client's. One whose authority is vouched for by ours is let in.
func TestAnAuthorityThatIsTakenBack(t *testing.T) {
	t.Parallel()
	ca, other, dir := newAuthority(t), newAuthority(t), t.TempDir()
	files := &TLS{ClientCA: write(t, dir, "ca.pem", ca.pem)}
	files.Cert, files.Key = ca.issue(t, dir, "router")
	d := open(t, Options{TLS: files}, echo)
	between := new(authority)
	between.key, between.cert, between.pem = certificate(t, &x509.Certificate{Subject: pkix.Name{CommonName: "between"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, ca)
	pair := func(by *authority, usage x509.ExtKeyUsage, chain ...*authority) tls.Certificate {
		key, cert, _ := certificate(t, &x509.Certificate{Subject: pkix.Name{CommonName: "client"}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage}}, by)
		out := tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
		for _, x := range chain {
			out.Certificate = append(out.Certificate, x.cert.Raw)
		}
		return out
	}
	client := x509.ExtKeyUsageClientAuth
	for name, c := range map[string]struct {
		cert tls.Certificate
		ok   bool
	}{
		"ours": {pair(ca, client), true}, "another's": {pair(other, client), false}, "a server's": {pair(ca, x509.ExtKeyUsageServerAuth), false},
		"vouched for": {pair(between, client, between), true}, "without what vouches": {pair(between, client), false},
	} {
		if _, err := subject(t, ca.client(c.cert), d); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	had := ca.client(pair(ca, client))
	had.Transport.(*http.Transport).TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(10)
	for range 2 {
		if _, err := subject(t, had, d); err != nil {
			t.Fatal(err)
		}
	}
	write(t, dir, "ca.pem", other.pem)
	files.watch.Look()
	if _, err := subject(t, had, d); err == nil {
		t.Error("a session outlives the authority that it was begun by")
	}
	if _, err := subject(t, ca.client(pair(other, client)), d); err != nil {
		t.Error(err)
	}
}

func TestOldVersionsAndPlainHTTPAreRefused(t *testing.T) {
	t.Parallel()
	ca, dir := newAuthority(t), t.TempDir()
	files := new(TLS)
	files.Cert, files.Key = ca.issue(t, dir, "router")
	d := open(t, Options{TLS: files, Limits: Limits{Head: 500 * time.Millisecond}}, echo)
	for v, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		c := ca.client()
		c.Transport.(*http.Transport).TLSClientConfig.MinVersion, c.Transport.(*http.Transport).TLSClientConfig.MaxVersion = v, v
		if _, err := subject(t, c, d); (err == nil) != want {
			t.Errorf("%s: %v", tls.VersionName(v), err)
		}
	}
	if got := d.exchange(t, "GET /v1/runs HTTP/1.1\r\nHost: localhost\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.0 400") {
		t.Errorf("plain HTTP: %q", got)
	}
	if got := d.exchange(t, ""); got != "" {
		t.Errorf("a handshake that never begins: %q", got) // It is hung up on: exchange returned.
	}
}

// TestClientsHaveToHaveACertificate of the authority that was named.
func TestClientsHaveToHaveACertificate(t *testing.T) {
	t.Parallel()
	ca, other, dir := newAuthority(t), newAuthority(t), t.TempDir()
	files := &TLS{ClientCA: write(t, dir, "clients.pem", ca.pem)}
	files.Cert, files.Key = ca.issue(t, dir, "router")
	d := open(t, Options{TLS: files}, echo)
	pair := func(a *authority) tls.Certificate {
		sub := t.TempDir()
		cert, key := a.issue(t, sub, "client")
		p, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if _, err := subject(t, ca.client(pair(ca)), d); err != nil {
		t.Error(err)
	}
	if _, err := subject(t, ca.client(), d); err == nil {
		t.Error("a client without a certificate was let in")
	}
	if _, err := subject(t, ca.client(pair(other)), d); err == nil {
		t.Error("a client of another authority was let in")
	}
	ours, err := files.Client(d.o.Log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := subject(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: ours}}, d); err != nil {
		t.Error("another router with the same files:", err)
	}
}

func TestFilesThatAreNoCertificates(t *testing.T) {
	t.Parallel()
	ca, dir := newAuthority(t), t.TempDir()
	cert, key := ca.issue(t, dir, "router")
	_, otherKey := ca.issue(t, t.TempDir(), "other")
	for _, c := range []struct {
		files *TLS
		want  string
	}{
		{&TLS{Cert: cert}, "tls.cert and tls.key go together"},
		{&TLS{Cert: cert, Key: otherKey}, "private key does not match"},
		{&TLS{Cert: filepath.Join(dir, "none"), Key: key}, "no such file"},
		{&TLS{Cert: cert, Key: key, ClientCA: key}, "tls.client-ca: " + key + " holds no certificate; name a PEM file"},
		{&TLS{Cert: cert, Key: key, CA: filepath.Join(dir, "none")}, "tls.ca: "},
	} {
		if _, err := Open(Options{Listen: "127.0.0.1:0", TLS: c.files}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v; want %q", err, c.want)
		}
	}
	if leaf, err := (&TLS{Cert: cert, Key: key}).Leaf(); err != nil || leaf.Subject.CommonName != "router" {
		t.Error(leaf, err)
	}
}
