package identity

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"
	security "istio.io/api/security/v1alpha1"
)

// Istiod is istiod's CA. It signs for identities that run on the caller's node.
type Istiod struct {
	Conn       grpc.ClientConnInterface
	TTLSeconds int64 // asked for; default 24 h
}

// Sign implements CA.
func (i Istiod) Sign(ctx context.Context, identity, csr string) ([]string, error) {
	md, err := structpb.NewStruct(map[string]any{"ImpersonatedIdentity": identity})
	if err != nil {
		return nil, err
	}
	ttl := i.TTLSeconds
	if ttl == 0 {
		ttl = 24 * 60 * 60
	}
	r, err := security.NewIstioCertificateServiceClient(
		i.Conn,
	).CreateCertificate(
		ctx,
		&security.IstioCertificateRequest{Csr: csr, ValidityDuration: ttl, Metadata: md},
	)
	return r.GetCertChain(), err
}
