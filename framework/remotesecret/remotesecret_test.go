package remotesecret

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authentication "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kubefake "k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"ambient.test/conformance/framework/mesh"
)

// tokenOf is a token as an API server issues it, without a signature.
func tokenOf(subject string) string {
	return "header." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"sub":%q}`, subject)) + ".signature"
}

var other = &mesh.Cluster{Name: "c2", APIServer: "https://192.0.2.2:6443"}

func secret(t *testing.T, token string) *corev1.Secret {
	t.Helper()
	s, err := New(other, []byte(token), []byte("authority"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func cluster(objects ...client.Object) *mesh.Cluster {
	c := &mesh.Cluster{Name: "c1", Kubeconfig: "k"}
	c.UseClients(mesh.Clients{Client: fake.NewClientBuilder().WithScheme(mesh.Scheme).WithObjects(objects...).Build()})
	return c
}

func read(t *testing.T, c *mesh.Cluster, s *corev1.Secret) *corev1.Secret {
	t.Helper()
	var got corev1.Secret
	if err := c.Client().Get(t.Context(), client.ObjectKeyFromObject(s), &got); err != nil {
		t.Fatal(err)
	}
	return &got
}

func TestFind(t *testing.T) {
	good := secret(t, "t")
	with := func(change func(*corev1.Secret)) *corev1.Secret { s := good.DeepCopy(); change(s); return s }
	for name, c := range map[string]struct {
		secrets []client.Object
		want    string // in the error; empty: it is found
	}{
		"the only one":         {[]client.Object{good}, ""},
		"beside another's":     {[]client.Object{good, with(func(s *corev1.Secret) { s.Name, s.Data = "x", map[string][]byte{"c3": nil} })}, ""},
		"none":                 {nil, "found 0 with it: run `kubectl --kubeconfig k -n istio-system get secrets -l istio/multiCluster=true`"},
		"without its label":    {[]client.Object{with(func(s *corev1.Secret) { s.Labels = nil })}, "found 0"},
		"in another namespace": {[]client.Object{with(func(s *corev1.Secret) { s.Namespace = "x" })}, "found 0"},
		"two":                  {[]client.Object{good, with(func(s *corev1.Secret) { s.Name = "x" })}, "found 2"},
		"one for two clusters": {[]client.Object{with(func(s *corev1.Secret) { s.Data["c3"] = nil })}, "found 1"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Find(t.Context(), cluster(c.secrets...), "c2")
			if c.want != "" {
				if !strings.Contains(fmt.Sprint(err), c.want) {
					t.Errorf("got %v, want an error with %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Name != good.Name {
				t.Errorf("got %s, want %s", got.Name, good.Name)
			}
		})
	}
}

func TestPut(t *testing.T) {
	s := secret(t, "t")
	changed := s.DeepCopy()
	changed.Labels, changed.Data = nil, map[string][]byte{"c2": []byte("other")}
	for name, c := range map[string]*mesh.Cluster{"that is there": cluster(s), "that is not": cluster()} {
		t.Run(name, func(t *testing.T) {
			for _, want := range []*corev1.Secret{changed, s} {
				if err := Put(t.Context(), c, want); err != nil {
					t.Fatal(err)
				}
				got := read(t, c, s)
				if d := cmp.Diff(want.Data, got.Data); d != "" {
					t.Errorf("data (-want +got):\n%s", d)
				}
				if d := cmp.Diff(want.Labels, got.Labels); d != "" {
					t.Errorf("labels (-want +got):\n%s", d)
				}
			}
		})
	}
}

func TestDelete(t *testing.T) {
	s := secret(t, "t")
	c := cluster(s)
	for range 2 { // the second time it is gone already
		if err := Delete(t.Context(), c, s); err != nil {
			t.Fatal(err)
		}
	}
	all, err := All(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 0 {
		t.Errorf("got %d secrets, want none", len(all))
	}
}

func TestEdit(t *testing.T) {
	s := secret(t, "t")
	got, err := Edit(s, "c2", func(server *clientcmdapi.Cluster, user *clientcmdapi.AuthInfo) error {
		server.Server, user.Token = "https://x", "new"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.Load(got.Data["c2"])
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"https://x", "new"}, []string{config.Clusters["c2"].Server, config.AuthInfos["c2"].Token}); d != "" {
		t.Errorf("server and token (-want +got):\n%s", d)
	}
	if d := cmp.Diff(secret(t, "t").Data, s.Data); d != "" {
		t.Errorf("the secret itself has changed (-want +got):\n%s", d)
	}
	s.Data["c2"] = []byte("kind: Config\napiVersion: v1\n")
	if _, err := Edit(s, "c2", func(*clientcmdapi.Cluster, *clientcmdapi.AuthInfo) error { return nil }); err == nil {
		t.Error("a kubeconfig that leads nowhere was taken")
	}
}

func TestRenew(t *testing.T) {
	const account = "system:serviceaccount:istio-system:reader"
	for name, c := range map[string]struct {
		token string
		want  string // in the error; empty: a new token
	}{
		"of an account":      {tokenOf(account), ""},
		"of a person":        {tokenOf("jane"), `its token is of "jane", which is no ServiceAccount`},
		"no token":           {"", "no JSON Web Token"},
		"an opaque one":      {"secret-thing", "no JSON Web Token"},
		"one that is broken": {"a.secret-thing.c", "no JSON Web Token"},
	} {
		t.Run(name, func(t *testing.T) {
			kube := kubefake.NewClientset()
			var asked []string
			kube.PrependReactor("create", "serviceaccounts", func(a k8stesting.Action) (bool, runtime.Object, error) {
				asked = append(asked, a.GetNamespace()+"/"+a.(k8stesting.CreateActionImpl).Name)
				return true, &authentication.TokenRequest{Status: authentication.TokenRequestStatus{Token: "issued"}}, nil
			})
			issuer := &mesh.Cluster{Name: "c2"}
			issuer.UseClients(mesh.Clients{Kube: kube})
			got, err := Renew(context.Background(), secret(t, c.token), issuer)
			if c.want != "" {
				if !strings.Contains(fmt.Sprint(err), c.want) {
					t.Errorf("got %v, want an error with %q", err, c.want)
				}
				if strings.Contains(fmt.Sprint(err), "secret-thing") {
					t.Errorf("the error shows the token: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(secret(t, "issued").Data, got.Data); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if d := cmp.Diff([]string{"istio-system/reader"}, asked); d != "" {
				t.Errorf("whose token was asked for (-want +got):\n%s", d)
			}
		})
	}
}
