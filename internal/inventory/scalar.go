package inventory

import (
	"encoding/base64"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// variable converts a value, and notes whether it is encrypted or no template.
func (r *yamlReader) variable(n *yaml.Node) (Var, error) {
	v := Var{Where: r.place(n).where()}
	n = follow(n)
	switch {
	case isVault(n):
		v.Vault = true
		return v, r.cipher(n)
	case n.Tag == "!unsafe":
		v.Unsafe = true
	case n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[0].Value == "__ansible_unsafe":
		v.Unsafe = true
		n = n.Content[1]
	}
	budget := 1 << 20
	var err error
	v.Value, err = r.value(n, 0, &budget)
	return v, err
}

// redacted stands in the output of ansible-inventory since 2.22 for a value of an encrypted file.
const redacted = "$REDACTED$"

// isVault tells an encrypted value, of YAML or of JSON.
func isVault(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == redacted || n.Tag == "!vault" ||
		n.Tag == "!vault-encrypted" ||
		n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[0].Value == "__ansible_vault"
}

// cipher is an error if an encrypted value of YAML is no text.
func (r *yamlReader) cipher(n *yaml.Node) error {
	if strings.HasPrefix(n.Tag, "!vault") &&
		(n.Kind != yaml.ScalarNode || implicit(n.Value) != "!!str") {
		return r.bad(n, "%s: not text", n.Tag)
	}
	return nil
}

// value converts a node. budget bounds the values that aliases can make.
func (r *yamlReader) value(n *yaml.Node, depth int, budget *int) (any, error) {
	if *budget--; depth > maxDepth || *budget < 0 {
		return nil, r.bad(n, "a value too large or nested too deep")
	}
	n = follow(n)
	switch n.Kind {
	case yaml.SequenceNode:
		all := []any{}
		for _, c := range n.Content {
			v, err := r.value(c, depth+1, budget)
			if err != nil {
				return nil, err
			}
			all = append(all, v)
		}
		return all, nil
	case yaml.MappingNode:
		pairs, err := r.mapping(n, depth)
		if err != nil {
			return nil, err
		}
		all := make(map[string]any, len(pairs))
		for _, p := range pairs {
			if p.key == nil {
				return nil, r.bad(p.at, "a null key")
			}
			if all[pythonText(p.key)], err = r.value(p.value, depth+1, budget); err != nil {
				return nil, err
			}
		}
		return all, nil
	}
	return r.scalar(n)
}

const unplain = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle |
	yaml.FoldedStyle | yaml.TaggedStyle

// plain tells whether a scalar has neither quotes nor a tag.
func plain(n *yaml.Node) bool { return n.Style&unplain == 0 }

func (r *yamlReader) null(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode {
		return false
	}
	x, err := r.scalar(n)
	return err == nil && x == nil
}

// scalar converts a scalar by its tag, or by PyYAML's rules where it is plain.
func (r *yamlReader) scalar(n *yaml.Node) (any, error) {
	if n.Kind != yaml.ScalarNode {
		return nil, r.bad(n, "not a scalar")
	}
	tag := "!!str"
	switch {
	case n.Tag == "!" && n.Value == "" && plain(n):
	case n.Tag == "!": // read as plain, quoted or not
		tag = implicit(n.Value)
	case n.Style&yaml.TaggedStyle != 0 && n.Tag != "!unsafe":
		tag = n.Tag
	case plain(n) || n.Tag == "!unsafe":
		tag = implicit(n.Value)
	}
	convert, ok := converters[tag]
	if !ok {
		return nil, r.bad(n, "tag %s isn't known to Ansible", tag)
	}
	x, err := convert(n.Value)
	if err != nil {
		return nil, r.bad(n, "%s: not a value of the kind %s", shorten(n.Value), tag)
	}
	return x, nil
}

// implicitTags are the forms of plain scalars in YAML 1.1 as PyYAML has them. What has none of them
// is text.
var implicitTags = []struct {
	tag  string
	form *lazyregexp.Regexp
}{
	{"!!null", lazyregexp.New(`^(?:~|null|Null|NULL|)$`)},
	{"!!bool", lazyregexp.New(`^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|` +
		`off|Off|OFF)$`)},
	{"!!float", lazyregexp.New(`^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|` +
		`\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|` +
		`Inf|INF)|\.(?:nan|NaN|NAN))$`)},
	{"!!int", lazyregexp.New(`^[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|` +
		`[1-9][0-9_]*(?::[0-5]?[0-9])+)$`)},
	{"!!merge", lazyregexp.New(`^<<$`)}, // not a value's
	{"!!value", lazyregexp.New(`^=$`)},
	{"!!timestamp", lazyregexp.New(`^(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|` + timestampForm + `)$`)},
}

const timestampForm = `([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:[Tt]|` +
	`[ \t]+)([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]*))?(?:[ \t]*(?:(Z)|` +
	`([-+])([0-9]{1,2})(?::([0-9]{2}))?))?`

func implicit(s string) string {
	for _, t := range implicitTags {
		if t.form.MatchString(s) {
			return t.tag
		}
	}
	return "!!str"
}

// converters read a scalar of a tag.
var converters = map[string]func(string) (any, error){
	"!!str":            func(s string) (any, error) { return s, nil },
	"!!python/unicode": func(s string) (any, error) { return s, nil },
	"!!null":           func(string) (any, error) { return nil, nil },
	"!!bool":           yamlBool,
	"!!int":            yamlInt,
	"!!float":          yamlFloat,
	"!!timestamp":      yamlTime,
	"!!binary": func(s string) (any, error) {
		data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(s), ""))
		return string(data), err
	},
}

