package spec

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"time"

	corev1 "k8s.io/api/core/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/remotesecret"
	"ambient.test/conformance/internal/sleep"
)

// RemoteSecret is the Secret by which the istiod of one cluster reads another one. Its verbs return
// once every istiod of the cluster has noticed the change.
type RemoteSecret struct {
	In, Of *Cluster

	t      *T
	before *corev1.Secret
}

// RemoteSecret finds the Secret by which the istiod of a cluster reads another cluster. After the
// spec it is as before, and that istiod is a new one that has synced with all clusters: an istiod
// that has seen a remote secret replaced or deleted may ignore changes of its own cluster from then
// on (docs/findings.md, F-02), and later specs would be wrong of it.
func (t *T) RemoteSecret(in, of *Cluster) *RemoteSecret {
	before, err := remotesecret.Find(t.ctx, in.Cluster, of.Name)
	t.NoError(err)
	s := &RemoteSecret{In: in, Of: of, t: t, before: before}
	t.keep(in, before).undo = s.restore
	return s
}

func (s *RemoteSecret) restore(ctx context.Context) error {
	if err := remotesecret.Put(ctx, s.In.Cluster, s.before); err != nil {
		return err
	}
	return s.t.istiodAnew(ctx, s.In)
}

// String names the Secret by what it is for.
func (s *RemoteSecret) String() string {
	return "the remote secret of " + s.In.Name + " for " + s.Of.Name
}

// Rotate gives the Secret a new token of the same account.
func (s *RemoteSecret) Rotate() {
	renewed, err := remotesecret.Renew(s.t.ctx, s.before, s.Of.Cluster)
	s.t.NoError(err)
	s.noticed(func() error { return remotesecret.Put(s.t.ctx, s.In.Cluster, renewed) })
}

// Rotations rotates the Secret several times, with a rest of the hold time after each: the change
// of a second one does not hide what the first one lost.
func (s *RemoteSecret) Rotations(times int) Event {
	return Change(fmt.Sprintf("%s is rotated %d times", s, times), func() {
		for range times {
			s.Rotate()
			sleep.For(s.t.ctx, s.t.times.Hold)
		}
	})
}

// Updates changes the Secret many times in a short time, by a few tokens of the same account in turn:
// all of them are valid.
func (s *RemoteSecret) Updates(times int, within time.Duration) Event {
	return Change(fmt.Sprintf("%s is updated %d times in %s", s, times, within), func() {
		var renewed [4]*corev1.Secret
		for i := range renewed {
			var err error
			renewed[i], err = remotesecret.Renew(s.t.ctx, s.before, s.Of.Cluster)
			s.t.NoError(err)
		}
		s.noticed(func() error {
			begun := time.Now()
			for i := range times {
				s.t.WaitUntil(begun.Add(within * time.Duration(i) / time.Duration(times)))
				if err := remotesecret.Put(s.t.ctx, s.In.Cluster, renewed[i%len(renewed)]); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// Delete takes the Secret away.
func (s *RemoteSecret) Delete() {
	s.noticed(func() error { return remotesecret.Delete(s.t.ctx, s.In.Cluster, s.before) })
}

// Add puts the Secret back as it was before the spec.
func (s *RemoteSecret) Add() {
	s.noticed(func() error { return remotesecret.Put(s.t.ctx, s.In.Cluster, s.before) })
}

// Put writes the Secret, changed in one way.
func (s *RemoteSecret) Put(change SecretChange) {
	changed := s.before.DeepCopy()
	s.t.NoError(change.do(changed, s.Of.Name))
	s.t.Observe("%s is now one %s", s, change.Says)
	put := func() error { return remotesecret.Put(s.t.ctx, s.In.Cluster, changed) }
	if client.ObjectKeyFromObject(changed) != client.ObjectKeyFromObject(s.before) {
		s.t.keep(s.In, changed)
	}
	if changed.Namespace == istiod.Namespace && changed.Labels[remotesecret.Label] == "true" {
		s.noticed(put)
		return
	}
	s.t.change(func() { s.t.NoError(put()) })
}

// noticed makes a change and waits until every istiod of the cluster has noticed it.
func (s *RemoteSecret) noticed(change func() error) {
	s.t.Still()
	events, err := istiod.SecretEvents(s.t.ctx, s.In.Cluster)
	s.t.NoError(err)
	s.t.NoError(change())
	s.t.Changed()
	s.t.NoError(istiod.WaitNoticed(s.t.ctx, s.In.Cluster, events))
}

// RemoteSecrets are those by which several clusters read one.
type RemoteSecrets []*RemoteSecret

// RemoteSecretsOf are the remote secrets of the other clusters for one; see [T.RemoteSecret].
func (t *T) RemoteSecretsOf(of *Cluster) (all RemoteSecrets) {
	for _, in := range t.Clusters.Without(of) {
		all = append(all, t.RemoteSecret(in, of))
	}
	return all
}

// Delete is [RemoteSecret.Delete] of each.
func (all RemoteSecrets) Delete() {
	for _, s := range all {
		s.Delete()
	}
}

// Add is [RemoteSecret.Add] of each.
func (all RemoteSecrets) Add() {
	for _, s := range all {
		s.Add()
	}
}

// SecretChange makes a good remote secret one that istiod must not use, or cannot.
type SecretChange struct {
	// Says completes "a remote secret ...".
	Says string

	do func(s *corev1.Secret, of string) error
}

// Changes of remote secrets.
var (
	WithoutLabel = SecretChange{"without its label", func(s *corev1.Secret, _ string) error {
		delete(s.Labels, remotesecret.Label)
		return nil
	}}
	InOtherNamespace = SecretChange{"in another namespace", func(s *corev1.Secret, _ string) error {
		s.Namespace = fixture.MeshNamespaceB
		return nil
	}}
	NoKubeconfig = SecretChange{"that holds no kubeconfig", func(s *corev1.Secret, of string) error {
		s.Data[of] = []byte("apiVersion: v1\nkind: Config\nclusters: none\n")
		return nil
	}}
	RunsCommand = edited("that runs a command for its token", func(_ *clientcmdapi.Cluster, user *clientcmdapi.AuthInfo) error {
		user.Token = ""
		user.Exec = &clientcmdapi.ExecConfig{Command: "true", APIVersion: "client.authentication.k8s.io/v1",
			InteractiveMode: clientcmdapi.NeverExecInteractiveMode}
		return nil
	})
	ReadsFile = edited("that takes its token from a file of istiod", func(_ *clientcmdapi.Cluster, user *clientcmdapi.AuthInfo) error {
		user.Token, user.TokenFile = "", "/var/run/secrets/kubernetes.io/serviceaccount/token"
		return nil
	})
	WrongToken = edited("whose token nobody has issued", func(_ *clientcmdapi.Cluster, user *clientcmdapi.AuthInfo) error {
		user.Token = "wrong"
		return nil
	})
	DeadServer = edited("whose server does not answer", func(c *clientcmdapi.Cluster, _ *clientcmdapi.AuthInfo) error {
		u, err := url.Parse(c.Server)
		if err != nil {
			return err
		}
		u.Host = net.JoinHostPort(u.Hostname(), "1")
		c.Server = u.String()
		return nil
	})
)

func edited(says string, change func(*clientcmdapi.Cluster, *clientcmdapi.AuthInfo) error) SecretChange {
	return SecretChange{says, func(s *corev1.Secret, of string) error {
		changed, err := remotesecret.Edit(s, of, change)
		if err == nil {
			*s = *changed
		}
		return err
	}}
}
