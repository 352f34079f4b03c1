package verify

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"unicode/utf8"

	testresult "github.com/in-toto/attestation/go/predicates/test_result/v0"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/layout"
)

// Of a key that stands twice, one reader takes the first and another the last, and some take
// Payload for payload. So what an envelope says is said once, in these words, by path.
var (
	envelopeKeys = map[string][]string{
		"":            {"payload", "payloadType", "signatures"},
		"/signatures": {"keyid", "sig"},
	}
	statementKeys = map[string][]string{"": {"_type", "subject", "predicateType", "predicate"}}
)

// maxJSONDepth is more than any statement of ours has.
const maxJSONDepth = 16

// strictJSON wants one JSON document without a key that stands twice, and in the objects that are
// named no other keys than those.
func strictJSON(data []byte, keys map[string][]string) error {
	if !utf8.Valid(data) {
		return errors.New("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if err := strictValue(d, keys, "", 0); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows it")
	}
	return nil
}

func strictValue(d *json.Decoder, keys map[string][]string, path string, depth int) error {
	if depth > maxJSONDepth {
		return fmt.Errorf("it is nested deeper than %d", maxJSONDepth)
	}
	t, err := d.Token()
	if err != nil {
		return errors.New("it is not JSON")
	}
	if _, ok := t.(json.Delim); !ok {
		return nil
	}
	seen, at := map[string]bool{}, path
	for d.More() {
		if t == json.Delim('{') {
			k, err := d.Token()
			if err != nil {
				return errors.New("it is not JSON")
			}
			key, _ := k.(string) // the decoder lets nothing else stand there
			switch allowed, named := keys[path]; {
			case seen[key]:
				return fmt.Errorf("the key %.40q appears twice", key)
			case named && !slices.Contains(allowed, key):
				return fmt.Errorf("the key %.40q is unknown", key)
			}
			seen[key], at = true, path+"/"+key
		}
		if err := strictValue(d, keys, at, depth+1); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return errors.New("it is not JSON")
	}
	return nil
}

// strictBase64 decodes what an encoder writes, and nothing else: no line breaks, no other bits.
func strictBase64(s string) ([]byte, bool) {
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		if data, err := e.DecodeString(s); err == nil && e.EncodeToString(data) == s {
			return data, true
		}
	}
	return nil, false
}

// readEnvelope reads an envelope, and what was signed in it.
func readEnvelope(data []byte) (*dsse.Envelope, []byte, error) {
	fault := func(err error) (*dsse.Envelope, []byte, error) {
		return nil, nil, fmt.Errorf("%s is not an envelope: %w", layout.SignatureFile, err)
	}
	if err := strictJSON(data, envelopeKeys); err != nil {
		return fault(err)
	}
	e := &dsse.Envelope{}
	if err := json.Unmarshal(data, e); err != nil {
		return fault(errors.New("it has another form"))
	}
	if e.PayloadType != payloadType {
		return nil, nil, fmt.Errorf("%s holds %.60q, not an attestation", layout.SignatureFile, e.PayloadType)
	}
	// A vendor and a witness make a few signatures. Thousands only cost the reader time.
	if len(e.Signatures) > 16 {
		return nil, nil, fmt.Errorf("%s has more than 16 signatures", layout.SignatureFile)
	}
	// Whoever can add a signature must not be able to spoil the others.
	e.Signatures = slices.DeleteFunc(e.Signatures, func(s dsse.Signature) bool {
		_, ok := strictBase64(s.Sig)
		return !ok
	})
	body, ok := strictBase64(e.Payload)
	if !ok {
		return fault(errors.New("its payload is not base64 as an encoder writes it"))
	}
	return e, body, nil
}

// readStatement reads what is signed.
func readStatement(body []byte) (*intoto.Statement, error) {
	s := &intoto.Statement{}
	err := strictJSON(body, statementKeys)
	if err == nil && (protojson.Unmarshal(body, s) != nil || s.Validate() != nil || s.GetPredicateType() != predicateType) {
		err = errors.New("it has another form")
	}
	if err != nil {
		return nil, fmt.Errorf("what is signed is not a test-result attestation: %w", err)
	}
	return s, nil
}

// envelope reads the attestation's envelope, and what was signed in it: the bytes that were scanned
// for secrets.
func (in *inspection) envelope() (*dsse.Envelope, []byte, error) {
	data, err := bundle.ReadFile(in.root, layout.SignatureFile, maxEnvelope)
	if err != nil {
		return nil, nil, err
	}
	if scanned, ok := in.files[layout.SignatureFile]; ok && scanned.sum != sumOf(data) {
		return nil, nil, fmt.Errorf("%s was changed while it was read", layout.SignatureFile)
	}
	return readEnvelope(data)
}

// statementIn reads what is signed, and wants it to be about this bundle.
func (in *inspection) statementIn(body []byte) (*intoto.Statement, error) {
	s, err := readStatement(body)
	if err != nil {
		return nil, err
	}
	switch all := s.GetSubject(); {
	case len(all) != 1:
		return nil, fmt.Errorf("the attestation is for %d files, not for %s alone", len(all), layout.SumsFile)
	case all[0].GetName() != layout.SumsFile || all[0].GetDigest()["sha256"] != sumOf(in.sumsRaw):
		return nil, fmt.Errorf("the attestation is for another %s", layout.SumsFile)
	}
	return s, nil
}

// attestedRule is the rule of attested.
const attestedRule = "S02"

// attested holds the attestation against the sums. It needs no key: whoever signed it, an
// attestation of another bundle says nothing of this one.
func (in *inspection) attested() []string {
	_, body, err := in.envelope()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return one(err)
	}
	_, err = in.statementIn(body)
	return one(err)
}

// checkSignature says why the bundle is not signed with the key.
func (in *inspection) checkSignature() error {
	e, body, err := in.envelope()
	if err != nil {
		return err
	}
	check, err := dsse.NewEnvelopeVerifier(verifier{in.opts.Key})
	if err != nil {
		return err
	}
	if _, err := check.Verify(in.ctx, e); err != nil {
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
	if !slices.EqualFunc(p.GetConfiguration(), q.GetConfiguration(),
		func(a, b *intoto.ResourceDescriptor) bool { return proto.Equal(a, b) }) {
		return errors.New("the attestation's catalog is not the report's")
	}
	return nil
}

func (in *inspection) signed() []string { return one(in.checkSignature()) }
