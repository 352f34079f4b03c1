package meshtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/apimachinery/pkg/version"
)

// APIServer serves recorded objects of a cluster to who reads them, and forwards ports of pods.
type APIServer struct {
	Kubelet
	Objects []*unstructured.Unstructured
}

// Recorded reads the objects of a YAML file.
func Recorded(t *testing.T, file string) *APIServer {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	s := &APIServer{Kubelet: Kubelet{Pods: map[string]Ports{}}}
	docs := utilyaml.NewYAMLOrJSONDecoder(bufio.NewReader(f), 4096)
	for {
		o := &unstructured.Unstructured{}
		switch err := docs.Decode(o); {
		case errors.Is(err, io.EOF):
			return s
		case err != nil:
			t.Fatalf("%s: %v", file, err)
		}
		s.Objects = append(s.Objects, o)
	}
}

// Start serves until the test ends, and returns the server's address.
func (s *APIServer) Start(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server.URL
}

// Answer lets the pods with a label answer a GET on a port. There must be such pods.
func (s *APIServer) Answer(t *testing.T, label, value string, port int, path, answer string) {
	t.Helper()
	found := false
	for _, o := range s.Objects {
		if o.GetKind() != "Pod" || o.GetLabels()[label] != value {
			continue
		}
		found = true
		name := o.GetNamespace() + "/" + o.GetName()
		if s.Pods[name] == nil {
			s.Pods[name] = Ports{}
		}
		s.Pods[name][port] = func(data io.ReadWriter) error {
			r, err := http.ReadRequest(bufio.NewReader(data))
			if err != nil {
				return err
			}
			code, body := http.StatusOK, answer
			if r.URL.RequestURI() != path {
				code, body = http.StatusNotFound, "only "+path+" is answered"
			}
			w := http.Response{StatusCode: code, ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(body)), Close: true,
				Body: io.NopCloser(strings.NewReader(body))}
			return w.Write(data)
		}
	}
	if !found {
		t.Fatalf("no pod has the label %s=%s", label, value)
	}
}

// ServeHTTP answers discovery, reads of objects and port-forwards.
func (s *APIServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.Trim(r.URL.Path, "/")
	switch part := strings.Split(path, "/"); {
	case strings.HasSuffix(path, "/portforward"):
		s.Kubelet.ServeHTTP(w, r)
	case path == "version":
		write(w, http.StatusOK, version.Info{GitVersion: "v1.36.3"})
	case path == "api":
		write(w, http.StatusOK, metav1.APIVersions{Versions: []string{"v1"}})
	case path == "apis":
		write(w, http.StatusOK, s.groups())
	case part[0] == "api" && len(part) >= 2:
		s.read(w, r, schema.GroupVersion{Version: part[1]}, part[2:])
	case part[0] == "apis" && len(part) >= 3:
		s.read(w, r, schema.GroupVersion{Group: part[1], Version: part[2]}, part[3:])
	default:
		none(w, path)
	}
}

func (s *APIServer) groups() (all metav1.APIGroupList) {
	for _, o := range s.Objects {
		gv := o.GroupVersionKind().GroupVersion()
		known := slices.ContainsFunc(all.Groups, func(g metav1.APIGroup) bool { return g.Name == gv.Group })
		if gv.Group == "" || known {
			continue
		}
		v := metav1.GroupVersionForDiscovery{GroupVersion: gv.String(), Version: gv.Version}
		all.Groups = append(all.Groups, metav1.APIGroup{Name: gv.Group, Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v})
	}
	return all
}

// read answers for the resources of a group and version: what there are, a list, or one object.
func (s *APIServer) read(w http.ResponseWriter, r *http.Request, gv schema.GroupVersion, path []string) {
	if len(path) == 0 {
		write(w, http.StatusOK, s.resources(gv))
		return
	}
	namespace := ""
	if path[0] == "namespaces" && len(path) > 2 {
		namespace, path = path[1], path[2:]
	}
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	list := unstructured.UnstructuredList{Object: map[string]any{"apiVersion": gv.String()}}
	for _, o := range s.Objects {
		plural, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
		if plural.GroupVersion() != gv || plural.Resource != path[0] {
			continue
		}
		list.SetKind(o.GetKind() + "List")
		if namespace != "" && o.GetNamespace() != namespace {
			continue
		}
		if len(path) == 2 && o.GetName() == path[1] {
			write(w, http.StatusOK, o)
			return
		}
		if len(path) == 1 && selector.Matches(labels.Set(o.GetLabels())) {
			list.Items = append(list.Items, *o)
		}
	}
	if len(path) > 1 || list.GetKind() == "" {
		none(w, strings.Join(path, "/"))
		return
	}
	write(w, http.StatusOK, &list)
}

func (s *APIServer) resources(gv schema.GroupVersion) metav1.APIResourceList {
	all := metav1.APIResourceList{GroupVersion: gv.String()}
	for _, o := range s.Objects {
		plural, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
		known := slices.ContainsFunc(all.APIResources, func(r metav1.APIResource) bool { return r.Name == plural.Resource })
		if plural.GroupVersion() == gv && !known {
			all.APIResources = append(all.APIResources, metav1.APIResource{Name: plural.Resource, Kind: o.GetKind(),
				Namespaced: o.GetNamespace() != "", Verbs: metav1.Verbs{"get", "list"}})
		}
	}
	return all
}

func none(w http.ResponseWriter, what string) {
	write(w, http.StatusNotFound, metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound, Message: what + " is not recorded"})
}

func write(w http.ResponseWriter, code int, v any) {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		http.Error(w, fmt.Sprint(err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(b.Bytes())
}
