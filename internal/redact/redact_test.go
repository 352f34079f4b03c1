package redact

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// secrets are put together at run time, so that no scanner takes this file for a leak.
var secrets = map[string]struct{ text, name string }{
	"pem":        {"-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE\n", "a private key"},
	"base64 pem": {"data: LS0tLS1CRUdJTi" + "BSU0EgUFJJVkFURSBLRVktLS0tLQ==", "a private key (base64)"},
	"jwt":        {"log line eyJ" + "hbGciOiJSUzI1NiJ9.eyJ" + "pc3MiOiJrdWJlcm5ldGVz.c2lnbmF0dXJlLXNpZw end", "a token"},
	"kubeconfig": {"    client-key-data: " + strings.Repeat("QUJD", 8), "a credential"},
	"token":      {"users:\n- user:\n    token: " + strings.Repeat("t", 24), "a credential"},
	"id token":   {`{"id-token":"` + strings.Repeat("t", 24) + `"}`, "a credential"},
	"json token": {`{"token":"` + strings.Repeat("t", 24) + `"}`, "a credential"},
	"bearer":     {"Authorization: Bearer " + strings.Repeat("b", 24), "a credential"},
	"password":   {"    password: hunter22", "a credential"},

	"free bearer":             {"called with Bearer " + random, "a bearer token"},
	"bearer of letters":       {"gone, Bearer abcdefghijk" + "lmnopqrstuvwxyz", "a bearer token"},
	"bearer in capitals":      {"called with BEARER " + random, "a bearer token"},
	"bearer after two blanks": {"called with bearer  " + random, "a bearer token"},
	"header in capitals":      {"AUTHORIZATION: BEARER  " + random, "a credential"},
	"header in Go":            {"map[Authorization:[Bearer " + random + "]]", "a credential"},
	"header in JSON":          {`{"Authorization":["Bearer ` + random + `"]}`, "a credential"},
	"basic":                   {"> authorization: Basic " + account, "a credential"},
	"basic in JSON":           {`{"authorization":"basic ` + account + `"}`, "a credential"},

	"single quotes":        {"    token: '" + random + "'", "a credential"},
	"folded":               {"    token: >-\n      " + random, "a credential"},
	"literal":              {"password: |\n  hunter22", "a credential"},
	"on the next line":     {"token:\n  " + random, "a credential"},
	"JSON in JSON":         {`{"config":"{\"token\":\"` + random + `\"}"}`, "a credential"},
	"JSON in JSON in JSON": {`{\"config\":\"{\\\"password\\\": \\\"hunter22\\\"}\"}`, "a credential"},
	"key in JSON in JSON":  {`"{\"client-key-data\":\"` + strings.Repeat("QUJD", 8) + `\"}"`, "a credential"},
	"YAML in JSON":         {`{"kubeconfig":"users:\n- user:\ntoken: ` + random + `\n"}`, "a credential"},

	"access_token":   {`{"access_token": "` + random + `"}`, "a credential"},
	"id_token":       {`{"id_token":"` + random + `"}`, "a credential"},
	"refresh_token":  {`refresh_token=` + random + `&scope=all`, "a credential"},
	"refreshToken":   {`{"refreshToken":"` + random + `"}`, "a credential"},
	"client_secret":  {`client_secret: ` + random, "a credential"},
	"clientSecret":   {`"clientSecret": "` + random + `"`, "a credential"},
	"environment":    {"GITHUB_TOKEN=" + random, "a credential"},
	"TOKEN":          {"export TOKEN=" + random, "a credential"},
	"query":          {"GET /callback?access_token=" + random, "a credential"},
	"flag":           {"kubeadm join 10.0.0.1:6443 --token " + bootstrap, "a credential"},
	"flag with =":    {"kubeadm join 10.0.0.1:6443 --token=" + bootstrap, "a credential"},
	"kubeadm":        {"[bootstrap-token] Using token: " + bootstrap, "a credential"},
	"kubeadm config": {"bootstrapTokens:\n- token: " + bootstrap, "a credential"},
	"bare kubeadm":   {"join with token " + bootstrap, "a credential"},
	"kubeadm's key":  {"kubeadm join --certificate-key " + strings.Repeat("0a1b", 16), "a credential"},
	"its key, YAML":  {"certificateKey: \"" + strings.Repeat("0a1b", 16) + "\"", "a credential"},
	"token-secret":   {"  token-secret: MDEyMzQ1Njc4OWFiY2RlZg==", "a credential"},
	"passwd in SQL":  {"user=mesh passwd=hunter22 sslmode=off", "a credential"},
	"PASSWORD":       {"DB_PASSWORD: hunter22", "a credential"},

	"URL":          {"https://user:hunter22" + "@registry.example/v2", "a password in a URL"},
	"URL, no user": {"redis://:hunter22" + "@cache.example:6379/0", "a password in a URL"},
	"Docker":       {`{"auths":{"registry.example":{"auth":"` + account + `"}}}`, "a credential"},
	"AWS":          {"aws_access_key_id = AKIA" + strings.Repeat("Z2", 8), "a token of AWS"},
	"AWS, a while": {"key ASIA" + strings.Repeat("Z2", 8), "a token of AWS"},
	"AWS secret":   {"aws_secret_access_key = " + random, "a credential"},
	"GitHub":       {"remote: ghp_" + strings.Repeat("a1B2", 9), "a token of GitHub"},
	"GitHub app":   {"remote: ghs_" + strings.Repeat("a1B2", 9), "a token of GitHub"},
	"GitHub, fine": {"remote: github_pat_" + strings.Repeat("a1B2", 9), "a token of GitHub"},
	"GitLab":       {"glpat-" + strings.Repeat("a1B2", 5), "a token of GitLab"},
	"Slack":        {"xoxb-" + "1234567890-abcdefghij", "a token of Slack"},
	"Google":       {"key=AIza" + strings.Repeat("a1B2_", 7), "a key of Google"},
	"PGP":          {"-----BEGIN PGP " + "PRIVATE KEY BLOCK-----\nlQ\n-----END PGP " + "PRIVATE KEY BLOCK-----", "a private key"},
	"Secret":       {"apiVersion: v1\ndata:\n  cluster2: YXBpVmVyc2lvbg==\nkind: Secret\nmetadata:\n  name: x", "values of a Secret"},
	"Secret, quoted": {"---\nkind: \"Secret\"\nmetadata:\n  name: x\n\nstringData:\n  # why\n  any.key: plain\n---\nkind: A",
		"values of a Secret",
	},
	"Secret with a comment": {"kind: Secret # of the vendor\ndata: # keys\n  a: b", "values of a Secret"},
	"Secret in flow style":  {"kind: Secret\ndata: {any: cGxhaW4=}\nmetadata: {}", "values of a Secret"},
	"Secret in many lines":  {"data: {\n  any: cGxhaW4= }\nkind: Secret", "values of a Secret"},
	"Secret, empty data":    {"kind: Secret\ndata:\nstringData:\n  a: b", "values of a Secret"},
	"Secret in a list": {"items:\n- apiVersion: v1\n  kind: ConfigMap\n- apiVersion: v1\n  data:\n    a: b\n  kind: Secret\nkind: List",
		"values of a Secret"},
	"Secret in JSON": {`{"kind": "Secret", "data": {"any": "cGxhaW4="}}`, "values of a Secret"},
	"Secret in a list of JSON": {`{"items":[{"kind":"ConfigMap"},{"data":{"any":"cGxhaW4="},"kind":"Secret","metadata":{"labels":{}}}]}`,
		"values of a Secret"},
	"Secret in JSON in JSON": {`{"last":"{\"data\":{\"any\":\"cGxhaW4=\"},\"kind\":\"Secret\"}\n"}`, "values of a Secret"},
	"Secret, cut off":        {`{"kind":"Secret","data":{"any":"cGxhaW4=`, "values of a Secret"},
}

