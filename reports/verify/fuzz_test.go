package verify

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"ambient.test/conformance/reports/internal/example"
	"ambient.test/conformance/reports/layout"
)

// FuzzSums: whatever SHA256SUMS holds, what is read without a fault is, written again, the same
// bytes, and names files of a bundle only.
func FuzzSums(f *testing.F) {
	sum := strings.Repeat("0a", 32)
	for _, seed := range []string{
		"", "\n", sum, sum + "  ", sum + "  report.yaml", sum + "  report.yaml\n", sum + "  report.yaml\r\n", sum + " *report.yaml\n",
		sum + "  evidence/LB-01/a\n" + sum + "  report.yaml\n", sum + "  report.yaml\n" + sum + "  evidence/LB-01/a\n",
		sum + "  report.yaml\n" + sum + "  report.yaml\n", strings.ToUpper(sum) + "  report.yaml\n", "\\" + sum + "  report.yaml\n",
		sum + "  ../report.yaml\n", sum + "  evidence/../x\n", sum + "  /etc/passwd\n", sum + "  ./report.yaml\n", sum + "  SHA256SUMS\n",
		sum + "  attestation.dsse.json\n", "SHA256 (report.yaml) = " + sum + "\n", "# report.yaml\n", "\ufeff" + sum + "  report.yaml\n",
		sum + "\treport.yaml\n", sum + "  evidence/LB-01/\x1b[2J\n", sum + "  evidence/LB-01/\u202e\n", sum + "  report.yaml\x00\n",
		strings.Repeat("0", 1<<17),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		sums, order, wrong := parseSums(raw)
		if len(order) != len(sums) {
			t.Errorf("got %d names and %d sums", len(order), len(sums))
		}
		for _, w := range wrong {
			checkSentence(t, w, 600)
		}
		if len(wrong) > 0 {
			return
		}
		if !slices.IsSorted(order) {
			t.Errorf("the names are not sorted: %q", order)
		}
		var again strings.Builder
		for _, n := range order {
			if !layout.PlainName(n) {
				t.Errorf("%q is no plain name", n)
			}
			if !layout.Listed(n) {
				t.Errorf("%q is no file of a bundle", n)
			}
			fmt.Fprintf(&again, "%s  %s\n", sums[n], n)
		}
		if diff := cmp.Diff(string(raw), again.String()); diff != "" {
			t.Errorf("written again (-want +got):\n%s", diff)
		}
	})
}

// FuzzEnvelope: whatever the attestation holds, what is read as an envelope says, in a reader that
// is not strict, the same; and one key's signature fits one payload only.
func FuzzEnvelope(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	s, err := newSigner(key)
	if err != nil {
		f.Fatal(err)
	}
	signer, err := dsse.NewEnvelopeSigner(s)
	if err != nil {
		f.Fatal(err)
	}
	head := example.Head()
	body, err := statementOf([]byte("sums"), &head)
	if err != nil {
		f.Fatal(err)
	}
	e, err := signer.SignPayload(f.Context(), payloadType, body)
	if err != nil {
		f.Fatal(err)
	}
	good, err := json.Marshal(e)
	if err != nil {
		f.Fatal(err)
	}
	replaced := func(old, now string) string { return strings.Replace(string(good), old, now, 1) }
	for _, seed := range []string{
		string(good), "", "null", "[]", "{}", string(good) + "{}", string(good) + " ", "[" + string(good) + "]", strings.Repeat("[", 100),
		replaced(`"payload"`, `"payload":"e30=","payload"`), replaced(`"payload"`, `"Payload"`), replaced(`"payload"`, `"payl\u006fad"`),
		replaced(`"payload"`, `"comment":"","payload"`), replaced(`"sig"`, `"sig":"AAAA","sig"`), replaced(`"sig":"`, `"sig":"***`),
		replaced(`"payload":"`, `"payload":"\n`), replaced(`"payloadType":"`, `"payloadType":"text/`),
		`{"payload":"","payloadType":"application/vnd.in-toto+json","signatures":null}`,
		`{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"keyid":"\ud800","sig":"AAAB"}]}`,
	} {
		f.Add([]byte(seed))
	}
	check, err := dsse.NewEnvelopeVerifier(verifier{key.Public()})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, payload, err := readEnvelope(data)
		if err != nil {
			checkSentence(t, err.Error(), 400)
			return
		}
		var loose map[string]any
		if err := json.Unmarshal(data, &loose); err != nil {
			t.Fatalf("it is read, and is no JSON object: %v", err)
		}
		said, _ := loose["payload"].(string)
		if got.Payload != said {
			t.Errorf("got payload %q, and another reader gets %q", got.Payload, said)
		}
		if _, err := check.Verify(t.Context(), got); err == nil && string(payload) != string(body) {
			t.Errorf("what was never signed is signed: %q", payload)
		}
		if _, err := readStatement(payload); err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("not one clean sentence: %q", err)
		}
	})
}

// FuzzGinkgo: whatever ginkgo.json holds, it is read or refused in one sentence, and no list of it
// is longer than it may be.
func FuzzGinkgo(f *testing.F) {
	head := example.Head()
	for _, seed := range []string{
		string(example.Ginkgo(f, &head)), "", "null", "[]", "[{}]", "[{},{}]", "{}", `{"not":"ginkgo"}`, "[null]", strings.Repeat("[", 20_000),
		`[{"SpecReports":null}]`, `[{"SpecReports":{}}]`, `[{"SpecReports":[{"LeafNodeType":"It","LeafNodeLabels":["LB-01"],"State":"passed"}]}]`,
		`[{"SpecReports":[{"LeafNodeLabels":[` + strings.Repeat(`"x",`, 21_000) + `"x"]}]}]`,
		`[{"SpecReports":[{"ReportEntries":[{"Name":"LB-01","Value":{"AsJSON":"{\"verdict\":\"conformant\"}"}}]}]}]`,
		`[{"SpecReports":[],"SpecReports":[{}],"specreports":[{},{}]}]`, `[{"SuiteSucceeded":"yes"}]`,
		"[{\"SpecialSuiteFailureReasons\":[\"\xff\"]}]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		suite, err := readGinkgo(data)
		if err != nil {
			checkSentence(t, err.Error(), 200)
			return
		}
		for _, s := range suite.SpecReports {
			if n := max(len(suite.SpecReports), len(s.LeafNodeLabels), len(s.ReportEntries)); n > maxGinkgoSpecs {
				t.Errorf("a list of %d, want at most %d", n, maxGinkgoSpecs)
			}
			_ = s.verdict("LB-01")
		}
	})
}

// checkSentence wants what a terminal can print on one line, of so many bytes at most.
func checkSentence(t *testing.T, s string, most int) {
	t.Helper()
	if len(s) > most {
		t.Errorf("%d bytes, want at most %d: %.200q", len(s), most, s)
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("byte %d is not printable: %.200q", i, s)
	}
}
