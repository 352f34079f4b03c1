package install

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAuthorities(t *testing.T) {
	dir, now := filepath.Join(t.TempDir(), "ca"), time.Now()
	root, by, err := authorities(dir, []string{"cluster1", "cluster2"}, now)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(root.cert)
	for name, a := range by {
		chains, err := a.cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		if err != nil {
			t.Fatalf("%s: chain does not verify against the root: %v", name, err)
		}
		if len(chains) != 1 {
			t.Fatalf("%s: got %d chains, want 1", name, len(chains))
		}
		if n := len(chains[0]); n != 2 {
			t.Errorf("%s: got a chain of %d, want 2", name, n)
		}
		if !a.cert.IsCA {
			t.Errorf("%s: it must be able to sign workloads", name)
		}
		if !a.cert.MaxPathLenZero {
			t.Errorf("%s: it must be able to sign no further CAs", name)
		}
		s := cacerts(root, a)
		if diff := cmp.Diff(string(a.certPEM)+string(root.certPEM), string(s.Data["cert-chain.pem"])); diff != "" {
			t.Errorf("%s: cacerts has not the chain from the intermediate to the root (-want +got):\n%s", name, diff)
		}
		if string(s.Data["ca-key.pem"]) != string(a.keyPEM) {
			t.Errorf("%s: cacerts has another key", name)
		}
	}
	if by["cluster1"].cert.Equal(by["cluster2"].cert) {
		t.Error("both clusters have the same intermediate")
	}
	files := 0
	if err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		st, err := d.Info()
		if err == nil && st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %04o, want 0600", p, st.Mode().Perm())
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if files != 6 {
		t.Errorf("%d files were written, want a certificate and a key for each of 3 authorities", files)
	}
	again, byAgain, err := authorities(dir, []string{"cluster1", "cluster2"}, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if !again.cert.Equal(root.cert) {
		t.Error("the root that was there was not used again")
	}
	if !byAgain["cluster2"].cert.Equal(by["cluster2"].cert) {
		t.Error("the intermediate that was there was not used again")
	}
}

func TestAuthoritiesRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(dir string) error
		later time.Duration
		says  string
	}{
		"readable by others": {func(d string) error { return os.Chmod(filepath.Join(d, "root-key.pem"), 0o644) }, 0, "mode 0644"},
		"key is gone":        {func(d string) error { return os.Remove(filepath.Join(d, "cluster1", "ca-key.pem")) }, 0, "without its key"},
		"another root": {func(d string) error {
			return errors.Join(os.Remove(filepath.Join(d, "root-key.pem")), os.Remove(filepath.Join(d, "root-cert.pem")))
		}, 0, "not issued by the root"},
		"another's key": {func(d string) error {
			b, err := os.ReadFile(filepath.Join(d, "root-key.pem"))
			return errors.Join(err, os.WriteFile(filepath.Join(d, "cluster1", "ca-key.pem"), b, 0o600))
		}, 0, "does not belong"},
		"garbage": {func(d string) error { return os.WriteFile(filepath.Join(d, "root-cert.pem"), []byte("x"), 0o600) }, 0, "not PEM"},
		"ended":   {func(string) error { return nil }, intermediateLife, "it expires at"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if _, _, err := authorities(dir, []string{"cluster1"}, time.Now()); err != nil {
				t.Fatal(err)
			}
			if err := tt.spoil(dir); err != nil {
				t.Fatal(err)
			}
			_, _, err := authorities(dir, []string{"cluster1"}, time.Now().Add(tt.later))
			if !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Fatalf("got %v, want a refusal that says %q", err, tt.says)
			}
			if strings.Contains(err.Error(), "PRIVATE KEY") {
				t.Error("the error shows a key")
			}
		})
	}
}
