package behaviors

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Version is an Istio release. A pre-release counts as its release: 1.31.0-rc.0 is 1.31.0.
type Version struct{ Major, Minor, Patch int }

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

func (v Version) compare(w Version) int {
	return slices.Compare([]int{v.Major, v.Minor, v.Patch}, []int{w.Major, w.Minor, w.Patch})
}

// branched says when master became the next minor: a module pseudo-version names only a day. The
// dates are good to about a week.
var branched = []struct {
	day   string // yyyymmdd, the first day that belongs to the minor
	minor int
}{
	{"20250718", 28},
	{"20251014", 29},
	{"20260116", 30},
	{"20260417", 31},
}

// ParseVersion reads an Istio version: "1.31", "1.31.2", "v1.31.0-rc.0", or a Go pseudo-version
// such as v0.0.0-20260827124520-eed52ebb66ad, which stands for the minor that master was heading
// for on that day.
func ParseVersion(s string) (Version, error) {
	bad := fmt.Errorf("%q is not an Istio version: expected something like 1.31.2", s)
	t := strings.TrimPrefix(s, "v")
	if rest, ok := strings.CutPrefix(t, "0.0.0-"); ok {
		day, _, _ := strings.Cut(rest, "-")
		if len(day) != 14 {
			return Version{}, bad
		}
		minor := 27
		for _, b := range branched {
			if day[:8] >= b.day {
				minor = b.minor
			}
		}
		return Version{Major: 1, Minor: minor}, nil
	}
	t, _, _ = strings.Cut(t, "-")
	t, _, _ = strings.Cut(t, "+")
	parts := strings.Split(t, ".")
	if len(parts) < 2 || len(parts) > 3 {
		return Version{}, bad
	}
	var n [3]int
	for i, p := range parts {
		v, err := strconv.Atoi(p)
		if err != nil || v < 0 || v > 1<<16 {
			return Version{}, bad
		}
		n[i] = v
	}
	return Version{n[0], n[1], n[2]}, nil
}

// Range is a set of Istio versions: terms such as >=1.27, <1.30.1 or =1.29.0, separated by blanks,
// all of which must hold. The empty range holds for all.
type Range string

// Contains says whether the version is in the range; an error means that the range is malformed.
func (r Range) Contains(v Version) (bool, error) {
	for _, term := range strings.Fields(string(r)) {
		op := strings.TrimRight(term, "0123456789.")
		w, err := ParseVersion(term[len(op):])
		if err != nil {
			return false, fmt.Errorf("range %q: %w", r, err)
		}
		c := v.compare(w)
		var ok bool
		switch op {
		case ">=":
			ok = c >= 0
		case ">":
			ok = c > 0
		case "<=":
			ok = c <= 0
		case "<":
			ok = c < 0
		case "=":
			ok = c == 0
		default:
			return false, fmt.Errorf("range %q: %q does not begin with one of >= > <= < =", r, term)
		}
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

// check finds a malformed range; Contains alone may stop at the first term that does not hold.
func (r Range) check() error {
	for _, term := range strings.Fields(string(r)) {
		if _, err := Range(term).Contains(Version{}); err != nil {
			return err
		}
	}
	return nil
}
