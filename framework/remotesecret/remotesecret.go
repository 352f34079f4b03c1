// Package remotesecret is about the Secrets by which the istiod of one cluster reads another one:
// how they are made, found, written and given a new token. Neither tokens nor kubeconfigs may be
// logged.
package remotesecret

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	authentication "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
)

const (
	// Label marks remote secrets. Istio's own constant would bring its whole Kubernetes client with
	// it.
	Label = "istio/multiCluster"
	// prefix and annotation are how istioctl names a remote secret and says whose it is.
	prefix     = "istio-remote-secret-"
	annotation = "networking.istio.io/cluster"
)

// New makes the Secret that lets istiods of other clusters read cluster c. It is what
// `istioctl create-remote-secret --name C --server URL` prints.
func New(c *mesh.Cluster, token, ca []byte) (*corev1.Secret, error) {
	config := clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{c.Name: {Server: c.APIServer, CertificateAuthorityData: ca}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{c.Name: {Token: string(token)}},
		Contexts:       map[string]*clientcmdapi.Context{c.Name: {Cluster: c.Name, AuthInfo: c.Name}},
		CurrentContext: c.Name,
	}
	if err := clientcmd.Validate(config); err != nil {
		return nil, fmt.Errorf("%s: remote secret: %w", c.Name, err)
	}
	b, err := clientcmd.Write(config)
	if err != nil {
		return nil, fmt.Errorf("%s: remote secret: %w", c.Name, err)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: istiod.Namespace, Name: prefix + c.Name,
			Labels: map[string]string{Label: "true"}, Annotations: map[string]string{annotation: c.Name}},
		Data: map[string][]byte{c.Name: b},
	}, nil
}

// All are the remote secrets that the istiod of a cluster reads.
func All(ctx context.Context, in *mesh.Cluster) ([]corev1.Secret, error) {
	var list corev1.SecretList
	if err := in.Client().List(ctx, &list, client.InNamespace(istiod.Namespace), client.MatchingLabels{Label: "true"}); err != nil {
		return nil, fmt.Errorf("%s: remote secrets: %w", in.Name, err)
	}
	return list.Items, nil
}

// Find returns the Secret by which the istiod of a cluster reads the cluster of this name. It must
// be the only one of that cluster, and have no other cluster's kubeconfig in it: what happens to it
// would happen to more than one.
func Find(ctx context.Context, in *mesh.Cluster, of string) (*corev1.Secret, error) {
	all, err := All(ctx, in)
	if err != nil {
		return nil, err
	}
	var found []*corev1.Secret
	for i := range all {
		if _, ok := all[i].Data[of]; ok {
			found = append(found, &all[i])
		}
	}
	if len(found) != 1 || len(found[0].Data) != 1 {
		return nil, fmt.Errorf("%s: want one remote secret with the kubeconfig of %s alone, found %d with it: "+
			"run `%s -n %s get secrets -l %s=true`", in.Name, of, len(found), in.Kubectl(), istiod.Namespace, Label)
	}
	return found[0], nil
}

// Put writes a Secret, whether it is there or not: afterwards it has just these labels, annotations
// and data.
func Put(ctx context.Context, in *mesh.Cluster, s *corev1.Secret) error {
	want := &corev1.Secret{Type: s.Type, Data: s.Data, ObjectMeta: metav1.ObjectMeta{
		Namespace: s.Namespace, Name: s.Name, Labels: s.Labels, Annotations: s.Annotations}}
	err := in.Client().Create(ctx, want)
	if apierrors.IsAlreadyExists(err) {
		err = in.Client().Update(ctx, want) // without a version: whoever wrote it last
	}
	if err != nil {
		return fmt.Errorf("%s: write Secret %s: %w", in.Name, client.ObjectKeyFromObject(s), err)
	}
	return nil
}

// Delete deletes a Secret. It is no error that it is gone already.
func Delete(ctx context.Context, in *mesh.Cluster, s *corev1.Secret) error {
	if err := in.Client().Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name}}); err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("%s: delete Secret %s: %w", in.Name, client.ObjectKeyFromObject(s), err)
	}
	return nil
}

// Edit returns a copy of a Secret in which the kubeconfig of a cluster is another one. The change
// gets the API server that it leads to, and whom it speaks as there.
func Edit(s *corev1.Secret, of string, change func(*clientcmdapi.Cluster, *clientcmdapi.AuthInfo) error) (*corev1.Secret, error) {
	fault := func(err error) error {
		return fmt.Errorf("kubeconfig of %s in Secret %s: %w", of, client.ObjectKeyFromObject(s), err)
	}
	config, err := clientcmd.Load(s.Data[of])
	if err != nil {
		return nil, fault(err)
	}
	var server *clientcmdapi.Cluster
	var user *clientcmdapi.AuthInfo
	if x := config.Contexts[config.CurrentContext]; x != nil {
		server, user = config.Clusters[x.Cluster], config.AuthInfos[x.AuthInfo]
	}
	if server == nil || user == nil {
		return nil, fault(errors.New("its current context does not say which server and user it means"))
	}
	if err := change(server, user); err != nil {
		return nil, fault(err)
	}
	b, err := clientcmd.Write(*config)
	if err != nil {
		return nil, fault(err)
	}
	edited := s.DeepCopy()
	edited.Data[of] = b
	return edited, nil
}

// lifetime of new tokens, in seconds: far longer than a spec takes.
const lifetime = int64(3600)

// Renew returns a copy of a Secret with a new token of the same account, which the cluster that it
// reads has issued.
func Renew(ctx context.Context, s *corev1.Secret, of *mesh.Cluster) (*corev1.Secret, error) {
	return Edit(s, of.Name, func(_ *clientcmdapi.Cluster, user *clientcmdapi.AuthInfo) (err error) {
		user.Token, err = issue(ctx, of, user.Token)
		return err
	})
}

// issue asks a cluster for another token of the account that a token names.
func issue(ctx context.Context, c *mesh.Cluster, token string) (string, error) {
	namespace, name, err := account(token)
	if err != nil {
		return "", err
	}
	seconds := lifetime
	request, err := c.Kube().CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name,
		&authentication.TokenRequest{Spec: authentication.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("token of %s/%s: %w", namespace, name, err)
	}
	return request.Status.Token, nil
}

// account is the ServiceAccount that a token names as its subject.
func account(token string) (namespace, name string, err error) {
	var claims struct {
		Subject string `json:"sub"`
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", "", errors.New("its token is no JSON Web Token")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		return "", "", errors.New("its token is no JSON Web Token") // the cause could quote from it
	}
	names, ok := strings.CutPrefix(claims.Subject, "system:serviceaccount:")
	namespace, name, both := strings.Cut(names, ":")
	if !ok || !both {
		return "", "", fmt.Errorf("its token is of %q, which is no ServiceAccount", claims.Subject)
	}
	return namespace, name, nil
}
