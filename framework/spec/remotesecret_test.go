package spec

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"

	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/remotesecret"
)

// secretFacts are what istiod looks at in a remote secret.
type secretFacts struct {
	Namespace, Label, Server, Token, TokenFile, Command string
	Kubeconfig                                          bool
}

func TestSecretChanges(t *testing.T) {
	good := secretFacts{istiod.Namespace, "true", "https://192.0.2.2:6443", "t", "", "", true}
	with := func(change func(*secretFacts)) secretFacts { f := good; change(&f); return f }
	for _, c := range []struct {
		change SecretChange
		want   secretFacts
	}{
		{WithoutLabel, with(func(f *secretFacts) { f.Label = "" })},
		{InOtherNamespace, with(func(f *secretFacts) { f.Namespace = fixture.MeshNamespaceB })},
		{NoKubeconfig, secretFacts{Namespace: istiod.Namespace, Label: "true"}},
		{RunsCommand, with(func(f *secretFacts) { f.Token, f.Command = "", "true" })},
		{ReadsFile, with(func(f *secretFacts) { f.Token, f.TokenFile = "", "/var/run/secrets/kubernetes.io/serviceaccount/token" })},
		{WrongToken, with(func(f *secretFacts) { f.Token = "wrong" })},
		{DeadServer, with(func(f *secretFacts) { f.Server = "https://192.0.2.2:1" })},
	} {
		t.Run(c.change.Says, func(t *testing.T) {
			s, err := remotesecret.New(&mesh.Cluster{Name: "c2", APIServer: "https://192.0.2.2:6443"}, []byte("t"), []byte("authority"))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.change.do(s, "c2"); err != nil {
				t.Fatal(err)
			}
			got := secretFacts{Namespace: s.Namespace, Label: s.Labels[remotesecret.Label]}
			if config, err := clientcmd.Load(s.Data["c2"]); err == nil {
				got.Kubeconfig = true
				got.Server, got.Token, got.TokenFile = config.Clusters["c2"].Server, config.AuthInfos["c2"].Token, config.AuthInfos["c2"].TokenFile
				if x := config.AuthInfos["c2"].Exec; x != nil {
					got.Command = x.Command
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}
