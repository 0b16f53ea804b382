package jsonvalue

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/mitogen-go/mitogen/pyvalue"
)

// ErrNotJSON says that an argument is not JSON at all.
var ErrNotJSON = errors.New("not JSON")

// A PlaceError says where in an argument something is wrong.
type PlaceError struct {
	Place string // as one would write it in Python: ["disks"][3]; empty: the argument itself
	Err   error
}

func (e *PlaceError) Error() string {
	if e.Place == "" {
		return e.Err.Error()
	}
	return e.Place + ": " + e.Err.Error()
}

// Unwrap returns e.Err.
func (e *PlaceError) Unwrap() error { return e.Err }

// within puts step in front of the place that err has.
func within(step string, err error) error {
	if err == ErrNotJSON {
		return err
	}
	if e, ok := err.(*PlaceError); ok {
		return &PlaceError{step + e.Place, e.Err}
	}
	return &PlaceError{step, err}
}

func itemStep(i int) string { return "[" + strconv.Itoa(i) + "]" }

func keyStep(key string) string { return fmt.Sprintf("[%+q]", key[:min(len(key), 80)]) }

// Decode reads an argument: JSON, with the forms of docs/json.md. Nothing is changed silently: text
// may have lone surrogates, and what a value of Python can't hold is refused with its place. The
// error is ErrNotJSON or a *PlaceError.
func Decode(text string) (any, error) {
	d := &valueDecoder{Decoder: json.NewDecoder(strings.NewReader(text)), text: text}
	d.UseNumber()
	if !json.Valid([]byte(text)) { // Token lets some errors pass
		return nil, ErrNotJSON
	}
	v, err := d.value()
	if err != nil {
		return nil, within("", err)
	}
	return v, nil
}

type valueDecoder struct {
	*json.Decoder
	text string
}

// token is Token, but text is as it was written: Token puts U+FFFD in the place of what isn't
// UTF-8.
func (d *valueDecoder) token() (json.Token, error) {
	begin := d.InputOffset()
	t, err := d.Token()
	if err != nil {
		return nil, ErrNotJSON
	}
	if s, ok := t.(string); ok && strings.ContainsRune(s, utf8.RuneError) {
		return unquote(strings.TrimLeft(d.text[begin:d.InputOffset()], " \t\r\n,:"))
	}
	return t, nil
}

// unquote reads a string of JSON that is well-formed but for its coding.
func unquote(s string) (string, error) {
	s = s[1 : len(s)-1]
	var b []byte
	for i := 0; i < len(s); {
		if s[i] == '\\' {
			r, n := escaped(s[i:])
			b = appendRune(b, r)
			i += n
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			return "", fmt.Errorf(`text is not UTF-8 at byte %d; bytes are {"$bytes": "…"}`, i)
		}
		b = append(b, s[i:i+n]...)
		i += n
	}
	return string(b), nil
}

var escapes = map[byte]rune{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escaped returns the character that s begins with an escape for, and the escape's length.
func escaped(s string) (rune, int) {
	if s[1] != 'u' {
		if r, ok := escapes[s[1]]; ok {
			return r, 2
		}
		return rune(s[1]), 2
	}
	r := hex4(s[2:])
	if len(s) >= 12 && s[6:8] == `\u` {
		if both := utf16.DecodeRune(r, hex4(s[8:])); both != utf8.RuneError {
			return both, 12
		}
	}
	return r, 6
}

func hex4(s string) rune {
	n, _ := strconv.ParseUint(s[:4], 16, 16)
	return rune(n)
}

// appendRune appends r, a lone surrogate as CPython's surrogatepass does.
func appendRune(b []byte, r rune) []byte {
	if utf16.IsSurrogate(r) {
		return append(b, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f)
	}
	return utf8.AppendRune(b, r)
}

func (d *valueDecoder) value() (any, error) {
	t, err := d.token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '[' {
			items, err := d.items()
			return &pyvalue.List{Items: items}, err
		}
		return d.object()
	case json.Number:
		return number(string(t))
	}
	return t, nil // nil, bool, string
}

func number(s string) (any, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	if !strings.ContainsAny(s, ".eE") {
		n, ok := new(big.Int).SetString(s, 10)
		if !ok {
			return nil, ErrNotJSON
		}
		return n, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, fmt.Errorf("%s is too large for a float", s)
	}
	digits, _, _ := strings.Cut(strings.ToLower(s), "e")
	if f == 0 && strings.ContainsAny(digits, "123456789") {
		return nil, fmt.Errorf("%s is too small for a float", s)
	}
	return f, nil
}

func (d *valueDecoder) items() ([]any, error) {
	items := []any{}
	for d.More() {
		v, err := d.value()
		if err != nil {
			return nil, within(itemStep(len(items)), err)
		}
		items = append(items, v)
	}
	_, err := d.token()
	return items, err
}

func (d *valueDecoder) object() (any, error) {
	dict := &pyvalue.Dict{}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.token()
		if err != nil {
			return nil, within(" (a key)", err)
		}
		key := t.(string)
		if seen[key] {
			return nil, within(keyStep(key), errTwice)
		}
		seen[key] = true
		v, err := d.value()
		if err != nil {
			return nil, within(keyStep(key), err)
		}
		dict.Entries = append(dict.Entries, pyvalue.Entry{Key: key, Value: v})
	}
	if _, err := d.token(); err != nil {
		return nil, err
	}
	if len(dict.Entries) == 1 {
		if name := dict.Entries[0].Key.(string); strings.HasPrefix(name, "$") {
			return special(name, dict.Entries[0].Value)
		}
	}
	return dict, nil
}

var errTwice = errors.New("comes twice")

