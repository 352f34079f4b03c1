// Package bootstrap changes the two things in pilot-agent's Envoy bootstrap that stand between an
// upstream Envoy and the agent.
package bootstrap

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// extension is the type of the one bootstrap extension that Istio's Envoy has and upstream's has
// not. A waypoint's and gateway's bootstrap always asks for it.
const extension = "istio.workload.BootstrapExtension"

// Rewrite drops the extension and points cluster xds-grpc at the relay's socket. It returns the new
// bootstrap and the agent's own socket.
func Rewrite(bootstrap []byte, relaySocket string) (out []byte, agentSocket string, err error) {
	var b map[string]any
	if err := json.Unmarshal(bootstrap, &b); err != nil {
		return nil, "", fmt.Errorf("bootstrap is not JSON: %w", err)
	}
	if exts, ok := b["bootstrap_extensions"].([]any); ok {
		kept := []any{}
		for _, e := range exts {
			if !carries(e, extension) {
				kept = append(kept, e)
			}
		}
		b["bootstrap_extensions"] = kept
	}
	static, _ := b["static_resources"].(map[string]any)
	clusters, _ := static["clusters"].([]any)
	for _, c := range clusters {
		if m, ok := c.(map[string]any); ok && m["name"] == "xds-grpc" {
			agentSocket = repoint(m, relaySocket)
		}
	}
	if agentSocket == "" {
		return nil, "", errors.New("bootstrap has no cluster xds-grpc with a pipe: was it written by pilot-agent?")
	}
	out, err = json.Marshal(b)
	return out, agentSocket, err
}

// carries says whether a typed extension config is of the type, directly or in a TypedStruct.
func carries(extensionConfig any, typ string) bool {
	m, _ := extensionConfig.(map[string]any)
	config, _ := m["typed_config"].(map[string]any)
	for _, key := range []string{"@type", "type_url"} {
		if url, _ := config[key].(string); url[strings.LastIndexByte(url, '/')+1:] == typ {
			return true
		}
	}
	return false
}

// repoint sets the path of every pipe below v and returns the path that was there.
func repoint(v any, path string) (was string) {
	switch x := v.(type) {
	case map[string]any:
		if pipe, ok := x["pipe"].(map[string]any); ok {
			was, _ = pipe["path"].(string)
			pipe["path"] = path
			return was
		}
		for _, y := range x {
			if w := repoint(y, path); w != "" {
				was = w
			}
		}
	case []any:
		for _, y := range x {
			if w := repoint(y, path); w != "" {
				was = w
			}
		}
	}
	return was
}
