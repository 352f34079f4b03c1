package install

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ambient.test/conformance/framework/mesh"
)

// Lifetimes of our certificates. A fleet lives for hours; long lifetimes are only a convenience.
const (
	rootLife         = 10 * 365 * 24 * time.Hour
	intermediateLife = 2 * 365 * 24 * time.Hour
)

// Files of a certificate authority, named as Istio's own tools name them.
const (
	fileRootCert = "root-cert.pem"
	fileRootKey  = "root-key.pem"
	fileCACert   = "ca-cert.pem"
	fileCAKey    = "ca-key.pem"
)

// authority is a certificate with its key, and the PEM of both.
type authority struct {
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
	certPEM []byte
	keyPEM  []byte
}

// authorities returns the mesh's root from dir and an intermediate for each cluster from a folder
// of its name. It creates those that do not exist. Keys are ECDSA P-256; every file has mode 0600.
// Existing files are used only if they are still valid, belong together, and are readable by their
// owner alone.
func authorities(dir string, clusters []string, now time.Time) (root *authority, byCluster map[string]*authority, err error) {
	root, err = readOrMake(dir, fileRootCert, fileRootKey, now, nil, rootOf(now))
	if err != nil {
		return nil, nil, err
	}
	byCluster = map[string]*authority{}
	for _, name := range clusters {
		byCluster[name], err = readOrMake(filepath.Join(dir, name), fileCACert, fileCAKey, now, root, intermediateOf(name, now))
		if err != nil {
			return nil, nil, err
		}
	}
	return root, byCluster, nil
}

// rootOf is the template of a mesh's root.
func rootOf(now time.Time) func(*big.Int) *x509.Certificate {
	return func(serial *big.Int) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: serial, Subject: pkix.Name{Organization: []string{"amc"}, CommonName: "root of a mesh under test"},
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(rootLife), IsCA: true, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		}
	}
}

// intermediateOf is the template of a cluster's intermediate.
func intermediateOf(cluster string, now time.Time) func(*big.Int) *x509.Certificate {
	return func(serial *big.Int) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: serial, Subject: pkix.Name{Organization: []string{"amc"}, CommonName: "intermediate of " + cluster},
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(intermediateLife), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature, DNSNames: []string{"istiod.istio-system.svc"},
		}
	}
}

// NewCA makes another intermediate for a cluster of a mesh that we made, of the same root, and
// returns the Secret from which istiod reads it with its certificate. It is in no file.
func NewCA(f *mesh.Fleet, cluster string) (*corev1.Secret, *x509.Certificate, error) {
	now := time.Now()
	root, err := read(filepath.Join(f.CADir, fileRootCert), filepath.Join(f.CADir, fileRootKey), now, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("the root of the mesh in %s: %w", f.CADir, err)
	}
	return newCA(root, cluster, now)
}

// ForeignCA is [NewCA] of a root of its own, which no other cluster trusts.
func ForeignCA(cluster string) (*corev1.Secret, *x509.Certificate, error) {
	now := time.Now()
	root, err := issue(nil, rootOf(now))
	if err != nil {
		return nil, nil, err
	}
	return newCA(root, cluster, now)
}

func newCA(root *authority, cluster string, now time.Time) (*corev1.Secret, *x509.Certificate, error) {
	a, err := issue(root, intermediateOf(cluster, now))
	if err != nil {
		return nil, nil, err
	}
	return cacerts(root, a), a.cert, nil
}

// readOrMake reads an authority, or creates it if neither of its files exists. parent is nil for a
// root.
func readOrMake(
	dir, certFile, keyFile string, now time.Time, parent *authority, template func(*big.Int) *x509.Certificate,
) (*authority, error) {
	certPath, keyPath := filepath.Join(dir, certFile), filepath.Join(dir, keyFile)
	a, err := read(certPath, keyPath, now, parent)
	if !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return nil, fmt.Errorf("the certificate authority in %s cannot be used again: %w: "+
				"remove that folder and run `amc up`, which creates a new one", dir, err)
		}
		return a, nil
	}
	if a, err = issue(parent, template); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	// The certificate is written last: a run killed in between leaves only a key, which the next run
	// replaces.
	for _, f := range []struct {
		path string
		data []byte
	}{{keyPath, a.keyPEM}, {certPath, a.certPEM}} {
		if err := writePrivate(f.path, f.data); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// issue makes an authority, in no file yet. parent is nil for a root.
func issue(parent *authority, template func(*big.Int) *x509.Certificate) (a *authority, err error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	a = &authority{}
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	t := template(serial)
	issuer, signer := t, a.key
	if parent != nil {
		issuer, signer = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, issuer, &a.key.PublicKey, signer)
	if err != nil {
		return nil, err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, err
	}
	a.certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	a.keyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	return a, nil
}

// writePrivate writes a file of mode 0600 atomically, whatever mode an existing file of that name
// has.
func writePrivate(path string, data []byte) error {
	tmp := path + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func read(certPath, keyPath string, now time.Time, parent *authority) (*authority, error) {
	a := &authority{}
	var err error
	if a.certPEM, err = os.ReadFile(certPath); err != nil {
		return nil, err
	}
	if a.keyPEM, err = os.ReadFile(keyPath); err != nil {
		return nil, fmt.Errorf("certificate without its key: %s", err.Error()) // not ErrNotExist: a certificate is never replaced silently
	}
	for _, p := range []string{certPath, keyPath} {
		st, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		if m := st.Mode().Perm(); m&0o077 != 0 {
			return nil, fmt.Errorf("%s has mode %04o, so others could read it", p, m)
		}
	}
	cb, _ := pem.Decode(a.certPEM)
	kb, _ := pem.Decode(a.keyPEM)
	if cb == nil || kb == nil {
		return nil, errors.New("it is not PEM")
	}
	if a.cert, err = x509.ParseCertificate(cb.Bytes); err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(kb.Bytes)
	if err != nil {
		return nil, errors.New("its key is not a PKCS #8 key")
	}
	var ok bool
	if a.key, ok = key.(*ecdsa.PrivateKey); !ok || !a.key.PublicKey.Equal(a.cert.PublicKey) {
		return nil, errors.New("its key does not belong to its certificate")
	}
	if now.After(a.cert.NotAfter.Add(-24 * time.Hour)) {
		return nil, fmt.Errorf("it expires at %s", a.cert.NotAfter.Format(time.RFC3339))
	}
	if parent != nil {
		if err := a.cert.CheckSignatureFrom(parent.cert); err != nil {
			return nil, fmt.Errorf("it was not issued by the root beside it: %w", err)
		}
	}
	return a, nil
}

// cacerts is the Secret from which istiod reads its CA:
// https://istio.io/latest/docs/tasks/security/cert-management/plugin-ca-cert/
func cacerts(root, intermediate *authority) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "cacerts"}, Data: map[string][]byte{
		"root-cert.pem":  root.certPEM,
		"ca-cert.pem":    intermediate.certPEM,
		"ca-key.pem":     intermediate.keyPEM,
		"cert-chain.pem": append(append([]byte{}, intermediate.certPEM...), root.certPEM...),
	}}
}

// rootBundle is the ConfigMap that istiod writes into every namespace. ztunnel mounts it. Because
// we create it in advance, the ztunnel pod waits neither for istiod nor for the kubelet's next
// attempt to mount. istiod finds the ConfigMap as it would have written it, and owns it from then
// on.
func rootBundle(root *authority) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: rootBundleName, Labels: map[string]string{"istio.io/config": "true"}},
		Data:       map[string]string{"root-cert.pem": string(root.certPEM)},
	}
}
