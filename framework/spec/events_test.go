package spec

import "testing"

func TestWithReplicas(t *testing.T) {
	for name, c := range map[string]struct {
		text, want string
		fails      bool
	}{
		"named":             {"spec: {replicas: 2}\n", "spec:\n  replicas: 0\n", false},
		"beside others":     {"spec: {replicas: 2, paused: true}\n", "spec:\n  paused: true\n  replicas: 0\n", false},
		"not named":         {"spec: {template: {}}\n", "", false},
		"nothing to change": {"", "", false},
		"no YAML":           {"spec: {", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := withReplicas(c.text, 0); got != c.want || (err != nil) != c.fails {
				t.Errorf("got %q and %v, want %q", got, err, c.want)
			}
		})
	}
}
