// Package wheel says whether what a wheel brings fits an interpreter: by the tags in its WHEEL
// file, as pip decides, and by what its ELF files need. It is pure: bytes in, values out.
package wheel

import (
	"encoding/csv"
	"io"
	"strings"
)

// Tag is one of a wheel's: cp313-cp313-manylinux_2_17_x86_64.
type Tag struct{ Python, ABI, Platform string }

func (t Tag) String() string { return t.Python + "-" + t.ABI + "-" + t.Platform }

// maxTags bounds the tags of one wheel.
const maxTags = 1024

// Tags returns the tags in a WHEEL file. A line with compressed sets, as file names have them,
// stands for each of their combinations. What isn't understood is ignored.
func Tags(text []byte) (all []Tag) {
	for line := range strings.Lines(string(text)) {
		name, value, ok := strings.Cut(line, ":")
		if !ok || !strings.EqualFold(strings.TrimSpace(name), "Tag") {
			continue
		}
		parts := strings.Split(strings.TrimSpace(value), "-")
		if len(parts) != 3 {
			continue
		}
		for python := range strings.SplitSeq(parts[0], ".") {
			for abi := range strings.SplitSeq(parts[1], ".") {
				for platform := range strings.SplitSeq(parts[2], ".") {
					if len(all) < maxTags {
						all = append(all, Tag{python, abi, platform})
					}
				}
			}
		}
	}
	return all
}

// Native reports whether tags belong to a wheel for some platform: such a wheel may have extension
// modules.
func Native(tags []Tag) bool {
	for _, t := range tags {
		if t.Platform != "any" {
			return true
		}
	}
	return false
}

// Record returns the files in a RECORD, with their hashes as they stand there: "sha256=…" in
// base64 for URLs, or "". It ends where the text isn't understood.
func Record(text []byte) map[string]string {
	files := map[string]string{}
	r := csv.NewReader(strings.NewReader(string(text)))
	r.FieldsPerRecord = -1
	for {
		fields, err := r.Read()
		if err == io.EOF {
			return files
		}
		if err != nil || len(fields) < 2 {
			return files
		}
		files[fields[0]] = fields[1]
	}
}

// Requires returns the names of the distributions that METADATA says are needed, as they stand
// there. Those that only an extra needs are left out.
func Requires(text []byte) (names []string) {
	for line := range strings.Lines(string(text)) {
		if strings.TrimSpace(line) == "" {
			break // the description follows
		}
		value, ok := strings.CutPrefix(line, "Requires-Dist:")
		if !ok || strings.Contains(value, "extra ==") {
			continue
		}
		value = strings.TrimSpace(value)
		end := strings.IndexFunc(value, func(r rune) bool {
			return !strings.ContainsRune("-_.", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') &&
				(r < 'a' || r > 'z')
		})
		if end >= 0 {
			value = value[:end]
		}
		names = append(names, value)
	}
	return names
}
