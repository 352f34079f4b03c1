package mutants

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestChangedSecrets(t *testing.T) {
	secret := func(uid types.UID, data string, labels map[string]string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{UID: uid, Labels: labels}, Data: map[string][]byte{"c2": []byte(data)}}
	}
	known := map[types.UID]corev1.Secret{"1": *secret("1", "old", nil)}
	for name, c := range map[string]struct {
		secret *corev1.Secret
		want   bool
	}{
		"as it was":          {secret("1", "old", nil), false},
		"with another label": {secret("1", "old", map[string]string{"a": "b"}), false},
		"another content":    {secret("1", "new", nil), true},
		"made again":         {secret("2", "old", nil), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := changed(known, c.secret); got != c.want {
				t.Errorf("got %t, want %t", got, c.want)
			}
		})
	}
}
