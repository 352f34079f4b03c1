package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/mesh/meshtest"
)

const token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJlLW9mLWEtdG9rZW4"

// apiServer answers what evidence asks a cluster, but for port-forwards; it notes the paths.
type apiServer struct {
	mu    sync.Mutex
	asked []string
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.asked = append(a.asked, r.URL.Path)
	a.mu.Unlock()
	answer := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	meta := func(ns, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: ns, Name: name, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "noise"}}}
	}
	pod := func(ns, name string, labels map[string]string) corev1.Pod {
		m := meta(ns, name)
		m.Labels = labels
		return corev1.Pod{ObjectMeta: m, Status: corev1.PodStatus{Phase: corev1.PodRunning,
			ContainerStatuses: []corev1.ContainerStatus{{Name: "main"}}}}
	}
	p := r.URL.Path
	switch {
	case strings.HasSuffix(p, "/log"):
		fmt.Fprintln(w, "first line")
		fmt.Fprintln(w, "Authorization: Bearer "+token)
		if strings.Contains(p, "/chatty/") {
			for range 3 << 16 {
				fmt.Fprintln(w, "a line of 32 bytes, newline too")
			}
		}
		fmt.Fprintln(w, "last line")
	case p == "/api/v1/namespaces/specs/pods":
		answer(corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"},
			Items: []corev1.Pod{pod("specs", "echo", nil), pod("specs", "chatty", nil)}})
	case p == "/api/v1/namespaces/istio-system/pods" && r.URL.Query().Get("labelSelector") == "app=istiod":
		answer(corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"},
			Items: []corev1.Pod{pod("istio-system", "istiod", map[string]string{"app": "istiod"})}})
	case p == "/api/v1/namespaces/specs/services":
		answer(corev1.ServiceList{TypeMeta: metav1.TypeMeta{Kind: "ServiceList", APIVersion: "v1"},
			Items: []corev1.Service{{TypeMeta: metav1.TypeMeta{Kind: "Service", APIVersion: "v1"}, ObjectMeta: meta("specs", "echo-service")}}})
	case p == "/api/v1/namespaces/specs/events":
		old, fresh := metav1.NewTime(time.Now().Add(-time.Hour)), metav1.Now()
		answer(corev1.EventList{Items: []corev1.Event{
			{Reason: "Fresh", Type: "Warning", Message: "of this spec", LastTimestamp: fresh,
				InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "echo"}},
			{Reason: "Old", LastTimestamp: old},
		}})
	case strings.HasSuffix(p, "/pods"), strings.HasSuffix(p, "/events"):
		answer(corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}})
	case p == "/api/v1/namespaces/specs":
		answer(corev1.Namespace{TypeMeta: metav1.TypeMeta{Kind: "Namespace", APIVersion: "v1"}, ObjectMeta: metav1.ObjectMeta{Name: "specs"}})
	default:
		w.WriteHeader(http.StatusNotFound)
		answer(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
			Reason: metav1.StatusReasonNotFound, Code: 404})
	}
}

func cluster(t *testing.T, name string, s *httptest.Server) *mesh.Cluster {
	t.Helper()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	path := meshtest.Kubeconfig(t, s.URL)
	return &mesh.Cluster{Name: name, Network: name, Kubeconfig: path}
}

// holds fails t unless a file's content has all of these and none of those.
func holds(t *testing.T, content string, these, those []string) {
	t.Helper()
	for _, want := range these {
		if !strings.Contains(content, want) {
			t.Errorf("got no %q in %s", want, content)
		}
	}
	for _, unwanted := range those {
		if strings.Contains(content, unwanted) {
			t.Errorf("got %q, want none, in %s", unwanted, content)
		}
	}
}

