package mesh

import (
	"fmt"
	"sync"

	istioclient "istio.io/client-go/pkg/apis/networking/v1"
	istiofilters "istio.io/client-go/pkg/apis/networking/v1alpha3"
	istiosecurity "istio.io/client-go/pkg/apis/security/v1"
	istiotelemetry "istio.io/client-go/pkg/apis/telemetry/v1"
	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

// Scheme knows every type the suite applies or reads: Kubernetes, Gateway API, Istio.
var Scheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		scheme.AddToScheme, apiext.AddToScheme, gateway.Install,
		istioclient.AddToScheme, istiofilters.AddToScheme, istiosecurity.AddToScheme, istiotelemetry.AddToScheme,
	} {
		utilruntime.Must(add(s))
	}
	return s
}()

// clients are made at first use and shared. They are safe for concurrent use.
type clients struct {
	once   sync.Once
	err    error
	config *rest.Config
	all    Clients
}

// Clients are the ways to talk to an API server.
type Clients struct {
	Kube    kubernetes.Interface
	Dynamic dynamic.Interface
	Client  client.WithWatch
}

// UseClients gives the cluster these clients instead of those of its kubeconfig. Tests use it with
// fakes, before anything connects.
func (c *Cluster) UseClients(clients Clients) {
	c.once.Do(func() { c.config, c.all = &rest.Config{}, clients })
}

func (c *Cluster) connect() error {
	c.once.Do(func() {
		if c.config, c.err = c.Config(); c.err != nil {
			c.err = fmt.Errorf("%s: %w", c.Name, c.err)
			return
		}
		c.config.QPS, c.config.Burst = 200, 400 // client-side throttling would only hide time
		c.config.UserAgent = "amc"
		c.config.WarningHandlerWithContext = rest.NoWarnings{} // specs ask on purpose for what an API server warns of
		if c.all.Kube, c.err = kubernetes.NewForConfig(c.config); c.err != nil {
			return
		}
		if c.all.Dynamic, c.err = dynamic.NewForConfig(c.config); c.err != nil {
			return
		}
		c.all.Client, c.err = client.NewWithWatch(c.config, client.Options{Scheme: Scheme})
		if c.err != nil {
			c.err = fmt.Errorf("%s: API server does not answer: %w: is the fleet up? (`amc up`)", c.Name, c.err)
		}
	})
	return c.err
}

// Config reads the client configuration from the cluster's kubeconfig. It makes no connection.
func (c *Cluster) Config() (*rest.Config, error) {
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: c.Kubeconfig},
		&clientcmd.ConfigOverrides{CurrentContext: c.Context}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", c.Kubeconfig, err)
	}
	return config, nil
}

// Kubectl is the command that reaches the cluster, for messages that say what to type next.
func (c *Cluster) Kubectl() string {
	s := "kubectl --kubeconfig " + c.Kubeconfig
	if c.Context != "" {
		s += " --context " + c.Context
	}
	return s
}

// Connect makes the cluster's clients. It fails when the kubeconfig is bad or the API server does
// not answer.
func (c *Cluster) Connect() error { return c.connect() }

// REST is the cluster's client configuration. It panics when Connect would fail: call Connect
// first.
func (c *Cluster) REST() *rest.Config { c.must(); return rest.CopyConfig(c.config) }

// Kube is the typed Kubernetes client. It panics when Connect would fail.
func (c *Cluster) Kube() kubernetes.Interface { c.must(); return c.all.Kube }

// Dynamic reads any resource as unstructured objects. It panics when Connect would fail.
func (c *Cluster) Dynamic() dynamic.Interface { c.must(); return c.all.Dynamic }

// Client reads, writes and watches any type of Scheme. It panics when Connect would fail.
func (c *Cluster) Client() client.WithWatch { c.must(); return c.all.Client }

func (c *Cluster) must() {
	if err := c.connect(); err != nil {
		panic(err)
	}
}
