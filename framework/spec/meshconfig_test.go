package spec

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/framework/istiod"
)

// Settings as istiod reads them.
func TestMeshSettings(t *testing.T) {
	rule := ScopeRule{Namespaces: Labeled("a", "b"), Services: Unlabeled("c"), Scope: GlobalScope}
	const asJSON = `{"namespaceSelector":{"matchLabels":{"a":"b"}},` +
		`"servicesSelector":{"matchExpressions":[{"key":"c","operator":"DoesNotExist"}]},"scope":"GLOBAL"}`
	const hidden = `{"matchExpressions":[{"key":"kubernetes.io/metadata.name","operator":"NotIn","values":["n"]}]}`
	for name, c := range map[string]struct {
		setting      istiod.MeshSetting
		before, want string
	}{
		"no rules":                   {ScopeRules(), `[{"scope":"LOCAL"}]`, `[]`},
		"rules":                      {ScopeRules(rule), `[{"scope":"LOCAL"}]`, `[` + asJSON + `]`},
		"more rules":                 {MoreScopeRules(rule), `[{"scope":"LOCAL"}]`, `[{"scope":"LOCAL"},` + asJSON + `]`},
		"rules where there are none": {MoreScopeRules(rule), `null`, `[` + asJSON + `]`},
		"hidden namespace":           {HiddenNamespace("n"), `null`, `[` + hidden + `]`},
		"one more hidden namespace": {HiddenNamespace("n"), `[{"matchLabels":{"a":"b"}},` + hidden + `]`, `[{"matchExpressions":[{"key":` +
			`"kubernetes.io/metadata.name","operator":"NotIn","values":["n"]}],"matchLabels":{"a":"b"}},{"matchExpressions":[{"key":` +
			`"kubernetes.io/metadata.name","operator":"NotIn","values":["n"]},{"key":"kubernetes.io/metadata.name","operator":"NotIn",` +
			`"values":["n"]}]}]`},
	} {
		t.Run(name, func(t *testing.T) {
			var before any
			if err := json.Unmarshal([]byte(c.before), &before); err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(c.setting.Change(before))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
