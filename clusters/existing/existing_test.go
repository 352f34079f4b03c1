package existing

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/mesh"
)

func TestAgree(t *testing.T) {
	one := func(context, cluster string, uid types.UID, istio, trust, domain string) discovered {
		return discovered{context: context, Cluster: &inspect.Cluster{UID: uid, Name: cluster, Istio: istio, TrustDomain: trust, Domain: domain}}
	}
	f := &mesh.Fleet{}
	err := agree(f, []discovered{
		one("a", "c1", "1", "1.31.0", "t", "d"), one("b", "c2", "2", "1.30.2", "t", "d"), one("c", "c3", "3", "unknown", "t", "d"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"t", "d", "1.30.2"}, []string{f.TrustDomain, f.Domain, f.Istio}); diff != "" {
		t.Errorf("trust domain, domain and oldest Istio (-want +got):\n%s", diff)
	}
	err = agree(f, []discovered{one("a", "c1", "1", "1.31.0", "t", "d"), one("b", "c1", "2", "1.31.0", "u", "e")})
	for _, want := range []string{`both call themselves "c1"`, `trust domain "t"`, `DNS domain "d"`} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("got %v, want %q too", err, want)
		}
	}
	var misuse Usage
	err = agree(f, []discovered{one("a", "c1", "1", "1.31.0", "t", "d"), one("b", "c1", "1", "1.31.0", "t", "d")})
	if !errors.As(err, &misuse) {
		t.Fatalf("got %v, want a mistake of the user", err)
	}
	if want := "lead to the same cluster"; !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestImagesOfAllClusters(t *testing.T) {
	x := func(cluster string, images ...inspect.Image) discovered {
		return discovered{Cluster: &inspect.Cluster{Name: cluster, Images: images}}
	}
	a, b, c := mesh.ImageRef{Ref: "a"}, mesh.ImageRef{Ref: "b"}, mesh.ImageRef{Ref: "c", StandIn: "ours"}
	got := images([]discovered{
		x("c1", inspect.Image{Part: "ztunnel", ImageRef: a}, inspect.Image{Part: "pilot", ImageRef: a}),
		x("c2", inspect.Image{Part: "ztunnel", ImageRef: b}, inspect.Image{Part: "ztunnel", ImageRef: c},
			inspect.Image{Part: "pilot", ImageRef: a}),
		x("c3", inspect.Image{Part: "ztunnel", ImageRef: a}),
	})
	want := map[string]mesh.ImageRef{"pilot": a, "ztunnel": c, "ztunnel@c1": a, "ztunnel@c2": b, "ztunnel@c3": a}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("images (-want +got):\n%s", d)
	}
}

