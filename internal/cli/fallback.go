package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
)

// addFallback adds the flag of commands that need no Python at a target of one hop.
func (o *options) addFallback(f *pflag.FlagSet) {
	f.StringVar(&o.binaries, "binaries", "",
		"take this program for targets without Python, of other platforms, from `DIRECTORY`")
}

// binary returns what finds this program for another platform; nil: nothing does.
func (o *options) binary() func(goos, goarch string) ([]byte, error) {
	if o.binaries == "" {
		return nil
	}
	return func(goos, goarch string) ([]byte, error) {
		names := []string{
			fmt.Sprintf("mitogen-%s-%s-%s", versionText(), goos, goarch), // as a release has it
			fmt.Sprintf("mitogen-%s-%s", goos, goarch),
		}
		for _, name := range names {
			b, err := os.ReadFile(filepath.Join(o.binaries, name))
			if !errors.Is(err, fs.ErrNotExist) {
				return b, err
			}
		}
		return nil, fmt.Errorf("--binaries: %s has neither %s nor %s", o.binaries, names[0], names[1])
	}
}
