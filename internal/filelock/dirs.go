package filelock

import (
	"os"
	"path/filepath"
)

// Dirs locks folders, which are created if need be, until release is called or this process ends. A
// folder named twice is locked once.
func Dirs(dirs ...string) (release func(), err error) {
	var all []func()
	release = func() {
		for _, r := range all {
			r()
		}
	}
	seen := map[string]bool{}
	for _, d := range dirs {
		d, err := filepath.Abs(d)
		if err == nil {
			err = os.MkdirAll(d, 0o755)
		}
		if err == nil {
			d, err = filepath.EvalSymlinks(d)
		}
		if seen[d] {
			continue
		}
		seen[d] = true
		var r func()
		if err == nil {
			r, err = Dir(d)
		}
		if err != nil {
			release()
			return nil, err
		}
		all = append(all, r)
	}
	return release, nil
}
