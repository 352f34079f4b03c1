package verify

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"slices"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"ambient.test/conformance/reports/bundle"
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
		if smallOrder(k) {
			return errors.New("the key is of small order: signatures that anybody can make would fit it")
		}
		return nil
	case *ecdsa.PublicKey:
		if k.Curve.Params().BitSize == 256 {
			return nil
		}
	}
	return errors.New("the key is neither ed25519 nor ECDSA P-256")
}

// smallOrder reports whether a public key is one of the few points that a multiple of 8 takes to
// zero. X25519 refuses these points, so the key goes there: u = (1+y)/(1-y).
func smallOrder(key ed25519.PublicKey) bool {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	b := slices.Clone([]byte(key))
	slices.Reverse(b) // numbers of curves are little-endian
	b[0] &= 0x7f      // the sign of x
	y, one := new(big.Int).SetBytes(b), big.NewInt(1)
	u := new(big.Int)
	if d := new(big.Int).Mod(new(big.Int).Sub(one, y), p); d.Sign() != 0 {
		u.Mod(u.Mul(new(big.Int).Add(one, y), d.ModInverse(d, p)), p)
	}
	point := u.FillBytes(make([]byte, 32))
	slices.Reverse(point)
	public, err := ecdh.X25519().NewPublicKey(point)
	if err != nil {
		return true
	}
	scalar, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		return true
	}
	_, err = scalar.ECDH(public)
	return err != nil
}

// PrivateKey reads a PEM file with an ed25519 or ECDSA P-256 key, such as `openssl genpkey
// -algorithm ed25519` creates. It refuses a file that other users can read.
func PrivateKey(name string) (crypto.Signer, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("the key cannot be read: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("the key %s is not a plain file", name)
	}
	if p := st.Mode().Perm(); p&0o077 != 0 {
		return nil, fmt.Errorf("the key %s has mode %04o, others could read it: run `chmod 600 %s`", name, p, name)
	}
	block, err := readPEM(name, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	var key any
	switch {
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return nil, fmt.Errorf("the key %s is encrypted: decrypt it with `(umask 077; openssl pkey -in %s -out plain.key)`, name plain.key, "+
			"and remove it afterwards", name, name)
	case block.Type == "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case block.Type == "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("%s holds a %.40q, not a private key of a kind that is known", name, block.Type)
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
	block, err := readPEM(name, "PUBLIC KEY")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s holds no public key that can be read: %w", name, err)
	}
	if err := fit(key); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return key, nil
}

const maxKeyBytes = 1 << 20

// readPEM reads the first block of a kind. Others may stand before it, such as the parameters of a
// curve.
func readPEM(name, kind string) (*pem.Block, error) {
	data, err := bundle.ReadNamed(name, maxKeyBytes)
	if err != nil {
		return nil, fmt.Errorf("the key cannot be read: %w", err)
	}
	var first string
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if strings.HasSuffix(block.Type, kind) {
			return block, nil
		}
		first = cmp.Or(first, block.Type)
	}
	if first == "" {
		return nil, fmt.Errorf("%s is not a PEM file", name)
	}
	return nil, fmt.Errorf("%s holds a %.40q, not a %s", name, first, strings.ToLower(kind))
}
