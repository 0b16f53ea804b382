package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// subjectLength bounds the characters of a commit's subject.
const subjectLength = 72

// git returns what a git command prints.
func git(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
		}
		return "", fmt.Errorf("git %s: %w", strings.Join(args, " "), err)
	}
	return string(out), nil
}

// subjects notes the commits of a revision whose subjects are too long. A tree that is no
// repository has none.
func (h *house) subjects(dir, revision string) error {
	if _, err := os.Stat(filepath.Join(dir, ".git")); err != nil {
		return nil
	}
	log, err := git(dir, "log", "--no-merges", "--format=%h %s", revision, "--")
	if err != nil {
		return err
	}
	for line := range strings.Lines(log) {
		hash, subject, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if n := len([]rune(subject)); n > subjectLength {
			h.addWhole("subject", hash, 0, 0, fmt.Sprintf("%d characters: %s", n, shortened(subject)))
		}
	}
	return nil
}

// lastChange returns the commit that last changed a file, "" if there is none.
func lastChange(dir, file string) (string, error) {
	name, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	out, err := git(dir, "log", "-1", "--format=%H", "--", name)
	return strings.TrimSpace(out), err
}

// measureBefore measures a directory or a revision.
func measureBefore(dir, before string) (*house, error) {
	if st, err := os.Stat(before); err == nil && st.IsDir() {
		return measure(before)
	}
	return measureRevision(dir, before)
}

// measureRevision measures the files and commits of a revision.
func measureRevision(dir, revision string) (*house, error) {
	out, err := git(dir, "rev-parse", "--verify", "--end-of-options", revision+"^{commit}")
	if err != nil {
		return nil, err
	}
	commit := strings.TrimSpace(out)
	temp, err := os.MkdirTemp("", "house")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	archive, tree := filepath.Join(temp, "tar"), filepath.Join(temp, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return nil, err
	}
	if _, err := git(dir, "archive", "--format=tar", "-o", archive, commit); err != nil {
		return nil, err
	}
	if out, err := exec.Command("tar", "-x", "-f", archive, "-C", tree).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("unpack %s: %w: %s", revision, err, out)
	}
	h, err := measure(tree)
	if err != nil {
		return nil, err
	}
	return h, h.subjects(dir, commit)
}
