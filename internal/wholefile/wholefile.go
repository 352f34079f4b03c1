// Package wholefile writes files into directories that somebody else may have prepared: whole or
// not at all, and never through a link.
package wholefile

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path"
	"regexp"
)

// Write writes a file below root. It writes to a new file under a random name beside it and renames
// that one, so nobody can put a link where the bytes go, and a reader sees the old content or the
// new one. A link under the name itself is replaced, not followed.
func Write(root *os.Root, name string, data []byte, perm fs.FileMode) error {
	tmp := path.Join(path.Dir(name), ".amc-"+rand.Text()+".tmp")
	f, err := root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = root.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(err, root.Remove(tmp))
	}
	return nil
}

var leftover = regexp.MustCompile(`^\.amc-[A-Z2-7]{26,}\.tmp$`)

// Leftover reports whether a file has a name that only [Write] gives: it was killed before it could
// rename the file.
func Leftover(name string) bool { return leftover.MatchString(path.Base(name)) }