func yamlBool(s string) (any, error) {
	switch strings.ToLower(s) {
	case "yes", "true", "on":
		return true, nil
	case "no", "false", "off":
		return false, nil
	}
	return nil, errLiteral
}

// yamlInt reads decimal, octal (0123), hexadecimal, binary and sexagesimal (1:30) numbers.
func yamlInt(s string) (any, error) {
	s, minus := unsigned(s)
	base, digits := 10, s
	switch {
	case strings.HasPrefix(s, "0b"):
		base, digits = 2, s[2:]
	case strings.HasPrefix(s, "0x"):
		base, digits = 16, s[2:]
	case len(s) > 1 && s[0] == '0':
		base = 8
	case strings.Contains(s, ":"):
		n, err := sixties(s)
		return sign(minus, small(n)), err
	}
	n, ok := new(big.Int).SetString(digits, base)
	if !ok {
		return nil, errLiteral
	}
	return sign(minus, small(n)), nil
}

// unsigned removes underscores and the sign.
func unsigned(s string) (string, bool) {
	s = strings.ReplaceAll(s, "_", "")
	rest, minus := strings.CutPrefix(s, "-")
	if !minus {
		rest = strings.TrimPrefix(s, "+")
	}
	return rest, minus
}

func sixties(s string) (*big.Int, error) {
	all := new(big.Int)
	for digit := range strings.SplitSeq(s, ":") {
		n, ok := new(big.Int).SetString(digit, 10)
		if !ok {
			return all, errLiteral
		}
		all.Add(all.Mul(all, big.NewInt(60)), n)
	}
	return all, nil
}

func yamlFloat(s string) (any, error) {
	s, minus := unsigned(strings.ToLower(s))
	switch s {
	case ".inf":
		return sign(minus, math.Inf(1)), nil
	case ".nan":
		return math.NaN(), nil
	}
	all := 0.0
	for part := range strings.SplitSeq(s, ":") {
		f, err := strconv.ParseFloat(part, 64)
		if err != nil && !math.IsInf(f, 0) {
			return nil, err
		}
		all = all*60 + f
	}
	return sign(minus, all), nil
}

var timestamp = lazyregexp.New(`^` + timestampForm + `$`)

// yamlTime makes the text that Python makes of a date or time.
func yamlTime(s string) (any, error) {
	m := timestamp.FindStringSubmatch(s)
	if m == nil {
		_, err := time.Parse(time.DateOnly, s)
		return s, err
	}
	text := fmt.Sprintf("%s-%s-%s %s:%s:%s", m[1], two(m[2]), two(m[3]), two(m[4]), m[5], m[6])
	if _, err := time.Parse(time.DateTime, text); err != nil {
		return nil, err
	}
	if fraction := (m[7] + "000000")[:6]; fraction != "000000" {
		text += "." + fraction
	}
	switch {
	case m[8] != "":
		text += "+00:00"
	case m[9] != "":
		text += m[9] + two(m[10]) + ":" + two(m[11])
	}
	return text, nil
}

// two fills digits up to two.
func two(s string) string { return ("00" + s)[len(s):] }
