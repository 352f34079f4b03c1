package install

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/wait"
	"ambient.test/conformance/manifests"
)

const metallbNamespace = "metallb-system"

// metallb returns MetalLB's own manifest, reduced to what a fleet of ours needs: addresses
// announced by ARP. It leaves out
//   - the validating webhooks with their certificates: the pool is ours and would have to wait for them;
//   - memberlist, which detects dead nodes fast: the speaker would wait for its Secret.
//
// MetalLB is not under test. Every cut is checked: a manifest of another shape is an error and
// never a half-patched MetalLB.
func metallb(moduleDir, controllerImage, speakerImage string) ([]client.Object, error) {
	path := filepath.Join(moduleDir, "config", "manifests", "metallb-native.yaml")
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("MetalLB's manifest: %w: run `go mod download go.universe.tf/metallb` if it is not in the module cache", err)
	}
	objs, err := patchMetalLB(b, controllerImage, speakerImage)
	if err != nil {
		return nil, fmt.Errorf("%s does not have the shape that this amc expects: %w", path, err)
	}
	return objs, nil
}

// metallbCuts lists the objects left out, as kind/name. Each must be in the manifest.
var metallbCuts = []string{
	"ValidatingWebhookConfiguration/metallb-webhook-configuration",
	"Service/metallb-webhook-service",
	"Secret/metallb-webhook-cert",
}

func patchMetalLB(text []byte, controllerImage, speakerImage string) ([]client.Object, error) {
	all, err := manifest(text)
	if err != nil {
		return nil, err
	}
	pending := map[string]bool{"Deployment/controller": true, "DaemonSet/speaker": true, "Namespace/" + metallbNamespace: true}
	for _, c := range metallbCuts {
		pending[c] = true
	}
	var out []client.Object
	for _, o := range all {
		id := o.GetObjectKind().GroupVersionKind().Kind + "/" + o.GetName()
		if pending[id] {
			delete(pending, id)
		}
		if slices.Contains(metallbCuts, id) {
			continue
		}
		switch d := o.(type) {
		case *appsv1.Deployment:
			if id != "Deployment/controller" {
				return nil, unknownPods(id)
			}
			env, volumes := []string{"METALLB_ML_SECRET_NAME"}, []string{"cert"}
			if err := patchPod(&d.Spec.Template.Spec, "controller", controllerImage, env, volumes); err != nil {
				return nil, err
			}
			c := &d.Spec.Template.Spec.Containers[0]
			c.Args = append(c.Args, "--webhook-mode=disabled")
			c.Ports = slices.DeleteFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == "webhook-server" })
		case *appsv1.DaemonSet:
			if id != "DaemonSet/speaker" {
				return nil, unknownPods(id)
			}
			env := []string{"METALLB_ML_BIND_ADDR", "METALLB_ML_LABELS", "METALLB_ML_SECRET_KEY_PATH"}
			if err := patchPod(&d.Spec.Template.Spec, "speaker", speakerImage, env, []string{"memberlist"}); err != nil {
				return nil, err
			}
			c := &d.Spec.Template.Spec.Containers[0]
			c.Args = append(c.Args, "--ignore-exclude-lb") // the first of several nodes has that label, with the API server
			c.Ports = slices.DeleteFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.ContainerPort == 7946 })
		case *corev1.Pod, *appsv1.StatefulSet, *batchv1.Job, *batchv1.CronJob:
			return nil, unknownPods(id)
		}
		out = append(out, o)
	}
	if len(pending) > 0 {
		missing := make([]string, 0, len(pending))
		for id := range pending {
			missing = append(missing, id)
		}
		slices.Sort(missing)
		return nil, fmt.Errorf("it lacks %v", missing)
	}
	return out, nil
}

// patchPod sets the image, removes the named environment variables and volumes, and makes the
// kubelet check readiness every second.
func patchPod(p *corev1.PodSpec, name, image string, env, volumes []string) error {
	if len(p.Containers) != 1 || len(p.InitContainers) != 0 || p.Containers[0].Name != name {
		return fmt.Errorf("pod %s: expected one container of that name and no init container, found %d containers and %d init containers",
			name, len(p.Containers), len(p.InitContainers))
	}
	c := &p.Containers[0]
	c.Image, c.ImagePullPolicy = image, corev1.PullIfNotPresent
	for _, e := range env {
		n := len(c.Env)
		if c.Env = slices.DeleteFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == e }); len(c.Env) != n-1 {
			return fmt.Errorf("container %s: expected the environment variable %s once", name, e)
		}
	}
	for _, v := range volumes {
		n, m := len(p.Volumes), len(c.VolumeMounts)
		p.Volumes = slices.DeleteFunc(p.Volumes, func(x corev1.Volume) bool { return x.Name == v })
		c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(x corev1.VolumeMount) bool { return x.Name == v })
		if len(p.Volumes) != n-1 || len(c.VolumeMounts) != m-1 {
			return fmt.Errorf("pod %s: expected the volume %s to exist and to be mounted once", name, v)
		}
	}
	if c.ReadinessProbe == nil || c.LivenessProbe == nil {
		return fmt.Errorf("container %s: expected a readiness and a liveness probe", name)
	}
	c.ReadinessProbe.InitialDelaySeconds, c.ReadinessProbe.PeriodSeconds = 0, 1
	c.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: smallCPU, corev1.ResourceMemory: smallMemory}
	return nil
}

// applyMetalLB applies MetalLB and the cluster's address pool. It does not wait for pods.
func applyMetalLB(ctx context.Context, c *mesh.Cluster, objs []client.Object) error {
	crds, rest, names := split(objs)
	ns := slices.IndexFunc(rest, func(o client.Object) bool { return o.GetObjectKind().GroupVersionKind().Kind == "Namespace" })
	if err := apply.Objects(ctx, c, rest[ns]); err != nil {
		return err
	}
	if err := applyAll(ctx, c, append(crds, slices.Delete(slices.Clone(rest), ns, ns+1)...)); err != nil {
		return err
	}
	if err := wait.Established(ctx, c, names...); err != nil {
		return err
	}
	pool, err := manifest(manifests.MetalLBPool(strings.Split(c.Kind.GatewayPool, ","), c.Kind.Nodes[0]))
	if err != nil {
		return err
	}
	return applyAll(ctx, c, pool)
}

func unknownPods(id string) error { return fmt.Errorf("unexpected workload %s", id) }
