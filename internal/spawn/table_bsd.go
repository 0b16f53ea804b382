//go:build darwin || freebsd

package spawn

import "os"

// processes returns the process table as it is now, as an account sees it.
func processes(us identity) table { return listed(us, runPS) }

// ourselves is our account, in the form of the process table.
func ourselves() (identity, error) {
	return identity{RUID: os.Getuid(), EUID: os.Geteuid(), RGID: os.Getgid()}, nil
}