func TestAppImage(t *testing.T) {
	for istio, want := range map[string]string{
		"1.31.2":                        "docker.io/istio/app:1.31.2",
		"1.31.0-0123abc-Clean":          "docker.io/istio/app:1.31.0",
		"1.31-alpha.eed52ebb66ad-Clean": "gcr.io/istio-testing/app:1.31-alpha.eed52ebb66ad",
		"unknown-unknown-Clean":         "docker.io/istio/app:latest",
	} {
		t.Run(istio, func(t *testing.T) {
			if got := AppImage(istio); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// kubeconfig writes a file with two contexts, one of which names a file, and a third that leads
// nowhere.
func kubeconfig(t *testing.T, server string) string {
	t.Helper()
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(ca, []byte("CA"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := clientcmdapi.NewConfig()
	c.Clusters["one"] = &clientcmdapi.Cluster{Server: server}
	c.Clusters["two"] = &clientcmdapi.Cluster{Server: "https://two.example", CertificateAuthority: ca}
	c.AuthInfos["u1"] = &clientcmdapi.AuthInfo{Token: "secret-1"}
	c.AuthInfos["u2"] = &clientcmdapi.AuthInfo{Token: "secret-2"}
	c.Contexts["admin@one"] = &clientcmdapi.Context{Cluster: "one", AuthInfo: "u1"}
	c.Contexts["two"] = &clientcmdapi.Context{Cluster: "two", AuthInfo: "u2"}
	c.CurrentContext = "two"
	path := filepath.Join(dir, "config")
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMinimal(t *testing.T) {
	config, err := clientcmd.LoadFromFile(kubeconfig(t, "https://one.example"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := minimal(config, []string{"admin@one", "two"})
	if err != nil {
		t.Fatal(err)
	}
	c := got[0]
	sizes := map[string]int{"contexts": len(c.Contexts), "clusters": len(c.Clusters), "users": len(c.AuthInfos)}
	if diff := cmp.Diff(map[string]int{"contexts": 1, "clusters": 1, "users": 1}, sizes); diff != "" {
		t.Errorf("the copy holds more or less than its context (-want +got):\n%s", diff)
	}
	if c.CurrentContext != "admin@one" {
		t.Errorf("the copy's context: got %q, want admin@one", c.CurrentContext)
	}
	if token := c.AuthInfos["u1"].Token; token != "secret-1" {
		t.Errorf("the copy's token: got %q, want secret-1", token)
	}
	two := got[1].Clusters["two"]
	if two.CertificateAuthority != "" {
		t.Errorf("the copy depends on the file %s", two.CertificateAuthority)
	}
	if ca := string(two.CertificateAuthorityData); ca != "CA" {
		t.Errorf("the copy's authority: got %q, want CA", ca)
	}
	if n := len(config.Contexts); n != 2 {
		t.Errorf("the original was changed: %d contexts, want 2", n)
	}
	if config.CurrentContext != "two" {
		t.Errorf("the original was changed: got context %q, want two", config.CurrentContext)
	}
	for want, contexts := range map[string][]string{`it has: admin@one, two`: {"nope"}, "--contexts": {}, "once": {"two", "two"}} {
		t.Run(want, func(t *testing.T) {
			if _, err := minimal(config, contexts); !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("%q: got %v, want %q", contexts, err, want)
			}
		})
	}
	if got := fileName("arn:aws:eks:eu/../../etc"); strings.ContainsAny(got, "/:") {
		t.Errorf("file name %q leads elsewhere", got)
	}
}

// A folder that somebody prepared leads no credential elsewhere.
func TestCopiesFollowNoLinks(t *testing.T) {
	config, err := clientcmd.LoadFromFile(kubeconfig(t, "https://one.example"))
	if err != nil {
		t.Fatal(err)
	}
	copies, err := minimal(config, []string{"two"})
	if err != nil {
		t.Fatal(err)
	}
	for name, prepare := range map[string]func(dir, outside string) error{
		"the folder": func(dir, outside string) error {
			return os.Symlink(filepath.Dir(outside), filepath.Join(dir, kubeconfigs))
		},
		"the file": func(dir, outside string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, kubeconfigs), 0o700), os.Symlink(outside, filepath.Join(dir, kubeconfigs, "two.yaml")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "two.yaml")
			if err := prepare(dir, outside); err != nil {
				t.Fatal(err)
			}
			err := writeCopies(dir, []discovered{{context: "two"}}, copies)
			if _, there := os.Lstat(outside); there == nil {
				t.Error("it was written outside")
			}
			if err != nil {
				return
			}
			st, err := os.Lstat(filepath.Join(dir, kubeconfigs, "two.yaml"))
			if err != nil {
				t.Fatalf("got %v, want a file", err)
			}
			if st.Mode() != 0o600 {
				t.Errorf("got mode %s, want a plain file with mode 0600", st.Mode())
			}
		})
	}
}

func TestDiscoverWritesNothingWhenItFails(t *testing.T) {
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	defer refuses.Close()
	path := kubeconfig(t, refuses.URL)
	before, _ := os.ReadFile(path)
	dir := filepath.Join(t.TempDir(), "out")
	for want, o := range map[string]Options{
		"does not know our credentials": {Contexts: []string{"admin@one"}, Kubeconfig: path},
		"it has:":                       {Contexts: []string{"nope"}, Kubeconfig: path},
		"kubeconfig":                    {Contexts: []string{"a"}, Kubeconfig: filepath.Join(dir, "none")},
	} {
		t.Run(want, func(t *testing.T) {
			o.Dir = dir
			if _, err := Discover(context.Background(), o); !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("got %v, want %q", err, want)
			} else if strings.Contains(err.Error(), "secret-1") {
				t.Errorf("a token is in %v", err)
			}
		})
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("the user's kubeconfig was changed")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "fleet.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Discover(context.Background(), Options{Contexts: []string{"two"}, Kubeconfig: path, Dir: dir})
	if want := "exists already"; !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("a fleet file is overwritten: got %v, want %q", err, want)
	}
}

// The rights may grow with the suite, but never to these.
func TestRBACIsNarrow(t *testing.T) {
	objects := RBAC(Rights{Namespaces: []string{"amc-mesh", "amc-plain"}})
	never := regexp.MustCompile(`^(secrets|pods/exec)$|roles$|rolebindings$`)
	writes := func(r rbacv1.PolicyRule) bool {
		for _, v := range r.Verbs {
			if v != "get" && v != "list" && v != "watch" {
				return true
			}
		}
		return false
	}
	for _, o := range objects {
		var rules []rbacv1.PolicyRule
		where := o.GetNamespace()
		switch o := o.Object.(type) {
		case *rbacv1.ClusterRole:
			rules = o.Rules
		case *rbacv1.Role:
			rules = o.Rules
		}
		if len(o.Why) != len(rules) {
			t.Errorf("%s %s: %d reasons for %d rules", o.GetObjectKind().GroupVersionKind().Kind, o.GetName(), len(o.Why), len(rules))
		}
		for _, r := range rules {
			for _, res := range r.Resources {
				if never.MatchString(res) {
					t.Errorf("in %q: got %s of %s, want no right to it at all", where, r.Verbs, res)
				}
				if r.APIGroups[0] == "*" {
					t.Errorf("in %q: got %s of %s in every API group, want the groups by name", where, r.Verbs, res)
				}
				if r.Verbs[0] == "*" {
					t.Errorf("in %q: got every verb of %s, want the verbs by name", where, res)
				}
				if !writes(r) || strings.HasPrefix(where, "amc-") {
					continue
				}
				if res == "*" {
					t.Errorf("in %q: got %s of every resource in %s, want the resources by name", where, r.Verbs, r.APIGroups)
				}
				if res != "pods/portforward" && len(r.ResourceNames) == 0 {
					t.Errorf("in %q: got %s of %s, want it in the suite's namespaces only", where, r.Verbs, res)
				}
			}
		}
	}
	b, err := YAML(objects)
	if err != nil {
		t.Fatal(err)
	}
	docs := 0
	for _, doc := range strings.Split(string(b), "---\n")[1:] {
		var m struct {
			metav1.TypeMeta   `json:",inline"`
			metav1.ObjectMeta `json:"metadata"`
		}
		if err := yaml.Unmarshal([]byte(doc), &m); err != nil {
			t.Errorf("got %v, want YAML of an object:\n%s", err, doc)
		}
		for field, value := range map[string]string{"kind": m.Kind, "name": m.Name, "apiVersion": m.APIVersion} {
			if value == "" {
				t.Errorf("no %s in %s", field, doc)
			}
		}
		docs++
	}
	rules := strings.Count(string(b), "- apiGroups:")
	if rules == 0 {
		t.Errorf("no rule in the YAML:\n%s", b)
	}
	if n := strings.Count(string(b), "\n# "); n != rules {
		t.Errorf("%d reasons in the YAML, want one for each of %d rules:\n%s", n, rules, b)
	}
	changesIstioSystem := func(o Rights) bool {
		for _, g := range RBAC(o) {
			if c, ok := g.Object.(*rbacv1.ClusterRole); ok {
				for _, r := range c.Rules {
					if writes(r) && slices.Contains(r.ResourceNames, "istio-system") {
						return true
					}
				}
			}
		}
		return false
	}
	if changesIstioSystem(Rights{Namespaces: []string{"amc-mesh"}}) {
		t.Error("istio-system may be changed without --allow-mesh-changes")
	}
	if !changesIstioSystem(Rights{MeshAdmin: true}) {
		t.Error("istio-system may not be changed with --allow-mesh-changes")
	}
	patches := func(o Rights, resource string) bool {
		return slices.ContainsFunc(RBAC(o), func(g Grant) bool {
			role, ok := g.Object.(*rbacv1.Role)
			return ok && role.Namespace == "istio-system" && slices.ContainsFunc(role.Rules, func(r rbacv1.PolicyRule) bool {
				return slices.Contains(r.Resources, resource) && slices.Contains(r.Verbs, "patch")
			})
		})
	}
	for _, resource := range []string{"deployments", "configmaps", "authorizationpolicies"} {
		if patches(Rights{Namespaces: []string{"amc-mesh"}}, resource) {
			t.Errorf("%s of istio-system may be changed without --allow-mesh-changes", resource)
		}
		if !patches(Rights{MeshAdmin: true}, resource) {
			t.Errorf("%s of istio-system may not be changed with --allow-mesh-changes", resource)
		}
	}
	if docs != len(objects) {
		t.Errorf("%d documents for %d objects", docs, len(objects))
	}
}

// The gateway specs go from a Gateway's address over its Service to the pods behind it, in whatever
// namespace the gateways are.
func TestRBACFollowsGateways(t *testing.T) {
	for _, namespace := range []string{"istio-system", "gateways"} {
		t.Run(namespace, func(t *testing.T) {
			got := map[string]bool{}
			for _, g := range RBAC(Rights{Namespaces: []string{"amc-mesh"}, GatewayNamespace: namespace}) {
				role, ok := g.Object.(*rbacv1.Role)
				if !ok || role.Namespace != namespace {
					continue
				}
				for _, r := range role.Rules {
					for _, resource := range r.Resources {
						for _, verb := range r.Verbs {
							got[verb+" "+resource] = true
						}
					}
				}
			}
			for _, want := range []string{"list services", "list endpointslices", "get pods", "create pods/portforward"} {
				if !got[want] {
					t.Errorf("no right to %s", want)
				}
			}
		})
	}
}

// A node that is paused takes connections and never answers: the wait must end, and say which
// cluster it was.
func TestSilentClusterIsNamed(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	path := kubeconfig(t, "https://"+silent.Addr().String())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	dir := filepath.Join(t.TempDir(), "out")
	_, err = Discover(ctx, Options{Contexts: []string{"admin@one"}, Kubeconfig: path, Dir: dir})
	for _, want := range []string{`context "admin@one"`, "does not answer", "--context admin@one version`"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}
