// Package jsonvalue writes values of Python as JSON, and reads them: docs/json.md says how.
package jsonvalue

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// maxJSON bounds what one value may become: shared parts are written each time they occur.
const maxJSON = 256 << 20

var errLargeJSON = fmt.Errorf("result is larger than %d bytes as JSON", maxJSON)

// Encode returns v as JSON on one line, in ASCII control characters and nothing that a terminal
// would act on.
func Encode(v any) ([]byte, error) {
	e := &valueEncoder{}
	if err := e.value(v); err != nil {
		return nil, err
	}
	return e.b, nil
}

type valueEncoder struct{ b []byte }

func (e *valueEncoder) write(s string) { e.b = append(e.b, s...) }

func (e *valueEncoder) value(v any) error {
	if len(e.b) > maxJSON {
		return errLargeJSON
	}
	switch v := v.(type) {
	case nil:
		e.write("null")
	case bool:
		e.b = strconv.AppendBool(e.b, v)
	case int64:
		e.b = strconv.AppendInt(e.b, v, 10)
	case *big.Int:
		e.b = v.Append(e.b, 10)
	case float64:
		e.float(v)
	case string:
		e.text(v)
	case []any:
		return e.list("[", v, "]")
	case pyvalue.Tuple:
		return e.list("[", v, "]")
	case *pyvalue.List:
		return e.list("[", v.Items, "]")
	case *pyvalue.Dict:
		return e.dict(v)
	default:
		return e.special(v)
	}
	return nil
}

// special writes what JSON has nothing for: an object with one key that begins with $.
func (e *valueEncoder) special(v any) error {
	switch v := v.(type) {
	case []byte:
		e.bytes(v)
	case pyvalue.Blob:
		e.bytes(v)
	case complex128:
		e.write(`{"$complex":[`)
		e.float(real(v))
		e.write(",")
		e.float(imag(v))
		e.write("]}")
	case *pyvalue.Set:
		return e.set("$set", v.Items)
	case *pyvalue.FrozenSet:
		return e.set("$frozenset", v.Items)
	case pyvalue.Ref:
		e.write(fmt.Sprintf(`{"$context":{"id":%d,"name":`, v.ID))
		e.text(v.Name)
		e.write("}}")
	case pyvalue.Sender:
		e.write(fmt.Sprintf(`{"$sender":{"context":%d,"handle":%d}}`, v.Context, v.Handle))
	case error: // an exception as a value
		e.write(`{"$error":`)
		e.text(v.Error())
		e.write("}")
	case fmt.Stringer: // a secret, which shows itself as asterisks
		e.write(`{"$secret":`)
		e.text(v.String())
		e.write("}")
	default:
		return fmt.Errorf("a %T has no form in JSON", v)
	}
	return nil
}

// bytes writes bytes. Like text, it makes room at once: a value may be most of this process's
// memory.
func (e *valueEncoder) bytes(b []byte) {
	const begin, end = `{"$bytes":"`, `"}`
	e.b = slices.Grow(e.b, len(begin)+base64.StdEncoding.EncodedLen(len(b))+len(end)+1)
	e.write(begin)
	e.b = base64.StdEncoding.AppendEncode(e.b, b)
	e.write(end)
}

// float writes a number that reads as a float again, or the names of those that aren't numbers.
func (e *valueEncoder) float(f float64) {
	switch {
	case math.IsNaN(f):
		e.write(`{"$float":"nan"}`)
	case math.IsInf(f, 1):
		e.write(`{"$float":"inf"}`)
	case math.IsInf(f, -1):
		e.write(`{"$float":"-inf"}`)
	default:
		s := strconv.FormatFloat(f, 'g', -1, 64)
		if !strings.ContainsAny(s, ".e") {
			s += ".0"
		}
		e.write(s)
	}
}

func (e *valueEncoder) list(open string, items []any, end string) error {
	e.write(open)
	for i, item := range items {
		if i > 0 {
			e.write(",")
		}
		if err := e.value(item); err != nil {
			return err
		}
	}
	e.write(end)
	return nil
}

