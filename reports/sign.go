package reports

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	testresult "github.com/in-toto/attestation/go/predicates/test_result/v0"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"ambient.test/conformance/reports/api/v1alpha2"
)

const (
	payloadType   = "application/vnd.in-toto+json"
	predicateType = "https://in-toto.io/attestation/test-result/v0.1"
	maxEnvelope   = 4 << 20
)

// Sign writes attestation.dsse.json into a closed bundle: an in-toto test-result attestation over SHA256SUMS and report.yaml, in a DSSE envelope.
//
// It shows who vouches for the bundle, not that the run happened. An unfinished or changed bundle is not signed.
func Sign(ctx context.Context, dir string, key crypto.Signer) error {
	v, err := Verify(ctx, dir, VerifyOptions{MaxAge: -1})
	if err != nil {
		return err
	}
	for _, f := range v.Findings { // whoever signs a certified bundle should hear of its faults now; other people's rules are theirs to judge
		if f.Status == Broken && !strings.HasPrefix(f.Rule, "C") {
			return fmt.Errorf("the bundle is not signed, rule %s is broken: %s", f.Rule, f.Message)
		}
	}
	sums, err := os.ReadFile(joinName(dir, SumsFile))
	if err != nil {
		return fmt.Errorf("the bundle is not signed: %w", err)
	}
	statement, err := statementOf(sums, v.Report)
	if err != nil {
		return err
	}
	s, err := newSigner(key)
	if err != nil {
		return err
	}
	envelopes, err := dsse.NewEnvelopeSigner(s)
	if err != nil {
		return fmt.Errorf("the bundle is not signed: %w", err)
	}
	envelope, err := envelopes.SignPayload(ctx, payloadType, statement)
	if err != nil {
		return fmt.Errorf("the bundle is not signed: %w", err)
	}
	data, err := json.MarshalIndent(envelope, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(dir, SignatureFile, append(data, '\n'))
}

func joinName(dir, name string) string { return strings.TrimRight(dir, "/") + "/" + name }

func sumOf(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// predicateOf says the verdicts in the words of the test-result predicate.
func predicateOf(r *v1alpha2.ConformanceReport) *testresult.TestResult {
	p := &testresult.TestResult{
		Result: map[v1alpha2.Result]string{v1alpha2.Success: "PASSED", v1alpha2.Partial: "WARNED", v1alpha2.Failure: "FAILED"}[r.Result],
		Configuration: []*intoto.ResourceDescriptor{
			{Name: "catalog", Digest: map[string]string{"sha256": strings.TrimPrefix(r.Catalog.Digest, "sha256:")}},
		},
	}
	for _, b := range r.Behaviors {
		switch b.Verdict {
		case v1alpha2.Conformant:
			p.PassedTests = append(p.PassedTests, b.ID)
		case v1alpha2.NonConformant:
			p.FailedTests = append(p.FailedTests, b.ID)
		case v1alpha2.Unknown:
			p.WarnedTests = append(p.WarnedTests, b.ID)
		}
	}
	return p
}

func statementOf(sums []byte, r *v1alpha2.ConformanceReport) ([]byte, error) {
	predicate, err := protojson.Marshal(predicateOf(r))
	if err != nil {
		return nil, err
	}
	fields := &structpb.Struct{}
	if err := protojson.Unmarshal(predicate, fields); err != nil {
		return nil, err
	}
	s := &intoto.Statement{
		Type:          intoto.StatementTypeUri,
		Subject:       []*intoto.ResourceDescriptor{{Name: SumsFile, Digest: map[string]string{"sha256": sumOf(sums)}}},
		PredicateType: predicateType,
		Predicate:     fields,
	}
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("the attestation is malformed: %w", err)
	}
	return protojson.Marshal(s)
}

// checkSignature says why the bundle is not signed by the key; nil when it is.
func (in *inspection) checkSignature() error {
	data, err := in.readLimited(SignatureFile, maxEnvelope)
	if err != nil {
		return err
	}
	var e dsse.Envelope
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("%s is not an envelope", SignatureFile)
	}
	if e.PayloadType != payloadType {
		return fmt.Errorf("%s holds %.60q, not an attestation", SignatureFile, e.PayloadType)
	}
	// A few signatures are a vendor's and a witness's; thousands are an attack on the reader's time.
	if len(e.Signatures) > 16 {
		return fmt.Errorf("%s has more than 16 signatures", SignatureFile)
	}
	check, err := dsse.NewEnvelopeVerifier(verifier{in.opts.Key})
	if err != nil {
		return err
	}
	_, body, err := check.VerifyAndDecode(in.ctx, &e)
	if err != nil {
		return errors.New("no signature is by the given key over this attestation")
	}
	s := &intoto.Statement{}
	if err := protojson.Unmarshal(body, s); err != nil || s.Validate() != nil || s.GetPredicateType() != predicateType {
		return errors.New("what is signed is not a test-result attestation")
	}
	want := sumOf(in.sumsRaw)
	if !slices.ContainsFunc(s.GetSubject(), func(r *intoto.ResourceDescriptor) bool {
		return r.GetName() == SumsFile && r.GetDigest()["sha256"] == want
	}) {
		return fmt.Errorf("the attestation is about another %s", SumsFile)
	}
	said, err := protojson.Marshal(s.GetPredicate())
	if err != nil {
		return errors.New("what is signed is not a test-result attestation")
	}
	p := &testresult.TestResult{}
	if err := protojson.Unmarshal(said, p); err != nil {
		return errors.New("what is signed is not a test-result attestation")
	}
	q := predicateOf(in.report)
	if p.GetResult() != q.GetResult() || !slices.Equal(p.GetPassedTests(), q.GetPassedTests()) || !slices.Equal(p.GetFailedTests(), q.GetFailedTests()) || !slices.Equal(p.GetWarnedTests(), q.GetWarnedTests()) {
		return errors.New("the attestation's verdicts are not the report's")
	}
	return nil
}

// signer and verifier are DSSE's over Go's own keys.
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

// fit refuses kinds of keys that sign and verify do not know.
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

// PrivateKey reads a PEM file with an ed25519 or ECDSA P-256 key, such as `openssl genpkey -algorithm ed25519` makes. Others must not be able to read it.
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
