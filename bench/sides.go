package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The sides' names, which head their columns.
const (
	peer   = "Mitogen"
	ours   = "ours"
	before = "before" // an earlier revision of ours
)

// A side is an implementation that is measured.
type side struct {
	name    string
	driver  []string // does workloads
	program string   // the command; empty for Mitogen, which has none
	sizes   string   // prints how many bytes are sent first; empty if there are none to print
}

// build makes our side of the files here and, if it is wanted, the earlier revision's of its own.
func (b *bench) build() error {
	s, err := b.compile(ours, ".")
	if err != nil {
		return err
	}
	b.sides = append(b.sides, s)
	if *revision == "" {
		return nil
	}
	tree := filepath.Join(b.dir, "tree")
	if err := b.export(*revision, tree); err != nil {
		return err
	}
	if s, err = b.compile(before, tree); err != nil {
		return fmt.Errorf("build %s: %w", *revision, err)
	}
	b.sides = append(b.sides, s)
	return nil
}

// export writes a revision's files to a directory. Nothing of it stays in the repository.
func (b *bench) export(revision, dir string) error {
	commit, err := output(b.command("git", "rev-parse", "--verify", "--end-of-options",
		revision+"^{commit}"))
	if err != nil {
		return err
	}
	archive := dir + ".tar"
	if err := b.call("git", "archive", "--format=tar", "-o", archive,
		strings.TrimSpace(commit)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return b.call("tar", "-x", "-f", archive, "-C", dir)
}

// compile builds a side of a tree's files, into a directory of its own. The program of sizes is the
// same for all sides: where an earlier revision can't have it, its column stays empty.
func (b *bench) compile(name, tree string) (side, error) {
	dir := filepath.Join(b.dir, name)
	s := side{name: name, driver: []string{filepath.Join(dir, "driver")},
		program: filepath.Join(dir, "mitogen"), sizes: filepath.Join(dir, "sizes")}
	build := func(out, pkg string) error {
		return b.call("go", "build", "-C", tree, "-buildvcs=false", "-trimpath", "-ldflags", "-s -w",
			"-o", out, pkg)
	}
	if err := build(s.driver[0], "./bench/driver"); err != nil {
		return s, err
	}
	if err := build(s.program, "./cmd/mitogen"); err != nil {
		return s, err
	}
	if name == before {
		if err := os.CopyFS(filepath.Join(tree, "bench", "added"),
			os.DirFS(filepath.Join(b.dir, "sizes"))); err != nil {
			return s, err
		}
		if err := build(s.sizes, "./bench/added"); err != nil {
			fmt.Fprintln(os.Stderr, "warning: no sizes of the earlier revision:", err)
			s.sizes = ""
		}
		return s, nil
	}
	return s, build(s.sizes, "./bench/sizes")
}

// A source names the side that readings are of, and a variant of its work, if the row has several.
type source struct{ side, variant string }

// readings are in the order of the rounds.
type readings map[source][]reading

// plain is the one variant of most rows.
var plain = []string{""}

// alternate has each side do each variant once a round. Where take returns no reading, that side
// hasn't that variant. An earlier revision that fails, because the row is newer than it is, has no
// figures in the row; standard error says why.
func (b *bench) alternate(rounds int, variants []string,
	take func(s side, variant string) (reading, error)) (readings, error) {
	all := readings{}
	failed := false // the earlier revision
	for i := range rounds {
		for _, v := range variants {
			for _, s := range turns(b.sides, i) {
				if failed && s.name == before {
					continue
				}
				r, err := take(s, v)
				if err != nil && s.name == before && b.ctx.Err() == nil {
					fmt.Fprintln(os.Stderr, "warning: no figures of the earlier revision:", err)
					failed = true
					for _, v := range variants {
						delete(all, source{before, v})
					}
					continue
				}
				if err != nil {
					return nil, fmt.Errorf("%s: %w", s.name, err)
				}
				if r != nil {
					all[source{s.name, v}] = append(all[source{s.name, v}], r)
				}
			}
		}
	}
	return all, nil
}

// turns is the order of the sides in a round. Ours and the earlier revision change places each
// time, so that neither gains by its place.
func turns(sides []side, round int) []side {
	n := len(sides)
	if round%2 == 0 || sides[n-1].name != before {
		return sides
	}
	return append(slices.Clone(sides[:n-2]), sides[n-1], sides[n-2])
}

// sizes measures what is sent to a child first. Mitogen's figures are from the study.
func sizes(b *bench, r row) error {
	all, err := b.alternate(1, plain, func(s side, _ string) (reading, error) {
		got := reading{"command": 838, "sent": 19108}
		if s.name == peer {
			return got, nil
		}
		if s.sizes == "" {
			return nil, nil
		}
		out, err := output(b.command(s.sizes))
		if err != nil {
			return nil, err
		}
		return got, json.Unmarshal([]byte(out), &got)
	})
	if err != nil {
		return err
	}
	b.show(all, line{label: r.name + ": command", key: "command", format: "%.0f", needed: "≤ 400"})
	b.show(all, line{label: r.name + ": head and image", key: "sent", format: "%.0f",
		needed: "≤ 7 KiB, 9 with a reason"})
	return nil
}
