package inventory

import (
	"strconv"
	"strings"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// A host may be followed by a port: "name:22", or "[name or address]:22". The name may have ranges.
var (
	bracketedPort = lazyregexp.New(`^\[(.+)\]:([0-9]+)$`)
	plainPort     = lazyregexp.New(`^((?:[^:\[\]]|\[[^\]]*\])*):([0-9]+)$`)
)

// Names with ranges, as Ansible knows them: labels of word characters and hyphens that don't end
// with a hyphen or underscore.
const (
	nameRange = `\[(?i:[a-z]:[a-z]|[0-9]+:[0-9]+)(?::[0-9]+)?\]`
	nameLabel = `(?:(?:[\pL\pN_]|` + nameRange + `)(?:[\pL\pN_-]|` + nameRange + `)*)?(?:[\pL\pN]|` +
		nameRange + `)`
	hexRange = `\[(?i:[0-9a-f]+:[0-9a-f]+)(?::[0-9]+)?\]`
	hexPart  = `(?:(?i:[0-9a-f]{1,4})|` + hexRange + `)`
	decimals = `(?:[01]?[0-9]{1,2}|2[0-4][0-9]|25[0-5]|\[[0-9]+:[0-9]+(?::[0-9]+)?\])`
)

var (
	hostname = lazyregexp.New(`^` + nameLabel + `(?:\.` + nameLabel + `)*$`)
	ipv4     = lazyregexp.New(`^(?:` + decimals + `\.){3}` + decimals + `$`)
	// a space for a range
	hexParts  = lazyregexp.New(`^(?i:[0-9a-f]{1,4}| )(?::(?i:[0-9a-f]{1,4}| ))*$`)
	ranges    = lazyregexp.New(hexRange)
	dottedEnd = lazyregexp.New(`^(?:0:0:0:0:0:0:|::|::(?i:ffff):|0:0:0:0:0:(?i:ffff):)(?:` + hexPart +
		`\.){3}` + hexPart + `$`)
)

// address splits a port off. It tells whether text is a name or an address as Ansible knows them;
// if not, text is a name as it stands.
func address(text string) (name string, port int64, ok bool) {
	name = text
	for _, re := range []*lazyregexp.Regexp{bracketedPort, plainPort} {
		if m := re.FindStringSubmatch(name); m != nil {
			name = m[1]
			var err error
			if port, err = strconv.ParseInt(m[2], 10, 64); err != nil {
				return text, 0, false
			}
		}
	}
	if name == "" || !hostname.MatchString(name) && !isIPv4(name) && !isIPv6(name) {
		return text, 0, false
	}
	return name, port, true
}

func isIPv4(s string) bool { return ipv4.MatchString(s) }

// isIPv6 takes ranges in place of parts, too.
func isIPv6(s string) bool {
	if strings.Contains(s, ".") {
		return dottedEnd.MatchString(s)
	}
	if strings.ContainsRune(s, ' ') {
		return false
	}
	left, right, short := strings.Cut(ranges.ReplaceAllString(s, " "), "::")
	if left != "" && !hexParts.MatchString(left) || right != "" && !hexParts.MatchString(right) {
		return false
	}
	l, r := parts(left), parts(right)
	switch {
	case !short:
		return l == 8
	case l == 0 || r == 0:
		return l+r <= 6
	}
	return l+r <= 7
}

func parts(s string) int {
	if s == "" {
		return 0
	}
	return strings.Count(s, ":") + 1
}

// hosts makes names and a port of a host as it is written in a source.
func hosts(text string) (names []string, port int64, err error) {
	name, port, _ := address(text)
	names, err = expand(name)
	return names, port, err
}