// special makes the value that an object with a $ key means.
func special(name string, v any) (any, error) {
	form, ok := specials[name]
	if !ok {
		return nil, fmt.Errorf(`unknown form %q; a dict with that key is {"$dict": [[%q, …]]}`, name,
			name)
	}
	value, err := form(v)
	if err == errContent {
		return nil, fmt.Errorf("bad content of %s", name)
	}
	return value, err
}

var errContent = errors.New("bad content")

var specials = map[string]func(any) (any, error){
	"$bytes":   bytesForm,
	"$float":   floatForm,
	"$complex": complexForm,
	"$tuple": func(v any) (any, error) {
		return listForm(v, func(i []any) any { return pyvalue.Tuple(i) })
	},
	"$set": func(v any) (any, error) {
		return setForm(v, func(i []any) any { return &pyvalue.Set{Items: i} })
	},
	"$frozenset": func(v any) (any, error) {
		return setForm(v, func(i []any) any { return &pyvalue.FrozenSet{Items: i} })
	},
	"$dict": dictForm,
}

func bytesForm(v any) (any, error) {
	s, ok := v.(string)
	b, err := base64.StdEncoding.DecodeString(s)
	if !ok || err != nil {
		return nil, errContent
	}
	return b, nil
}

func floatForm(v any) (any, error) {
	s, _ := v.(string)
	f, ok := map[string]float64{"nan": math.NaN(), "inf": math.Inf(1), "-inf": math.Inf(-1)}[s]
	if !ok {
		return nil, errContent
	}
	return f, nil
}

func complexForm(v any) (any, error) {
	items, ok := itemsOf(v)
	if !ok || len(items) != 2 {
		return nil, errContent
	}
	re, ok1 := floatOf(items[0])
	im, ok2 := floatOf(items[1])
	if !ok1 || !ok2 {
		return nil, errContent
	}
	return complex(re, im), nil
}

func listForm(v any, form func([]any) any) (any, error) {
	items, ok := itemsOf(v)
	if !ok {
		return nil, errContent
	}
	return form(items), nil
}

func setForm(v any, form func([]any) any) (any, error) {
	items, ok := itemsOf(v)
	if !ok {
		return nil, errContent
	}
	seen := map[string]bool{}
	for i, item := range items {
		if err := takeOnce(seen, item); err != nil {
			return nil, within(itemStep(i), err)
		}
	}
	return form(items), nil
}

func dictForm(v any) (any, error) {
	pairs, ok := itemsOf(v)
	if !ok {
		return nil, errContent
	}
	dict := &pyvalue.Dict{}
	seen := map[string]bool{}
	for i, p := range pairs {
		pair, ok := itemsOf(p)
		if !ok || len(pair) != 2 {
			return nil, errContent
		}
		if err := takeOnce(seen, pair[0]); err != nil {
			return nil, within(itemStep(i)+itemStep(0), err)
		}
		dict.Entries = append(dict.Entries, pyvalue.Entry{Key: pair[0], Value: pair[1]})
	}
	return dict, nil
}

// takeOnce refuses a key of a dict or an item of a set that can't be one, or comes twice in
// Python's eyes.
func takeOnce(seen map[string]bool, v any) error {
	name, err := hashed(v)
	if err != nil {
		return err
	}
	if seen[name] {
		return errTwice
	}
	seen[name] = true
	return nil
}

// hashed returns a text that is the same for values that Python holds for equal: 1, 1.0 and true.
func hashed(v any) (string, error) {
	switch v := v.(type) {
	case bool:
		if v {
			return "1", nil
		}
		return "0", nil
	case float64:
		if math.Trunc(v) == v && !math.IsInf(v, 0) {
			n, _ := big.NewFloat(v).Int(nil)
			return n.String(), nil
		}
		return "f" + strconv.FormatFloat(v, 'g', -1, 64), nil
	case complex128:
		if imag(v) == 0 {
			return hashed(real(v))
		}
	case pyvalue.Tuple:
		return hashedAll("(", v)
	case *pyvalue.FrozenSet:
		return hashedSet(v)
	case *pyvalue.List:
		return "", errors.New(`a list can't be a key of a dict or an item of a set; {"$tuple": […]} can`)
	case *pyvalue.Set:
		return "", errors.New(`a set can't be a key of a dict or an item of a set; {"$frozenset": […]} ` +
			`can`)
	case *pyvalue.Dict:
		return "", errors.New("a dict can't be a key of a dict or an item of a set")
	}
	b, err := Encode(v)
	return string(b), err
}

func hashedAll(begin string, items []any) (string, error) {
	var b strings.Builder
	b.WriteString(begin)
	for i, item := range items {
		s, err := hashed(item)
		if err != nil {
			return "", within(itemStep(i), err)
		}
		fmt.Fprintf(&b, "%d:%s", len(s), s)
	}
	return b.String(), nil
}

// hashedSet doesn't depend on the order of the items.
func hashedSet(v *pyvalue.FrozenSet) (string, error) {
	items := make([]string, len(v.Items))
	for i, item := range v.Items {
		s, err := hashed(item)
		if err != nil {
			return "", within(itemStep(i), err)
		}
		items[i] = fmt.Sprintf("%d:%s", len(s), s)
	}
	slices.Sort(items)
	return "{" + strings.Join(items, ""), nil
}

func itemsOf(v any) ([]any, bool) {
	l, ok := v.(*pyvalue.List)
	if !ok {
		return nil, false
	}
	return l.Items, true
}

func floatOf(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		f := float64(v)
		return f, f < math.MaxInt64 && int64(f) == v // else it would be another number
	case float64:
		return v, true
	}
	return 0, false
}
