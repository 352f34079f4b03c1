package redact

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// secrets are put together at run time, so that no scanner takes this file for a leak.
var secrets = map[string]struct{ text, name string }{
	"pem":        {"-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE\n", "a private key"},
	"base64 pem": {"data: LS0tLS1CRUdJTi" + "BSU0EgUFJJVkFURSBLRVktLS0tLQ==", "a private key (base64)"},
	"jwt":        {"log line eyJ" + "hbGciOiJSUzI1NiJ9.eyJ" + "pc3MiOiJrdWJlcm5ldGVz.c2lnbmF0dXJlLXNpZw end", "a token"},
	"kubeconfig": {"    client-key-data: " + strings.Repeat("QUJD", 8), "a kubeconfig credential"},
	"token":      {"users:\n- user:\n    token: " + strings.Repeat("t", 24), "a kubeconfig credential"},
	"id token":   {`{"id-token":"` + strings.Repeat("t", 24) + `"}`, "a kubeconfig credential"},
	"json token": {`{"token":"` + strings.Repeat("t", 24) + `"}`, "a kubeconfig credential"},
	"bearer":     {"Authorization: Bearer " + strings.Repeat("b", 24), "a bearer token"},
	"password":   {"    password: hunter22", "a kubeconfig credential"},
}

func TestSecrets(t *testing.T) {
	for name, s := range secrets {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(s.name, find([]byte(s.text))); diff != "" {
				t.Errorf("find (-want +got):\n%s", diff)
			}
			redacted := Bytes([]byte("before\n" + s.text + "\nafter"))
			if left := find(redacted); left != "" {
				t.Errorf("%s is left in %q", left, redacted)
			}
			for _, want := range []string{"before\n", "[redacted: " + s.name + "]"} {
				if !bytes.Contains(redacted, []byte(want)) {
					t.Errorf("got %q, want it to contain %q", redacted, want)
				}
			}
		})
	}
}

func TestPrivateKeyIsRedactedToItsEnd(t *testing.T) {
	pem := "-----BEGIN EC " + "PRIVATE KEY-----\nMHcCAQEE\nqqqq==\n-----END EC " + "PRIVATE KEY-----"
	if diff := cmp.Diff("key:  [redacted: a private key]\n", string(Bytes([]byte("key: "+pem+"\n")))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A secret is found wherever the borders of the scan's windows cut it.
func TestScanFindsSecretsAcrossWindows(t *testing.T) {
	for name, s := range secrets {
		t.Run(name, func(t *testing.T) {
			for _, border := range []int{window, window + overlap, 2*window + overlap} {
				for _, before := range []int{1, len(s.text) / 2, len(s.text) - 1} {
					text := strings.Repeat("x", border-before) + "\n" + s.text + "\n" + strings.Repeat("y", window)
					got, err := Scan(iotest.HalfReader(strings.NewReader(text)))
					if err != nil {
						t.Fatal(err)
					}
					if got != s.name {
						t.Errorf("%d bytes before %d: got %q, want %q", before, border, got, s.name)
					}
				}
			}
		})
	}
}

func TestHarmlessText(t *testing.T) {
	for _, text := range []string{
		"-----BEGIN CERTIFICATE-----",
		"certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t",
		"tokens: 4",
		"token: short",
		"the token: it was refused",
		"xtoken: aaaaaaaaaaaaaaaaaaaa",
		"eyJust a word",
		"password: ",
		"serviceAccountToken:\n  expirationSeconds: 3600",
	} {
		t.Run(text, func(t *testing.T) {
			got, err := Scan(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if got != "" {
				t.Errorf("it is taken for %s", got)
			}
			if diff := cmp.Diff(text, string(Bytes([]byte(text)))); diff != "" {
				t.Errorf("redacted (-want +got):\n%s", diff)
			}
		})
	}
}

func TestScanReportsReadErrors(t *testing.T) {
	if _, err := Scan(iotest.ErrReader(io.ErrClosedPipe)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v, want %v", err, io.ErrClosedPipe)
	}
}

// The search by the rests finds what the whole forms find, and nothing is left after redaction.
func FuzzSecrets(f *testing.F) {
	for _, s := range []string{
		"-----BEGIN PRIVATE KEY-----", "-----BEGIN RSA " + "PRIVATE KEY-----", "-----BEGIN rsa PRIVATE KEY-----",
		"----BEGIN PRIVATE KEY-----", "BEGIN -----BEGIN A PRIVATE KEY-----PRIVATE KEY-----",
		"-----BEGIN AAAAAAAAAABBBBBBBBBBCCCCCCCCCCCPRIVATE KEY-----",
		"-----BEGIN AAAAAAAAAABBBBBBBBBBCCCCCCCCCC PRIVATE KEY-----",
		"LS0tLS1CRUdJTiBQUklWQVRFIEtF", "LS0tLS1CRUdJTiBDRVJU",
		"eyJhbGciOiJSU.eyJhbGciOiJSU.aaaaaaaa", "eyJeyJhbGciOiJSU.eyJaaaaaaaa.aaaaaaaa",
		"eyJ.eyJhbGciOiJSU.eyJaaaaaaaa.aaaaaaaa", "eyJaaaaaaaa.eyJaaaaaaa.aaaaaaaa",
		"Bearer aaaaaaaaaaaaaaaa", "earer aaaaaaaaaaaaaaaaa", "bearer aaaaaaaaaaaaaaa",
		"client-key-data\" : \"QUJDQUJDQUJDQUJD", "client-key-data QUJDQUJDQUJDQUJD",
		"token: aaaaaaaaaaaaaaaa", "xtoken: aaaaaaaaaaaaaaaa", "{id-token\":\"aaaaaaaaaaaaaaaa", "bid-token:aaaaaaaaaaaaaaaa",
		"tokentoken: aaaaaaaaaaaaaaaa", ",refresh-token\f:aaaaaaaaaaaaaaaa", "token\v: aaaaaaaaaaaaaaaa",
		"password: 1234", "password: 123", "\npassword\"\n:\n\"a\xffbc", "password:\"\"1234", "passwordpassword: 1234",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var want []string
		for _, s := range forms {
			if s.whole.Match(data) {
				want = append(want, s.name)
			}
		}
		got := find(data)
		if (got == "") != (want == nil) {
			t.Fatalf("found %q, the whole forms find %q", got, want)
		}
		if got != "" && !slices.Contains(want, got) {
			t.Fatalf("found %q, the whole forms find %q", got, want)
		}
		redacted := Bytes(data)
		if left := find(redacted); left != "" {
			t.Fatalf("%s is left in %q", left, redacted)
		}
	})
}

// BenchmarkScan measures lines as logs have them, full of words that begin like secrets.
func BenchmarkScan(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("outbound|15008||echo.amc-lb.svc.cluster.local envoy token tokenreview eyJ Bearer password " +
		"private key cluster1 istio-system 10.244.0.7:15008 HBONE connected")
	var text strings.Builder
	for text.Len() < 1<<20 {
		text.WriteString(words[random.IntN(len(words))])
		text.WriteByte(" \n"[random.IntN(10)/9])
	}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		if name, err := Scan(strings.NewReader(text.String())); err != nil {
			b.Fatal(err)
		} else if name != "" {
			b.Fatalf("found %s, want nothing", name)
		}
	}
}
