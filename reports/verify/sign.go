package verify

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
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