// set sorts by what is written, so that equal sets look equal.
func (e *valueEncoder) set(name string, items []any) error {
	var all [][]byte
	size := len(e.b)
	for _, item := range items {
		b, err := Encode(item)
		if err != nil {
			return err
		}
		if size += len(b); size > maxJSON {
			return errLargeJSON
		}
		all = append(all, b)
	}
	slices.SortFunc(all, bytes.Compare)
	e.write(`{"` + name + `":[`)
	e.b = append(e.b, bytes.Join(all, []byte(","))...)
	e.write("]}")
	return nil
}

// dict is an object where all keys are text and it doesn't look like one of the special forms.
func (e *valueEncoder) dict(d *pyvalue.Dict) error {
	last := map[string]int{}
	plain := true
	for i, entry := range d.Entries {
		key, ok := entry.Key.(string)
		plain = plain && ok
		last[key] = i
	}
	if len(last) == 1 {
		for key := range last {
			plain = plain && !strings.HasPrefix(key, "$")
		}
	}
	if !plain {
		return e.pairs(d)
	}
	e.write("{")
	first := true
	for i, entry := range d.Entries {
		key := entry.Key.(string)
		if last[key] != i { // a key that comes twice: the last one counts
			continue
		}
		if !first {
			e.write(",")
		}
		first = false
		e.text(key)
		e.write(":")
		if err := e.value(entry.Value); err != nil {
			return err
		}
	}
	e.write("}")
	return nil
}

func (e *valueEncoder) pairs(d *pyvalue.Dict) error {
	e.write(`{"$dict":[`)
	for i, entry := range d.Entries {
		if i > 0 {
			e.write(",")
		}
		if err := e.list("[", []any{entry.Key, entry.Value}, "]"); err != nil {
			return err
		}
	}
	e.write("]}")
	return nil
}

// text writes a string of Python. Lone surrogates, which are three bytes each, and whatever isn't
// printable become escapes.
func (e *valueEncoder) text(s string) {
	e.b = slices.Grow(e.b, len(s)+len(`""`)+1) // one more for the end of a line
	e.write(`"`)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			if u, ok := surrogate(s[i:]); ok {
				e.write(fmt.Sprintf(`\u%04x`, u))
				i += 3
				continue
			}
			e.write(`\ufffd`)
			i++
			continue
		}
		e.rune(r)
		i += n
	}
	e.write(`"`)
}

// surrogate reads a lone surrogate as CPython's surrogatepass writes it.
func surrogate(s string) (rune, bool) {
	if len(s) < 3 || s[0] != 0xed || s[1] < 0xa0 || s[1] > 0xbf || s[2] < 0x80 || s[2] > 0xbf {
		return 0, false
	}
	return 0xd000 | rune(s[1]&0x3f)<<6 | rune(s[2]&0x3f), true
}

var shortEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`}

func (e *valueEncoder) rune(r rune) {
	short, ok := shortEscapes[r]
	switch {
	case ok:
		e.write(short)
	case printable.Rune(r):
		e.b = utf8.AppendRune(e.b, r)
	case r < 0x10000:
		e.write(fmt.Sprintf(`\u%04x`, r))
	default:
		r -= 0x10000
		e.write(fmt.Sprintf(`\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff))
	}
}

// EscapeControls writes what encoding/json lets pass as escapes: DEL, C1 controls, direction marks
// and the like. b is JSON.
func EscapeControls(b []byte) []byte {
	e := valueEncoder{b: make([]byte, 0, len(b))}
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r < 0x7f {
			e.b = append(e.b, b[i])
		} else {
			e.rune(r)
		}
		i += n
	}
	return e.b
}

// Text is b as a JSON string if it is UTF-8, else as bytes.
func Text(b []byte) json.RawMessage {
	if !utf8.Valid(b) {
		return json.RawMessage(`{"$bytes":"` + base64.StdEncoding.EncodeToString(b) + `"}`)
	}
	e := &valueEncoder{}
	e.text(string(b))
	return e.b
}
