package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The link of rows with extension modules: bytes a second.
const extensionRate = 100e6 / 8

// extensions measures a call into a module that imports a package with extension modules, which the
// child lacks, over a link of 100 Mbit/s. What the link needs for the bytes and the round trips is
// taken off, and shown beside what plain Python needs to import the same from a disk.
func extensions(module, imported string) func(*bench, row) error {
	return func(b *bench, r row) error {
		packages, err := b.extensionPackages()
		if err != nil {
			return err
		}
		const rtt = 100 * time.Millisecond
		all, err := b.alternate(*runs, plain, func(s side, _ string) (reading, error) {
			if s.name == peer { // which sends none
				return nil, nil
			}
			return b.importingExtension(s, module, imported, packages, rtt)
		})
		if err != nil {
			return err
		}
		for _, child := range []string{"cold", "warm"} {
			of := func(label, key, format, needed string, scale float64) {
				b.show(all, line{label: fmt.Sprintf("%s, %s: %s", r.name, child, label),
					key: child + "_" + key, format: format, scale: scale, spread: format == "%.0f",
					needed: needed})
			}
			of("round trips", "trips", "%.1f", "≤ 3", 1)
			of("MB up", "up", "%.2f", "", 1e-6)
			of("ms", "s", "%.0f", "", 1e3)
			of("ms beyond bytes and round trips", "beyond_s", "%.0f", "", 1e3)
			of("ms beyond these and the import in plain Python", "over_s", "%.0f", "≤ 100", 1e3)
		}
		b.show(all, line{label: r.name + ": import in plain Python, compiling sources, ms",
			key: "plain_s", format: "%.0f", scale: 1e3, spread: true})
		return nil
	}
}

func (b *bench) importingExtension(s side, module, imported, packages string,
	rtt time.Duration) (reading, error) {
	k, err := b.link(rtt)
	if err != nil {
		return nil, err
	}
	defer k.Close()
	k.Rate = extensionRate
	target := b.target("ssh", k)
	target["python"] = b.bare
	got, err := b.drive(s.driver, "import", m{"target": target, "module": module,
		"packages": packages}, counting(k))
	if err != nil {
		return nil, err
	}
	if got["plain_s"], err = b.plainImport(packages, imported); err != nil {
		return nil, err
	}
	for _, child := range []string{"cold", "warm"} {
		beyond := got[child+"_s"] - got[child+"_up"]/extensionRate - got[child+"_trips"]*rtt.Seconds()
		got[child+"_beyond_s"], got[child+"_over_s"] = beyond, beyond-got["plain_s"]
	}
	return got, nil
}

// plainImport returns the seconds that an import takes where the packages are installed and nothing
// is compiled yet.
func (b *bench) plainImport(packages, imported string) (float64, error) {
	cmd := b.command(b.bare, "-B", "-c", "import time; t = time.time(); import "+imported+
		"; print(time.time() - t)")
	cmd.Env = append(os.Environ(), "PYTHONPATH="+packages)
	out, err := output(cmd)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.TrimSpace(out), 64)
}

// extensionPackages returns a directory with the packages, which it installs if they are missing.
func (b *bench) extensionPackages() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "mitogen-go-bench", "extensions")
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	pip := filepath.Join(cache, "mitogen-go-bench", "venv", "bin", "pip")
	half := filepath.Join(b.dir, "extensions")
	if err := b.call(pip, "install", "-q", "--no-compile", "--target", half, "cryptography==50.0.2",
		"pydantic==2.14.4"); err != nil {
		return "", err
	}
	return dir, b.call("mv", half, dir)
}
