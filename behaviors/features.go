package behaviors

import "slices"

// Feature is an optional capability that an implementation claims. A claim needs a passing spec; a feature without one cannot be claimed.
type Feature string

// featureMeaning says in a sentence what a claim of the feature promises.
var featureMeaning = map[Feature]string{}

// FeatureInfo is a feature with the behaviours that show it.
type FeatureInfo struct {
	Feature   Feature
	Meaning   string
	Behaviors []*Behavior
}

// Features are all features, by name, with their behaviours in the catalogue's order.
func Features() []FeatureInfo {
	var all []FeatureInfo
	for f, meaning := range featureMeaning {
		info := FeatureInfo{Feature: f, Meaning: meaning}
		for _, b := range All() {
			if b.Feature == f {
				info.Behaviors = append(info.Behaviors, b)
			}
		}
		all = append(all, info)
	}
	slices.SortFunc(all, func(a, b FeatureInfo) int {
		if a.Feature < b.Feature {
			return -1
		}
		return 1
	})
	return all
}

// IsFeature says whether the catalogue knows the feature.
func IsFeature(f Feature) bool { return featureMeaning[f] != "" }
