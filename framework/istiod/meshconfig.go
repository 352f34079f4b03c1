package istiod

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"istio.io/api/label"
	meshconfig "istio.io/api/mesh/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"ambient.test/conformance/framework/mesh"
)

// meshKey is the key of a ConfigMap under which the mesh configuration stands.
const meshKey = "mesh"

// takenWithin is how long istiods get to take a mesh configuration. They watch their ConfigMap.
const takenWithin = 30 * time.Second

// ScopeRules is the setting of the mesh configuration that holds the scope rules, a list of
// [ScopeRule].
const ScopeRules = "serviceScopeConfigs"

// ScopeRule is a scope rule. A selector that is nil selects everything.
type ScopeRule struct {
	Namespaces *metav1.LabelSelector `json:"namespaceSelector,omitempty"`
	Services   *metav1.LabelSelector `json:"servicesSelector,omitempty"`
	Scope      ServiceScope          `json:"scope"`
}

// ServiceScope is what a rule makes of the services that it selects.
type ServiceScope string

// Scopes of rules.
const (
	GlobalScope ServiceScope = "GLOBAL"
	LocalScope  ServiceScope = "LOCAL"
)

// MeshSetting is a change of one setting of the mesh configuration.
type MeshSetting struct {
	// Name is that of the configuration's YAML, such as serviceScopeConfigs.
	Name string
	// Change makes the new value of the old one. Either is nil where there is none.
	Change func(before any) any
}

// ChangeMeshConfig changes a setting of a cluster's mesh configuration, and waits until every
// istiod of the cluster's revision has it in force. undo restores the ConfigMap as it was, and
// waits until every istiod has what it had.
//
// It is an error if the istiods have the setting from somewhere else than from their revision's
// ConfigMap.
func ChangeMeshConfig(ctx context.Context, c *mesh.Cluster, s MeshSetting) (undo func(context.Context) error, err error) {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: ConfigMap(c.Revision)}}
	fault := func(err error) error {
		return fmt.Errorf("%s: %s of the mesh configuration in ConfigMap %s: %w", c.Name, s.Name, client.ObjectKeyFromObject(cm), err)
	}
	if err := c.Client().Get(ctx, client.ObjectKeyFromObject(cm), cm); apierrors.IsNotFound(err) {
		return nil, fault(fmt.Errorf("it does not exist, so istiod is configured from somewhere else, which the suite cannot change: "+
			"run `%s -n %s get configmaps`", c.Kubectl(), Namespace))
	} else if err != nil {
		return nil, fault(err)
	}
	before := cm.Data[meshKey]
	after, old, wanted, err := changed(before, s)
	if err != nil {
		return nil, fault(err)
	}
	if err := taken(ctx, c, s.Name, old); err != nil {
		return nil, fault(fmt.Errorf("istiod has something else than the ConfigMap says, so it is configured from somewhere else, too, "+
			"which the suite cannot change: %w", err))
	}
	set := func(ctx context.Context, text string, value proto.Message) error {
		patch, err := json.Marshal(map[string]any{"data": map[string]any{meshKey: text}})
		if err != nil {
			return fault(err)
		}
		if err := c.Client().Patch(ctx, cm.DeepCopy(), client.RawPatch(types.MergePatchType, patch)); err != nil {
			return fault(err)
		}
		if err := taken(ctx, c, s.Name, value); err != nil {
			return fault(err)
		}
		return nil
	}
	undo = func(ctx context.Context) error { return set(ctx, before, old) }
	if err := set(ctx, after, wanted); err != nil {
		return nil, errors.Join(err, undo(context.WithoutCancel(ctx)))
	}
	return undo, nil
}

// changed is a mesh configuration with one setting changed, and that setting before and after.
func changed(config string, s MeshSetting) (text string, before, after *meshconfig.MeshConfig, err error) {
	all := map[string]any{}
	if err := yaml.Unmarshal([]byte(config), &all); err != nil {
		return "", nil, nil, fmt.Errorf("it is malformed: %w", err)
	}
	if before, err = only(s.Name, all[s.Name]); err != nil {
		return "", nil, nil, err
	}
	if all[s.Name] = s.Change(all[s.Name]); all[s.Name] == nil {
		delete(all, s.Name)
	}
	if after, err = only(s.Name, all[s.Name]); err != nil {
		return "", nil, nil, err
	}
	if proto.Equal(before, after) {
		return "", nil, nil, errors.New("it is so already: restore the mesh first")
	}
	b, err := yaml.Marshal(all)
	return string(b), before, after, err
}

// only is a mesh configuration of nothing but one setting, so that two ways to write it are equal.
func only(setting string, value any) (*meshconfig.MeshConfig, error) {
	m := &meshconfig.MeshConfig{}
	if m.ProtoReflect().Descriptor().Fields().ByJSONName(setting) == nil {
		return nil, errors.New("authoring mistake: there is no setting of this name")
	}
	if value == nil {
		return m, nil
	}
	b, err := json.Marshal(map[string]any{setting: value})
	if err != nil {
		return nil, err
	}
	// Settings of another version, or of a vendor, are not ours to judge.
	return m, protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, m)
}

// taken waits until every istiod of the cluster's revision has the setting in force.
func taken(ctx context.Context, c *mesh.Cluster, setting string, want proto.Message) error {
	ctx, cancel := context.WithTimeout(ctx, takenWithin)
	defer cancel()
	return poll(ctx, c, "istiod has not taken its mesh configuration", "mesh config", func(ctx context.Context) (bad []string) {
		pods, err := Pods(ctx, c)
		if err != nil {
			return []string{err.Error()}
		}
		seen := 0
		for _, p := range pods {
			if cmp.Or(p.Labels[label.IoIstioRev.Name], DefaultRevision) != cmp.Or(c.Revision, DefaultRevision) {
				continue
			}
			seen++
			b, err := get(ctx, c, p.Name, debugPort, "/debug/mesh")
			if err != nil {
				bad = append(bad, err.Error())
			} else if wrong := otherThan(want, setting, b); wrong != "" {
				bad = append(bad, fmt.Sprintf("istiod %s %s", p.Name, wrong))
			}
		}
		if seen == 0 {
			bad = append(bad, fmt.Sprintf("no istiod of revision %s runs", cmp.Or(c.Revision, DefaultRevision)))
		}
		return bad
	})
}

// otherThan says what is wrong when an istiod's configuration, as JSON, has another value of a
// setting.
func otherThan(want proto.Message, setting string, config []byte) string {
	var all map[string]any
	if err := json.Unmarshal(config, &all); err != nil {
		return fmt.Sprintf("answers /debug/mesh with something else than a mesh configuration: %v: %.200s", err, config)
	}
	got, err := only(setting, all[setting])
	if err != nil {
		return err.Error()
	}
	if !proto.Equal(got, want) {
		return fmt.Sprintf("has %s, and not %s", protojson.Format(got), protojson.Format(want))
	}
	return ""
}
