package spec

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/install"
)

// NewCA is another intermediate CA of the mesh's root for a cluster.
type NewCA struct {
	t       *T
	cluster *Cluster
	before  *kept
	secret  *corev1.Secret
	cert    *x509.Certificate
}

// NewCA makes another intermediate CA for a cluster. After the spec the cluster has the one it had.
func (t *T) NewCA(c *Cluster) *NewCA {
	secret, cert, err := install.NewCA(t.Fleet, c.Name)
	t.NoError(err)
	was := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: secret.Namespace, Name: secret.Name}}
	n := &NewCA{t: t, cluster: c, before: t.keep(c, was), secret: secret, cert: cert}
	n.before.undo = func(ctx context.Context) error {
		if err := n.before.note.Undo(ctx); err != nil {
			return err
		}
		return t.istiodAnew(ctx, c)
	}
	return n
}

// TakesOver lets the cluster's istiod sign with the new CA. It is over when that has synced with all
// clusters.
func (n *NewCA) TakesOver() Event {
	return Event{Says: "the CA of " + n.cluster.Name + " is replaced", Do: func(ctx context.Context) error {
		if err := apply.Objects(ctx, n.cluster.Cluster, n.secret.DeepCopy()); err != nil {
			return err
		}
		return n.t.istiodAnew(ctx, n.cluster)
	}}
}

// Signs is true while certificates that the cluster's istiod issues are signed by the new CA.
func (n *NewCA) Signs() Subject {
	return Probe("certificates of "+n.cluster.Name+" are signed by its new CA", func(ctx context.Context) (any, error) {
		id, err := eastwest.FromMesh(ctx, n.cluster.Cluster, n.t.TrustDomain(), fixture.MeshNamespace, fixture.Client)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.cluster, err)
		}
		return slices.ContainsFunc(id.Certificate.Certificate, func(der []byte) bool { return bytes.Equal(der, n.cert.Raw) }), nil
	})
}
