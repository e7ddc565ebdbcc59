package redshift

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/prometheus/client_golang/prometheus"

	"hydrant/shared/service"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, file: filepath.Join(t.TempDir(), "ca.pem")}
	der, key := a.make(&x509.Certificate{Subject: pkix.Name{CommonName: "an authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.key = key
	var err error
	a.cert, err = x509.ParseCertificate(der)
	check(t, err)
	check(t, os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return a
}

// make makes a certificate that the authority signs, or, while it has none, its own.
func (a *authority) make(template *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(a.t, err)
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	check(a.t, err)
	return der, key
}

// server is a certificate for a host.
func (a *authority) server(host string) *tls.Certificate {
	a.t.Helper()
	template := &x509.Certificate{DNSNames: []string{host}}
	if ip := net.ParseIP(host); ip != nil {
		template.DNSNames, template.IPAddresses = nil, []net.IP{ip}
	}
	der, key := a.make(template)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestEncryption has servers with a certificate, with another's, and without, and what JDBC URLs ask for. Who is refused has not been
// told the user's name, and far less a password.
func TestEncryption(t *testing.T) {
	t.Parallel()
	wh := newWarehouse(t)
	mine, others := newAuthority(t), newAuthority(t)
	here, elsewhere := mine.server("127.0.0.1"), mine.server("elsewhere.example.com")
	gone := filepath.Join(t.TempDir(), "gone.pem")
	for _, c := range []struct {
		name    string
		mode    string
		trusted string
		server  *tls.Certificate
		refused bool
	}{
		{name: "encrypted, whoever it is", mode: "require", server: here},
		{name: "encrypted, what is meant if nothing is said", mode: "", server: here},
		{name: "encrypted, by who is trusted", mode: "require", trusted: mine.file, server: here},
		{name: "encrypted, by who is not trusted", mode: "require", trusted: others.file, server: here, refused: true},
		{name: "encrypted, and the authorities are gone", mode: "require", trusted: gone, server: here, refused: true},
		{name: "trusted", mode: "verify-ca", trusted: mine.file, server: here},
		{name: "trusted, by another name", mode: "verify-ca", trusted: mine.file, server: elsewhere},
		{name: "not trusted", mode: "verify-ca", trusted: others.file, server: here, refused: true},
		{name: "trusted, and the authorities are gone", mode: "verify-ca", trusted: gone, server: here, refused: true},
		{name: "by name", mode: "verify-full", trusted: mine.file, server: here},
		{name: "by name, by another name", mode: "verify-full", trusted: mine.file, server: elsewhere, refused: true},
		{name: "by name, not trusted", mode: "verify-full", trusted: others.file, server: here, refused: true},
		{name: "by name, not known to the system", mode: "verify-full", server: here, refused: true},
		{name: "no encryption there", mode: "require", refused: true},
		{name: "no encryption there, with authorities", mode: "require", trusted: mine.file, refused: true},
		{name: "no encryption there, for a trusted one", mode: "verify-ca", trusted: mine.file, refused: true},
		{name: "no encryption there, by name", mode: "verify-full", trusted: mine.file, refused: true},
		{name: "none asked for", mode: "disable", trusted: mine.file, server: here},
	} {
		t.Run(c.name, func(t *testing.T) {
			wh.front.Encrypt(c.server)
			wh.cfg.RedshiftCA = c.trusted
			before := wh.front.Started()
			l := wh.loader()
			defer l.close()
			result, f := l.load(t.Context(), wh.stream(sslMode(c.mode)), wh.objects(strings.ReplaceAll(c.name, " ", "-")), always)
			if !c.refused {
				wantLoaded(t, result, f, "")
				return
			}
			wantFailure(t, f, codeConnection, ofAll)
			wantEqual(t, "who said his name", wh.front.Started(), before)
		})
	}
}

func sslMode(mode string) func(*types.RedshiftDestinationDescription) {
	return func(to *types.RedshiftDestinationDescription) {
		address, _, _ := strings.Cut(*to.ClusterJDBCURL, "?")
		if mode != "" {
			address += "?sslmode=" + mode
		}
		to.ClusterJDBCURL = &address
	}
}

// TestAuthoritiesThatAreNone are found when the service starts.
func TestAuthoritiesThatAreNone(t *testing.T) {
	t.Parallel()
	none := filepath.Join(t.TempDir(), "none.pem")
	check(t, os.WriteFile(none, []byte("nothing"), 0o600))
	wh := newWarehouse(t)
	for _, file := range []string{none, none + ".absent"} {
		wh.cfg.RedshiftCA = file
		_, err := New(wh.cfg, service.Runtime{Log: testLog(t), Metrics: prometheus.NewRegistry()})
		if err == nil || !strings.Contains(err.Error(), "HYDRANT_REDSHIFT_CA") {
			t.Errorf("%s: %v", file, err)
		}
	}
	wh.cfg.RedshiftCA = newAuthority(t).file
	_, err := New(wh.cfg, service.Runtime{Log: testLog(t), Metrics: prometheus.NewRegistry()})
	check(t, err)
}