func content(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func TestSave(t *testing.T) {
	api := &apiServer{}
	dead := httptest.NewServer(http.NotFoundHandler())
	f := &mesh.Fleet{Clusters: []*mesh.Cluster{cluster(t, "well", httptest.NewServer(api)), cluster(t, "dead", dead)}}
	dead.Close()
	dir := t.TempDir()
	err := Save(t.Context(), dir, f, Case{Since: time.Now().Add(-time.Minute), Namespaces: []string{"specs"},
		Summary: "it broke, Bearer " + token, Calls: []string{"a -> b: reset"}})
	if err != nil {
		t.Fatal(err)
	}
	holds(t, content(t, dir, "well/specs.objects.yaml"), []string{"name: echo-service", "kind: Namespace"}, []string{"managedFields"})
	holds(t, content(t, dir, "well/specs.events.txt"), []string{"Warning Fresh Pod/echo: of this spec"}, []string{"Old"})
	if s := content(t, dir, "calls.txt"); s != "a -> b: reset\n" {
		t.Errorf("calls: %s", s)
	}
	holds(t, content(t, dir, "well/logs/specs/echo.main.log"), []string{"first line", "last line"}, nil)
	if s := content(t, dir, "well/logs/specs/chatty.main.log"); len(s) > maxFile+100 {
		t.Errorf("a chatty log has %d bytes", len(s))
	}
	missing := content(t, dir, MissingFile)
	for _, want := range []string{"dead/istiod-syncz.json", "well/istiod-syncz.json", "well/logs of app=ztunnel: there is no such pod"} {
		if !strings.Contains(missing, want) {
			t.Errorf("missing.txt does not tell of %q:\n%s", want, missing)
		}
	}
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if strings.Contains(content(t, path), token) {
			t.Errorf("%s holds a token", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	api.mu.Lock()
	defer api.mu.Unlock()
	for _, p := range api.asked {
		if strings.Contains(p, "secrets") {
			t.Errorf("Secrets were asked for: %s", p)
		}
	}
	if len(api.asked) < 10 {
		t.Errorf("only asked for %v", api.asked)
	}
}

// Time is synctest's: what never answers is left behind when the time is over, and named.
func TestGatherLeavesBehindWhatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), Patience)
		defer cancel()
		never := make(chan struct{})
		defer close(never)
		got := map[string]string{}
		missing := gather(ctx, map[string]func(context.Context, ask){
			"a": func(_ context.Context, ask ask) {
				ask("a/quick", func(context.Context) ([]byte, error) { return []byte("here"), nil })
				ask("a/half", func(context.Context) ([]byte, error) { return []byte("some"), errors.New("then it broke") })
				ask("a/deaf", func(context.Context) ([]byte, error) { <-never; return nil, nil }) // not even ctx ends it
			},
			"b": func(context.Context, ask) { <-never },
		}, func(file string, data []byte) { got[file] = string(data) })
		if diff := cmp.Diff(map[string]string{"a/quick": "here", "a/half": "some"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		want := []string{"a/deaf: did not come in time", "a/half: then it broke", "b: what was not even asked for: did not come in time"}
		if diff := cmp.Diff(want, missing); diff != "" {
			t.Errorf("missing (-want +got):\n%s", diff)
		}
	})
}

func TestBound(t *testing.T) {
	lines := []byte(strings.Repeat("0123456\n", 100))
	if got := bound(lines, 800, true); len(got) != 800 {
		t.Errorf("cut without need to %d", len(got))
	}
	lines = append(lines, "the end\n"...)
	end := string(bound(lines, 80, true))
	if !strings.HasSuffix(end, "the end\n") {
		t.Errorf("of a log the end counts: %q", end)
	}
	if !strings.HasPrefix(end, "[cut: 808 bytes") {
		t.Errorf("a log says first what was cut: %q", end)
	}
	if n := len(end); n > 150 {
		t.Errorf("got %d bytes, want at most 150", n)
	}
	beginning := string(bound(lines, 80, false))
	if !strings.HasPrefix(beginning, "0123456\n") {
		t.Errorf("of other files the beginning counts: %q", beginning)
	}
	if !strings.HasSuffix(beginning, "kept]\n") {
		t.Errorf("other files say last what was kept: %q", beginning)
	}
	if strings.Contains(beginning, "the end") {
		t.Errorf("of other files the end is cut: %q", beginning)
	}
}

func TestSinkIsBoundedInAll(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	s := sink{root: root}
	big := []byte(strings.Repeat("0123456\n", maxFile/4))
	for i := range 40 {
		s.put(fmt.Sprintf("c/%d.log", i), big)
	}
	if want := maxCase + (1 << 20); s.used > want {
		t.Errorf("got %d bytes, want at most %d", s.used, want)
	}
	if len(s.errs) > 0 {
		t.Errorf("got errors %v", s.errs)
	}
	s.put("c", nil) // a folder is there
	if len(s.errs) != 1 {
		t.Errorf("a file that cannot be written must be told: %v", s.errs)
	}
}
