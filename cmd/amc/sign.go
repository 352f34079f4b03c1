package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"ambient.test/conformance/reports/layout"
	"ambient.test/conformance/reports/verify"
)

func signCommand() *cobra.Command {
	var key string
	c := &cobra.Command{
		Use:   "sign BUNDLE --key KEY",
		Short: "sign a closed bundle with an in-toto test-result attestation",
		Long: `Sign writes ` + layout.SignatureFile + `, a DSSE envelope, into the bundle. It refuses a bundle
that breaks a rule, except for the rules of certified bundles.

The signature shows who vouches for the bundle. It does not show that the run happened.`,
		Example: `  openssl genpkey -algorithm ed25519 -out vendor.key && chmod 600 vendor.key
  openssl pkey -in vendor.key -pubout -out vendor.pub
  amc sign bundle --key vendor.key
  amc verify bundle --key vendor.pub`,
		Args: operands,
		RunE: func(c *cobra.Command, args []string) error {
			if key == "" {
				return usage("--key must name the PEM file of a private key: create one with `openssl genpkey -algorithm ed25519 -out KEY`")
			}
			k, err := verify.PrivateKey(key)
			if err != nil {
				return usage("%w", err)
			}
			if st, err := os.Stat(args[0]); err != nil || !st.IsDir() {
				return usage("%s is not a bundle: a bundle is a directory", args[0])
			}
			_, err = within(c.Context(), patience, "sign", func(ctx context.Context) (struct{}, error) {
				if err := verify.Sign(ctx, args[0], k); err != nil {
					return struct{}{}, exit{exitNonConformant, err}
				}
				return struct{}{}, nil
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "signed: %s\n", filepath.Join(args[0], layout.SignatureFile))
			return err
		},
	}
	c.Flags().StringVar(&key, "key", "", "PEM file with a private key (ed25519 or ECDSA P-256), readable by you alone (mode 0600)")
	return c
}
