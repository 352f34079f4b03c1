package main

import (
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"ambient.test/conformance/clusters/existing"
	"ambient.test/conformance/framework/fixture"
)

func rbacCommand() *cobra.Command {
	o := existing.Rights{Namespaces: fixture.Namespaces}
	c := &cobra.Command{
		Use:   "rbac",
		Short: "print the least rights that the suite needs on clusters that amc did not create",
		Long: `Rbac prints namespaces, a ServiceAccount and roles as YAML, with the reason for each right. An administrator applies it to
each cluster and hands out tokens of the account. Deleting these objects removes everything again. The suite gets no right
to create namespaces: those it works in are in the list.`,
		Example: `  amc rbac | kubectl --context east apply -f -
  kubectl --context east --namespace amc create token amc --duration 8h`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if wrong := validation.IsDNS1123Label(o.GatewayNamespace); len(wrong) > 0 {
				return usage("--gateway-namespace %q is no name of a namespace: %s", o.GatewayNamespace, wrong[0])
			}
			b, err := existing.YAML(existing.RBAC(o))
			if err != nil {
				return err
			}
			_, err = c.OutOrStdout().Write(b)
			return err
		},
	}
	c.Flags().StringVar(&o.GatewayNamespace, "gateway-namespace", "istio-system", "namespace of the east-west gateways")
	c.Flags().BoolVar(&o.MeshAdmin, "allow-mesh-changes", false,
		"add the rights to change istio-system that `amc fleet init --allow-mesh-changes` needs")
	return c
}
