package workload

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"path"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/reports/api"
)

// Certificate is one that an application shows, with its key, as PEM.
type Certificate struct{ Cert, Key string }

// SelfSigned makes a certificate for DNS names. Who trusts it trusts no other.
func SelfSigned(names ...string) (*Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "application"},
		DNSNames: names, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("certificate for %v: %w", names, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return &Certificate{string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))}, nil
}

// Annotations of a pod that shows a certificate. They become files in it: a Secret would be one
// more object to remove, and this key protects nothing.
const (
	AnnotationCertificate = api.Group + "/certificate"
	AnnotationKey         = api.Group + "/key"
)

// show lets a pod of the echo application serve HTTPS with the certificate.
func (x *Certificate) show(pod *corev1.PodTemplateSpec) {
	const volume, folder, cert, key = "tls", "/etc/conformance/tls", "tls.crt", "tls.key"
	pod.Annotations = map[string]string{AnnotationCertificate: x.Cert, AnnotationKey: x.Key}
	file := func(name, annotation string) corev1.DownwardAPIVolumeFile {
		return corev1.DownwardAPIVolumeFile{Path: name,
			FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations['" + annotation + "']"}}
	}
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{
		DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{
			file(cert, AnnotationCertificate), file(key, AnnotationKey)}}}})
	c := &pod.Spec.Containers[0]
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volume, MountPath: folder, ReadOnly: true})
	port := strconv.Itoa(traffic.HTTPS)
	c.Args = append(c.Args, "--port", port, "--tls", port, "--crt", path.Join(folder, cert), "--key", path.Join(folder, key))
	c.Ports = append(c.Ports, corev1.ContainerPort{ContainerPort: traffic.HTTPS})
}
