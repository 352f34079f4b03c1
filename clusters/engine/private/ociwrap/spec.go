package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"syscall"

	"ambient.test/conformance/clusters/engine/private/capset"
)

// bounds is what the wrapper's own process has and can therefore give.
type bounds struct {
	caps     capset.Set
	oomScore int
	// limits gives the hard limit of a POSIX resource name; false when it is not known.
	limits func(name string) (uint64, bool)
}

// object keeps the members of a JSON object byte for byte, so that big numbers and unknown fields
// survive.
type object map[string]json.RawMessage

// narrowSpec narrows the process of an OCI config.json. It returns nil when nothing had to change.
func narrowSpec(config []byte, b bounds) ([]byte, error) {
	var spec object
	if err := json.Unmarshal(config, &spec); err != nil {
		return nil, fmt.Errorf("not an OCI config: %w", err)
	}
	if isNull(spec["process"]) {
		return nil, nil
	}
	p, err := narrowProcess(spec["process"], b)
	if p == nil || err != nil {
		return nil, err
	}
	spec["process"] = p
	return json.Marshal(spec)
}

// narrowProcess removes from an OCI process what the kernel would refuse: capabilities outside the
// bounding set and, without CAP_SYS_RESOURCE, hard limits above this process's own and an OOM score
// below its own. It returns nil when nothing had to change.
func narrowProcess(process []byte, b bounds) ([]byte, error) {
	var p object
	if err := json.Unmarshal(process, &p); err != nil {
		return nil, fmt.Errorf("not an OCI process: %w", err)
	}
	steps := []func(object, bounds) (bool, error){narrowCapabilities}
	if !b.caps.Has(capset.SysResource) {
		steps = append(steps, narrowLimits, narrowScore)
	}
	changed := false
	for _, step := range steps {
		c, err := step(p, b)
		if err != nil {
			return nil, err
		}
		changed = changed || c
	}
	if !changed {
		return nil, nil
	}
	return json.Marshal(p)
}

func narrowCapabilities(p object, b bounds) (bool, error) {
	if isNull(p["capabilities"]) {
		return false, nil
	}
	var sets map[string][]string
	if err := json.Unmarshal(p["capabilities"], &sets); err != nil {
		return false, fmt.Errorf("capabilities: %w", err)
	}
	changed := false
	for set, names := range sets {
		keep := make([]string, 0, len(names))
		for _, n := range names {
			if b.caps.Allows(n) {
				keep = append(keep, n)
			}
		}
		changed = changed || len(keep) != len(names)
		if names != nil {
			sets[set] = keep
		}
	}
	return changed, put(p, "capabilities", sets, changed)
}

func narrowLimits(p object, b bounds) (bool, error) {
	if isNull(p["rlimits"]) {
		return false, nil
	}
	var limits []struct {
		Type string `json:"type"`
		Hard uint64 `json:"hard"`
		Soft uint64 `json:"soft"`
	}
	if err := json.Unmarshal(p["rlimits"], &limits); err != nil {
		return false, fmt.Errorf("rlimits: %w", err)
	}
	changed := false
	for i := range limits {
		l := &limits[i]
		if own, known := b.limits(l.Type); known && l.Hard > own {
			l.Hard, l.Soft, changed = own, min(l.Soft, own), true
		}
	}
	return changed, put(p, "rlimits", limits, changed)
}

func narrowScore(p object, b bounds) (bool, error) {
	if isNull(p["oomScoreAdj"]) {
		return false, nil
	}
	var score int
	if err := json.Unmarshal(p["oomScoreAdj"], &score); err != nil {
		return false, fmt.Errorf("oomScoreAdj: %w", err)
	}
	changed := score < b.oomScore
	return changed, put(p, "oomScoreAdj", b.oomScore, changed)
}

func put(p object, field string, v any, changed bool) error {
	if !changed {
		return nil
	}
	raw, err := json.Marshal(v)
	p[field] = raw
	return err
}

func isNull(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) == 0 || string(raw) == "null"
}

// resources numbers the names of getrlimit(2); the numbers are those of amd64 and arm64.
var resources = []string{
	"CPU",
	"FSIZE",
	"DATA",
	"STACK",
	"CORE",
	"RSS",
	"NPROC",
	"NOFILE",
	"MEMLOCK",
	"AS",
	"LOCKS",
	"SIGPENDING",
	"MSGQUEUE",
	"NICE",
	"RTPRIO",
	"RTTIME",
}

func hardLimits(name string) (uint64, bool) {
	for n, r := range resources {
		if strings.TrimPrefix(strings.ToUpper(name), "RLIMIT_") != r {
			continue
		}
		var l syscall.Rlimit
		if err := syscall.Getrlimit(n, &l); err != nil {
			return 0, false
		}
		return l.Max, true
	}
	return 0, false
}
