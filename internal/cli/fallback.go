package cli

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
)

// addFallback adds the flag of commands that need no Python at a target of one hop.
func (o *options) addFallback(f *pflag.FlagSet) {
	f.StringVar(&o.binaries, "binaries", "",
		"take what goes to targets without Python from `DIRECTORY`, where mitogen build has made it")
}

// binary returns what finds this program for another platform; nil: nothing does.
func (o *options) binary() func(goos, goarch string) ([]byte, error) {
	if o.binaries == "" {
		return nil
	}
	return func(goos, goarch string) ([]byte, error) {
		b, _, err := o.among(binaryNames("mitogen", goos, goarch))
		return b, err
	}
}

// agent returns the agent for a platform: from --binaries, else what this program carries; nil:
// there is none. An agent of another version is an error.
func (o *options) agent(goos, goarch string) ([]byte, error) {
	if o.binaries != "" {
		b, name, err := o.among(binaryNames("mitogen-agent", goos, goarch))
		if err == nil {
			return b, checkAgent(name, b)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	path, err := os.Executable()
	if err != nil {
		return nil, nil // this program goes there, or an error says what is needed
	}
	b, err := carriedAgent(path, goos, goarch)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, zip.ErrFormat) {
		return nil, nil
	}
	return b, err
}

// binaryNames returns the names that a binary may have: as in a release, and without the version.
func binaryNames(program, goos, goarch string) []string {
	return []string{fmt.Sprintf("%s-%s-%s-%s", program, versionText(), goos, goarch),
		fmt.Sprintf("%s-%s-%s", program, goos, goarch)}
}

// among returns the first file of --binaries that is there, and its name.
func (o *options) among(names []string) (b []byte, name string, err error) {
	for _, name := range names {
		name = filepath.Join(o.binaries, name)
		b, err := os.ReadFile(name)
		if !errors.Is(err, fs.ErrNotExist) {
			return b, name, err
		}
	}
	return nil, "", &missingError{o.binaries}
}

// A missingError says that a directory has no binary for a platform.
type missingError struct{ dir string }

func (e *missingError) Error() string {
	return fmt.Sprintf("--binaries: %s has no mitogen-agent for it: mitogen build makes it", e.dir)
}

func (e *missingError) Is(target error) bool { return target == fs.ErrNotExist }

// agentStamp goes before the version of an agent in its file.
const agentStamp = "mitogen-" + "agent/"

// maxVersion bounds a version in bytes.
const maxVersion = 100

// agentVersion returns the version of an agent; "": it is none.
func agentVersion(b []byte) string {
	for {
		_, rest, found := bytes.Cut(b, []byte(agentStamp))
		if !found {
			return ""
		}
		end := bytes.IndexByte(rest[:min(len(rest), maxVersion)], '/')
		if end > 0 && bytes.IndexFunc(rest[:end], func(r rune) bool { return r <= ' ' || r > '~' }) < 0 {
			return string(rest[:end])
		}
		b = rest
	}
}

// checkAgent returns an error unless the file has an agent of this program's version.
func checkAgent(name string, b []byte) error {
	switch got := agentVersion(b); got {
	case versionText():
		return nil
	case "":
		return fmt.Errorf("%s is no mitogen-agent: mitogen build makes one", name)
	default:
		return fmt.Errorf("%s is of version %s, this program of %s: make it anew by mitogen build",
			name, got, versionText())
	}
}

// carriedAgents is the directory of agents in the zip file that a release appends to the program.
const carriedAgents = "mitogen_agents/"

// carriedAgent returns the agent that a program carries for a platform.
func carriedAgent(program, goos, goarch string) ([]byte, error) {
	z, err := zip.OpenReader(program)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	f, err := z.Open(carriedAgents + goos + "-" + goarch)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	return b, checkAgent("the agent in "+program, b)
}
