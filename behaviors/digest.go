package behaviors

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"sync"
)

// Golden is the catalog as the golden file keeps it: one line of JSON per behavior with everything
// a verdict depends on. Proofs, hazards and states may change without the promise changing; they
// are not in it.
func Golden() string { return golden() }

var golden = sync.OnceValue(func() string {
	type line struct {
		ID       string    `json:"id"`
		Level    Level     `json:"level"`
		Istio    Range     `json:"istio"`
		Promise  string    `json:"promise"`
		Feature  Feature   `json:"feature,omitempty"`
		Needs    []Need    `json:"needs,omitempty"`
		In       []Profile `json:"in,omitempty"`
		Outcomes *Outcomes `json:"outcomes,omitempty"`
		Known    []Known   `json:"known,omitempty"`
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, x := range All() {
		// Encoding plain strings into a Builder cannot fail.
		_ = e.Encode(line{x.ID, x.Level, x.Istio, x.Promise, x.Feature, x.Needs, x.In, x.Outcomes, KnownFaults[x.ID]})
	}
	return b.String()
})

// Digest identifies the catalog: sha256 over [Golden]. It stands in every report.
func Digest() string { return digest() }

var digest = sync.OnceValue(func() string {
	sum := sha256.Sum256([]byte(Golden()))
	return "sha256:" + hex.EncodeToString(sum[:])
})
