package verify

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	testresult "github.com/in-toto/attestation/go/predicates/test_result/v0"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/layout"
)

const (
	payloadType   = "application/vnd.in-toto+json"
	predicateType = "https://in-toto.io/attestation/test-result/v0.1"
	maxEnvelope   = 4 << 20
)

// Sign writes attestation.dsse.json into a closed bundle: an in-toto test-result attestation of
// SHA256SUMS and of the report's verdicts, in a DSSE envelope. It refuses an unfinished or changed
// bundle.
//
// The signature shows who vouches for the bundle. It does not show that the run happened.
func Sign(ctx context.Context, dir string, key crypto.Signer) error {
	root, err := bundle.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("the bundle is not signed: %w", err)
	}
	defer root.Close()
	v, err := inspect(ctx, root, dir, Options{MaxAge: -1})
	if err != nil {
		return err
	}
	// A bundle may be signed that breaks only the rules of certified bundles. An attestation that is
	// there already is replaced.
	for _, f := range v.Broken() {
		if !strings.HasPrefix(f.Rule, "C") && f.Rule != attestedRule {
			return fmt.Errorf("the bundle is not signed, rule %s is broken: %s", f.Rule, f.Message)
		}
	}
	statement, err := statementOf(v.sums, v.Report)
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
	return bundle.WriteFile(root, layout.SignatureFile, append(data, '\n'))
}

func sumOf(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// resultWord is a result in the words of the test-result predicate. A run that only recorded
// limitations passed nothing.
var resultWord = map[v1alpha2.Result]string{
	v1alpha2.Success: "PASSED", v1alpha2.Recorded: "WARNED", v1alpha2.Partial: "WARNED", v1alpha2.Failure: "FAILED",
}

// predicateOf is the report in the terms of the test-result predicate.
func predicateOf(r *v1alpha2.ConformanceReport) *testresult.TestResult {
	p := &testresult.TestResult{
		Result: resultWord[r.Result],
		Configuration: []*intoto.ResourceDescriptor{
			{Name: "catalog", Digest: map[string]string{"sha256": strings.TrimPrefix(r.Catalog.Digest, "sha256:")}},
		},
	}
	if p.Result == resultWord[v1alpha2.Success] && r.Summary.Known > 0 { // a promise is broken, though it is known
		p.Result = resultWord[v1alpha2.Partial]
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
		Subject:       []*intoto.ResourceDescriptor{{Name: layout.SumsFile, Digest: map[string]string{"sha256": sumOf(sums)}}},
		PredicateType: predicateType,
		Predicate:     fields,
	}
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("the attestation is malformed: %w", err)
	}
	return protojson.Marshal(s)
}

// envelope reads the attestation's envelope.
func (in *inspection) envelope() (*dsse.Envelope, error) {
	data, err := bundle.ReadFile(in.root, layout.SignatureFile, maxEnvelope)
	if err != nil {
		return nil, err
	}
	e := &dsse.Envelope{}
	if err := json.Unmarshal(data, e); err != nil {
		return nil, fmt.Errorf("%s is not an envelope", layout.SignatureFile)
	}
	if e.PayloadType != payloadType {
		return nil, fmt.Errorf("%s holds %.60q, not an attestation", layout.SignatureFile, e.PayloadType)
	}
	// A vendor and a witness make a few signatures. Thousands only cost the reader time.
	if len(e.Signatures) > 16 {
		return nil, fmt.Errorf("%s has more than 16 signatures", layout.SignatureFile)
	}
	// Whoever can add a signature must not be able to spoil the others.
	e.Signatures = slices.DeleteFunc(e.Signatures, func(s dsse.Signature) bool {
		_, standard := base64.StdEncoding.DecodeString(s.Sig)
		_, url := base64.URLEncoding.DecodeString(s.Sig)
		return standard != nil && url != nil
	})
	return e, nil
}

// statementIn reads what is signed, and wants it to be about this bundle.
func (in *inspection) statementIn(body []byte) (*intoto.Statement, error) {
	s := &intoto.Statement{}
	if err := protojson.Unmarshal(body, s); err != nil || s.Validate() != nil || s.GetPredicateType() != predicateType {
		return nil, errors.New("what is signed is not a test-result attestation")
	}
	want := sumOf(in.sumsRaw)
	if !slices.ContainsFunc(s.GetSubject(), func(r *intoto.ResourceDescriptor) bool {
		return r.GetName() == layout.SumsFile && r.GetDigest()["sha256"] == want
	}) {
		return nil, fmt.Errorf("the attestation is for another %s", layout.SumsFile)
	}
	return s, nil
}

// attestedRule is the rule of attested.
const attestedRule = "S02"

// attested holds the attestation against the sums. It needs no key: whoever signed it, an
// attestation of another bundle says nothing of this one.
func (in *inspection) attested() []string {
	e, err := in.envelope()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return one(err)
	}
	body, err := e.DecodeB64Payload()
	if err != nil {
		return []string{layout.SignatureFile + " holds a payload that is not base64"}
	}
	_, err = in.statementIn(body)
	return one(err)
}

// checkSignature says why the bundle is not signed with the key.
func (in *inspection) checkSignature() error {
	e, err := in.envelope()
	if err != nil {
		return err
	}
	check, err := dsse.NewEnvelopeVerifier(verifier{in.opts.Key})
	if err != nil {
		return err
	}
	_, body, err := check.VerifyAndDecode(in.ctx, e)
	if err != nil {
		return errors.New("no signature of this attestation is by the given key")
	}
	s, err := in.statementIn(body)
	if err != nil {
		return err
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
	if p.GetResult() != q.GetResult() || !slices.Equal(p.GetPassedTests(), q.GetPassedTests()) ||
		!slices.Equal(p.GetFailedTests(), q.GetFailedTests()) || !slices.Equal(p.GetWarnedTests(), q.GetWarnedTests()) {
		return errors.New("the attestation's verdicts are not the report's")
	}
	return nil
}

func (in *inspection) signed() []string { return one(in.checkSignature()) }
