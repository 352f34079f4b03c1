package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"ambient.test/conformance/reports/layout"
	"ambient.test/conformance/reports/verify"
)

func signCommand() *cobra.Command {
	var key string
	c := &cobra.Command{
		Use:   "sign BUNDLE --key KEY",
		Short: "vouch for a closed bundle: an in-toto test-result attestation in a DSSE envelope",
		Long: `Sign writes ` + layout.SignatureFile + ` into the bundle. A bundle that breaks a rule for every bundle is not signed.

The signature says who vouches for the bundle; it does not show that the run happened.`,
		Example: `  openssl genpkey -algorithm ed25519 -out vendor.key && chmod 600 vendor.key
  openssl pkey -in vendor.key -pubout -out vendor.pub
  amc sign bundle --key vendor.key
  amc verify bundle --key vendor.pub`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if key == "" {
				return usage("sign needs --key with the PEM file of a private key: `openssl genpkey -algorithm ed25519 -out KEY` makes one")
			}
			k, err := verify.PrivateKey(key)
			if err != nil {
				return usage("%w", err)
			}
			if err := verify.Sign(c.Context(), args[0], k); err != nil {
				return exit{exitNonConformant, err}
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "signed: %s\n", filepath.Join(args[0], layout.SignatureFile))
			return err
		},
	}
	c.Flags().StringVar(&key, "key", "", "PEM file with an ed25519 or ECDSA P-256 private key that only you can read (mode 0600)")
	return c
}
