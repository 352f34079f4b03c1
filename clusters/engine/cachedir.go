package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// CacheDir is the suite's own folder in the user's cache: images, a private engine.
func CacheDir() (string, error) {
	d, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("the user's cache folder is not known: %w: set HOME or XDG_CACHE_HOME", err)
	}
	return filepath.Join(d, "amc"), nil
}

// MemoryMB is this machine's memory in MiB, 0 where it cannot be known.
func MemoryMB() int64 {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(info)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemTotal:" {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			return kib >> 10
		}
	}
	return 0
}