// random, bootstrap and account are made up: a token, one of kubeadm, and user:password in base64.
const (
	random    = "a1B2c3D4e5" + "F6g7H8i9J0"
	bootstrap = "abc" + "def.0123456789" + "abcdef"
	account   = "dXNlcjpw" + "YXNzd29yZA=="
)

func TestSecrets(t *testing.T) {
	for name, s := range secrets {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(s.name, In([]byte(s.text))); diff != "" {
				t.Errorf("In (-want +got):\n%s", diff)
			}
			redacted := Bytes([]byte("before\n" + s.text + "\nafter"))
			if left := In(redacted); left != "" {
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
		"the password: none was given",
		"error: wrong password: none",
		"bearer authentication_of_something_long",
		"cannot read the token: /var/run/secrets/tokens/istio-token",
		"basic authentication is off",
		"kubectl describe: password:  12 bytes, token:  1024 bytes",
		"password: null",
		`{"password":"","token":"","next":"abcdefghijklmnopqrst"}`,
		"password='',user=mesh",
		"password: <redacted>",
		"https://user:xxxxx@registry.example",
		"docker://busybox:1.36@sha256:0123",
		"http://10.0.0.1:15008/healthz@x",
		"kind: AuthorizationPolicy\nauthorization: denied by policy",
		"authorization: token is wanted",
		"kind: Secret\nmetadata:\n  name: x",
		"data:\n  a: b\nkind: ConfigMap\n---\nkind: Secret",
		"kind: Secret\ndata:\nmetadata:\n  name: x",
		"items:\n- data:\n    a: b\n  kind: ConfigMap\n- kind: Secret\n  metadata: {}",
		`{"items":[{"data":{"a":"b"},"kind":"ConfigMap"},{"kind":"Secret","data":{}}]}`,
		"secretName: cacerts",
		"kind: Secret\ndata: {}\nmetadata: {name: x}",
		"tls-certificate-key: /etc/certs/0a1b2c3d4e5f/key.pem",
		"token system.serviceaccounts is bound",
		"base64: q" + "AIza" + strings.Repeat("a1B2_", 7) + "x",
		"base64: " + "AKIA" + strings.Repeat("Z2", 8) + "Zz",
		`"auth": "mutual, of both sides"`,
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

// Whatever the text is, nothing is left after redaction, and it is not redacted again.
func FuzzSecrets(f *testing.F) {
	for _, s := range secrets {
		f.Add([]byte(s.text))
	}
	for _, s := range []string{
		"-----BEGIN rsa PRIVATE KEY-----", "BEGIN -----BEGIN A PRIVATE KEY-----PRIVATE KEY-----",
		"-----BEGIN AAAAAAAAAABBBBBBBBBBCCCCCCCCCC PRIVATE KEY-----", "LS0tLS1CRUdJTiBDRVJU",
		"eyJeyJhbGciOiJSU.eyJaaaaaaaa.aaaaaaaa", "eyJ.eyJhbGciOiJSU.eyJaaaaaaaa.aaaaaaaa", "earer aaaaaaaaaaaaaaaaa",
		"client-key-data\" : \"QUJDQUJDQUJDQUJD", "{id-token\":\"aaaaaaaaaaaaaaaa", "tokentoken: aaaaaaaaaaaaaaaa",
		",refresh-token\f:aaaaaaaaaaaaaaaa", "\npassword\"\n:\n\"a\xffbc", "password:\"\"1234", "passwordpassword: 1234",
		"password: password: 1234", "password: ://a:b@c", "kind: Secret\n- data:\n   token: >-\n", `{"data":{"data":{"kind":"Secret"`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		redacted := Bytes(bytes.Clone(text))
		if left := In(redacted); left != "" {
			t.Fatalf("%s is left in %q", left, redacted)
		}
		if In(text) == "" && !bytes.Equal(text, redacted) {
			t.Fatalf("nothing is in it, and it was redacted: %q", redacted)
		}
	})
}

// The time is linear in the text: a stranger's bundle must not keep verify busy.
func TestHostileTextIsFast(t *testing.T) {
	for name, piece := range map[string]string{
		"tokens": "eyJaaaaaaaa.", "fields": "password:", "names": "a-token-", "quotes": "\\\"", "blanks": "token:         ",
		"objects": `{"kind":"Secret",`, "kinds": "kind: Secret\n", "items": "- kind: Secret\n- ", "URLs": "://a:", "flags": "--token ",
		"dashes": "-", "parts": "eyJ", "tokens cut off": "eyJaaaaaaaa.eyJ", "underscores": "ghp_", "bearers": "Bearer ",
	} {
		t.Run(name, func(t *testing.T) {
			text := []byte(strings.Repeat(piece, 4*window/len(piece)))
			begin := time.Now()
			In(text)
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("it took %s for 1 MiB", took)
			}
		})
	}
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
