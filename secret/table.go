package secret

import (
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
)

// A Table is secrets by name, in one text that formatting and encoding don't show: entries with NUL
// between them, each a name and, behind an SOH, its secret. The zero Table is empty.
type Table string

const (
	between = "\x00"
	behind  = "\x01"
)

// NewTable makes a Table. It fails for names that are empty or hold NUL or SOH, and for secrets
// that hold NUL.
func NewTable(all map[string]Secret) (Table, error) {
	var text []byte
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if name == "" || strings.ContainsAny(name, between+behind) ||
			strings.Contains(string(all[name]), between) {
			return "", fmt.Errorf("secret for %q: a name is empty, or there is a NUL", name)
		}
		if text != nil {
			text = append(text, between...)
		}
		text = append(text, name...)
		if all[name] != "" {
			text = append(append(text, behind...), all[name]...)
		}
	}
	return Table(Hold(text)), nil
}

// All yields names and secrets, by name.
func (t Table) All() iter.Seq2[string, Secret] {
	return func(yield func(string, Secret) bool) {
		for rest, more := string(t), t != ""; more; {
			var entry string
			entry, rest, more = strings.Cut(rest, between)
			name, word, _ := strings.Cut(entry, behind)
			if !yield(name, Secret(word)) {
				return
			}
		}
	}
}

// With returns a Table that has other's secrets too. Where both have one, it is other's.
func (t Table) With(other Table) Table {
	all := maps.Collect(t.All())
	for name, s := range other.All() {
		all[name] = s
	}
	both, _ := NewTable(all) // of what was in tables
	return both
}

// String hides the secrets.
func (t Table) String() string { return Secret(t).String() }

// GoString hides the secrets.
func (t Table) GoString() string { return t.String() }

// Format hides the secrets from every verb.
func (t Table) Format(f fmt.State, _ rune) { io.WriteString(f, t.String()) }

// MarshalText hides the secrets.
func (t Table) MarshalText() ([]byte, error) { return Secret(t).MarshalText() }
