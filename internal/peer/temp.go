package peer

import (
	"errors"
	"os"
	"path/filepath"
)

// longestSocket bounds a socket's path, in bytes. Its address has room for 104 bytes on some
// systems, with the zero byte at its end, and ssh takes 17 of them for a name of its own.
const longestSocket = 103 - 17

// longestTemp is the same for a directory for temporary files: a directory with up to ten digits
// and a socket are made in it.
const longestTemp = longestSocket - len("/"+dirPrefix+"0123456789/"+socketName)

// temps returns where a directory for a socket can be, the first choice first: $TMPDIR, if it is a
// whole path that is short enough, and where programs keep such files in its absence.
func temps() []string {
	var all []string
	if dir := os.TempDir(); filepath.IsAbs(dir) && len(dir) <= longestTemp {
		all = append(all, dir)
	}
	for _, dir := range []string{"/tmp", "/var/tmp"} {
		if len(all) == 0 || dir != all[0] {
			all = append(all, dir)
		}
	}
	return all
}

// makeTemp makes a directory that no other user can enter, whatever the umask is. It takes the
// first of dirs where it can. The error has the reason of each.
func makeTemp(dirs []string) (string, error) {
	var failed []error
	for _, at := range dirs {
		dir, err := os.MkdirTemp(at, dirPrefix)
		if err == nil {
			if err = os.Chmod(dir, 0o700); err == nil {
				return dir, nil
			}
			os.Remove(dir)
		}
		failed = append(failed, err)
	}
	return "", errors.Join(failed...)
}
