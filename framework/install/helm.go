package install

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"helm.sh/helm/v4/pkg/action"
	chartapi "helm.sh/helm/v4/pkg/chart"
	"helm.sh/helm/v4/pkg/chart/loader"
	"helm.sh/helm/v4/pkg/kube"
	rcommon "helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"ambient.test/conformance/framework/mesh"
)

// helm installs charts into one cluster. Discovery is read once and shared, because every cluster
// serves all the kinds that Istio's charts use.
type helm struct {
	cluster *mesh.Cluster
	config  *rest.Config
	disc    discovery.CachedDiscoveryInterface
	mapper  meta.RESTMapper
}

func newHelm(c *mesh.Cluster) (*helm, error) {
	config := c.REST()
	config.WarningHandler = rest.NoWarnings{} // they are about integer formats in Istio's CRDs; no reader could act on them
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	h := &helm{cluster: c, config: config, disc: &steady{CachedDiscoveryInterface: memory.NewMemCacheClient(d)}}
	h.mapper = restmapper.NewDeferredDiscoveryRESTMapper(h.disc)
	return h, nil
}

// steady is a discovery cache that ignores Invalidate, because helm would drop the cache before
// every chart.
type steady struct {
	discovery.CachedDiscoveryInterface
}

func (*steady) Invalidate() {}

// The methods of genericclioptions.RESTClientGetter.

func (h *helm) ToRESTConfig() (*rest.Config, error)                            { return rest.CopyConfig(h.config), nil }
func (h *helm) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) { return h.disc, nil }
func (h *helm) ToRESTMapper() (meta.RESTMapper, error)                         { return h.mapper, nil }
func (h *helm) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	return clientcmd.NewDefaultClientConfig(*clientcmdapi.NewConfig(),
		&clientcmd.ConfigOverrides{Context: clientcmdapi.Context{Namespace: namespace}})
}

func (h *helm) configuration() (*action.Configuration, error) {
	cfg := action.NewConfiguration(action.ConfigurationSetLogger(slog.DiscardHandler))
	return cfg, cfg.Init(h, namespace, "secret")
}

// loadChart reads a chart. Charts are not safe to render concurrently, so each cluster loads its
// own copy.
func loadChart(dir string) (chartapi.Charter, error) {
	ch, err := loader.Load(dir)
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w: run `go mod download istio.io/istio` if Istio's module is not in the module cache", dir, err)
	}
	return ch, nil
}

// install brings the release into the wanted state. It installs a new release, upgrades a deployed
// one, and takes over the objects that an interrupted run left. It does not wait for pods.
func (h *helm) install(ctx context.Context, chartsDir string, c chart) error {
	fail := func(err error) error {
		return fmt.Errorf("%s: chart %s: %w: run `helm --kubeconfig %s -n %s status %s`", h.cluster.Name, c.release, err,
			h.cluster.Kubeconfig, namespace, c.release)
	}
	ch, err := loadChart(filepath.Join(chartsDir, filepath.FromSlash(c.path)))
	if err != nil {
		return fail(err)
	}
	cfg, err := h.configuration()
	if err != nil {
		return fail(err)
	}
	status, err := lastStatus(cfg, c.release)
	if err != nil {
		return fail(err)
	}
	if status == rcommon.StatusDeployed {
		u := action.NewUpgrade(cfg)
		u.Namespace, u.WaitStrategy, u.DisableOpenAPIValidation, u.MaxHistory = namespace, kube.HookOnlyStrategy, true, 2
		u.ServerSideApply, u.ForceConflicts = "true", true // istiod edits its webhooks
		u.Timeout, u.PostRenderer = time.Minute, c.postRenderer
		if _, err := u.RunWithContext(ctx, c.release, ch, c.values); err != nil {
			return fail(err)
		}
		return nil
	}
	if status != "" { // a run was killed: delete its record, which blocks an install, and take over its objects
		if err := purge(cfg, c.release); err != nil {
			return fail(err)
		}
	}
	i := action.NewInstall(cfg)
	i.Namespace, i.ReleaseName, i.WaitStrategy, i.DisableOpenAPIValidation = namespace, c.release, kube.HookOnlyStrategy, true
	i.ServerSideApply, i.ForceConflicts, i.TakeOwnership = true, true, true
	i.Timeout, i.PostRenderer = time.Minute, c.postRenderer
	if _, err := i.RunWithContext(ctx, ch, c.values); err != nil {
		return fail(err)
	}
	return nil
}

// lastStatus returns the status of the newest record of a release, or "" if there is none.
func lastStatus(cfg *action.Configuration, name string) (rcommon.Status, error) {
	rel, err := cfg.Releases.Last(name)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	r, ok := rel.(*release.Release)
	if !ok {
		return "", fmt.Errorf("the release record has an unknown type %T", rel)
	}
	return r.Info.Status, nil
}

func purge(cfg *action.Configuration, name string) error {
	all, err := cfg.Releases.History(name)
	if err != nil {
		return err
	}
	for _, rel := range all {
		r, ok := rel.(*release.Release)
		if !ok {
			return fmt.Errorf("the release record has an unknown type %T", rel)
		}
		if _, err := cfg.Releases.Delete(r.Name, r.Version); err != nil {
			return err
		}
	}
	return nil
}

// uninstall removes a release if it exists. It does not wait for pods.
func (h *helm) uninstall(name string) error {
	cfg, err := h.configuration()
	if err != nil {
		return err
	}
	u := action.NewUninstall(cfg)
	u.IgnoreNotFound, u.WaitStrategy, u.DeletionPropagation = true, kube.HookOnlyStrategy, "background"
	u.Timeout = time.Minute
	if _, err := u.Run(name); err != nil {
		return fmt.Errorf("%s: uninstall chart %s: %w", h.cluster.Name, name, err)
	}
	return nil
}

// render renders a chart for a namespace, without a cluster.
func render(chartsDir, namespace string, c chart) (string, error) {
	ch, err := loadChart(filepath.Join(chartsDir, filepath.FromSlash(c.path)))
	if err != nil {
		return "", err
	}
	i := action.NewInstall(action.NewConfiguration(action.ConfigurationSetLogger(slog.DiscardHandler)))
	i.Namespace, i.ReleaseName, i.DryRunStrategy, i.WaitStrategy = namespace, c.release, action.DryRunClient, kube.HookOnlyStrategy
	i.PostRenderer = c.postRenderer
	rel, err := i.Run(ch, c.values)
	if err != nil {
		return "", err
	}
	return rel.(*release.Release).Manifest, nil
}
