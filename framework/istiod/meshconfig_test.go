package istiod

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

const profile = `trustDomain: td
serviceScopeConfigs:
- servicesSelector: {matchExpressions: [{key: istio.io/global, operator: In, values: ["true"]}]}
  scope: GLOBAL
`

// A setting is changed, and the others stay.
func TestChangedMeshConfig(t *testing.T) {
	rule := map[string]any{"scope": "LOCAL"}
	for name, c := range map[string]struct {
		config  string
		setting string
		after   any // what the setting becomes
		want    map[string]any
		err     string
	}{
		"emptied":   {profile, "serviceScopeConfigs", []any{}, map[string]any{"trustDomain": "td", "serviceScopeConfigs": []any{}}, ""},
		"removed":   {profile, "serviceScopeConfigs", nil, map[string]any{"trustDomain": "td"}, ""},
		"added":     {"", "serviceScopeConfigs", []any{rule}, map[string]any{"serviceScopeConfigs": []any{rule}}, ""},
		"the same":  {profile, "trustDomain", "td", nil, "it is so already"},
		"no such":   {profile, "scopes", []any{}, nil, "no setting of this name"},
		"malformed": {"a: [", "trustDomain", "td", nil, "it is malformed"},
		"no value":  {profile, "trustDomain", 1, nil, "trustDomain"},
	} {
		t.Run(name, func(t *testing.T) {
			text, _, _, err := changed(c.config, MeshSetting{c.setting, func(any) any { return c.after }})
			if c.err != "" {
				if !strings.Contains(fmt.Sprint(err), c.err) {
					t.Errorf("got %v, want it to say %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]any
			if err := yaml.Unmarshal([]byte(text), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What an istiod has in force is compared by its meaning, not by how it is written.
func TestOtherThan(t *testing.T) {
	_, before, after, err := changed(profile, MeshSetting{"serviceScopeConfigs", func(any) any { return []any{} }})
	if err != nil {
		t.Fatal(err)
	}
	inForce := `{"accessLogFile":"/dev/stdout","serviceScopeConfigs":[{"servicesSelector":
		{"matchExpressions":[{"key":"istio.io/global","operator":"In","values":["true"]}]},"scope":"GLOBAL"}]}`
	if got := otherThan(before, "serviceScopeConfigs", []byte(inForce)); got != "" {
		t.Errorf("before: got %s, want nothing amiss", got)
	}
	got := otherThan(after, "serviceScopeConfigs", []byte(inForce))
	if want := `"key"`; !strings.Contains(got, want) {
		t.Errorf("after: got %q, want it to say %q", got, want)
	}
	if got := otherThan(after, "serviceScopeConfigs", []byte(`{"trustDomain":"td"}`)); got != "" {
		t.Errorf("after, taken: got %s, want nothing amiss", got)
	}
	if got := otherThan(after, "serviceScopeConfigs", []byte("Authentication required")); !strings.Contains(got, "something else") {
		t.Errorf("got %q, want that it is no configuration", got)
	}
}
