package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/redshiftstandin"
)

// encrypted has stand-ins with certificates, and a service that trusts one authority: what a JDBC URL asks for is what it gets, and
// where it does not get it nothing is loaded.
func encrypted(w *warehouse, d *deploy.Deployment, trusted *authority) {
	for _, table := range []string{"trusted", "untrusted", "renamed", "plaintext"} {
		w.exec("CREATE TABLE " + table + " (n INT, text VARCHAR(100))")
	}
	to := w.to("trusted", "JSON 'auto'", 3600)
	at(w.standIn(trusted.serves("127.0.0.1")), "postgres", "sslmode=verify-full")(to)
	createRedshift(w.t, d, "trusted", to)
	putAll(w.t, d, "trusted", rowsFrom(0, 100))
	others, elsewhere := w.standIn(newAuthority(w.t).serves("127.0.0.1")), w.standIn(trusted.serves("elsewhere.example.com"))
	cases := []refused{
		{stream: "untrusted", change: at(others, "postgres", "sslmode=require"), code: "Redshift.ConnectionFailed", says: "unknown authority"},
		{stream: "renamed", change: at(elsewhere, "postgres", "sslmode=verify-full"), code: "Redshift.ConnectionFailed", says: "127.0.0.1"},
		{stream: "plaintext", change: at(w.addr, "postgres", "ssl=true"), code: "Redshift.ConnectionFailed", says: "SSL is not enabled on the server"},
	}
	for _, c := range cases {
		c.begin(w, d)
	}
	w.want("trusted", 100)
	for _, c := range cases {
		c.check(w, d)
		if rows, _ := w.count(c.stream); rows != 0 {
			w.t.Errorf("%d rows are loaded into %s", rows, c.stream)
		}
	}
}

// authority signs certificates of databases.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "an authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert, a.key = template, a.newKey()
	der := a.sign(template, a.key)
	var err error
	a.cert, err = x509.ParseCertificate(der)
	must(t, err)
	a.file = a.write("CERTIFICATE", der)
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(a.t, err)
	return key
}

func (a *authority) sign(template *x509.Certificate, key *ecdsa.PrivateKey) (der []byte) {
	a.t.Helper()
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	must(a.t, err)
	return der
}

func (a *authority) write(kind string, der []byte) (file string) {
	a.t.Helper()
	file = filepath.Join(a.t.TempDir(), "pem")
	must(a.t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return file
}

// serves has a stand-in be a server with a certificate for a host.
func (a *authority) serves(host string) func(*redshiftstandin.Config) {
	a.t.Helper()
	template := &x509.Certificate{DNSNames: []string{host}}
	if ip := net.ParseIP(host); ip != nil {
		template.DNSNames, template.IPAddresses = nil, []net.IP{ip}
	}
	key := a.newKey()
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(a.t, err)
	cert, secret := a.write("CERTIFICATE", a.sign(template, key)), a.write("PRIVATE KEY", private)
	return func(c *redshiftstandin.Config) { c.TLSCert, c.TLSKey = cert, secret }
}
