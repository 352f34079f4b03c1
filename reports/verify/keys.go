package verify

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// signer and verifier let DSSE use keys of Go's standard library.
type signer struct{ key crypto.Signer }

func newSigner(key crypto.Signer) (dsse.Signer, error) {
	if err := fit(key.Public()); err != nil {
		return nil, err
	}
	return signer{key}, nil
}

func (s signer) KeyID() (string, error) { return dsse.SHA256KeyID(s.key.Public()) }

func (s signer) Sign(_ context.Context, data []byte) ([]byte, error) {
	if _, ok := s.key.Public().(ed25519.PublicKey); ok {
		return s.key.Sign(rand.Reader, data, crypto.Hash(0))
	}
	sum := sha256.Sum256(data)
	return s.key.Sign(rand.Reader, sum[:], crypto.SHA256)
}

type verifier struct{ key crypto.PublicKey }

func (v verifier) KeyID() (string, error)   { return dsse.SHA256KeyID(v.key) }
func (v verifier) Public() crypto.PublicKey { return v.key }

func (v verifier) Verify(_ context.Context, data, sig []byte) error {
	ok := false
	switch k := v.key.(type) {
	case ed25519.PublicKey:
		ok = ed25519.Verify(k, data, sig)
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(data)
		ok = ecdsa.VerifyASN1(k, sum[:], sig)
	}
	if !ok {
		return errors.New("the signature does not fit")
	}
	return nil
}

// fit refuses kinds of keys that signer and verifier do not know.
func fit(key crypto.PublicKey) error {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return nil
	case *ecdsa.PublicKey:
		if k.Curve.Params().BitSize == 256 {
			return nil
		}
	}
	return errors.New("the key is neither ed25519 nor ECDSA P-256")
}

// PrivateKey reads a PEM file with an ed25519 or ECDSA P-256 key, such as `openssl genpkey
// -algorithm ed25519` creates. It refuses a file that other users can read.
func PrivateKey(name string) (crypto.Signer, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("the key cannot be read: %w", err)
	}
	if p := st.Mode().Perm(); p&0o077 != 0 {
		return nil, fmt.Errorf("the key %s has mode %04o, others could read it: run `chmod 600 %s`", name, p, name)
	}
	der, kind, err := readPEM(name)
	if err != nil {
		return nil, err
	}
	var key any
	switch kind {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(der)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(der)
	default:
		return nil, fmt.Errorf("%s holds a %q, not a private key", name, kind)
	}
	s, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, fmt.Errorf("%s holds no private key that can be read", name) // the parser's words may quote the key
	}
	if err := fit(s.Public()); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// PublicKey reads a PEM file with an ed25519 or ECDSA P-256 public key.
func PublicKey(name string) (crypto.PublicKey, error) {
	der, kind, err := readPEM(name)
	if err != nil {
		return nil, err
	}
	if kind != "PUBLIC KEY" {
		return nil, fmt.Errorf("%s holds a %q, not a public key", name, kind)
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s holds no public key that can be read: %w", name, err)
	}
	if err := fit(key); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return key, nil
}

func readPEM(name string) (der []byte, kind string, err error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, "", fmt.Errorf("the key cannot be read: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, "", fmt.Errorf("%s is not a PEM file", name)
	}
	return block.Bytes, block.Type, nil
}
