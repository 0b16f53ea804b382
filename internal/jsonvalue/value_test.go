package jsonvalue

import (
	"encoding/json"
	"math"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/pickle"
)

func dictOf(keysAndValues ...any) *pickle.Dict {
	d := &pickle.Dict{}
	for i := 0; i < len(keysAndValues); i += 2 {
		d.Entries = append(d.Entries, struct{ Key, Value any }{keysAndValues[i], keysAndValues[i+1]})
	}
	return d
}

func TestEncodeValue(t *testing.T) {
	huge, _ := new(big.Int).SetString("-1180591620717411303424", 10)
	shared := &pickle.List{Items: []any{int64(1)}}
	for _, c := range []struct {
		v    any
		want string
	}{
		{nil, `null`},
		{true, `true`},
		{int64(-3), `-3`},
		{huge, `-1180591620717411303424`},
		{1.0, `1.0`}, {0.1, `0.1`}, {1e300, `1e+300`}, {math.Copysign(0, -1), `-0.0`},
		{math.NaN(), `{"$float":"nan"}`}, {math.Inf(1), `{"$float":"inf"}`}, {math.Inf(-1), `{"$float":"-inf"}`},
		{complex(1, math.Inf(1)), `{"$complex":[1.0,{"$float":"inf"}]}`},
		{"äöü \"quoted\" \\ \t\r\n", `"äöü \"quoted\" \\ \t\r\n"`},
		{"\x00\x1b\x7f\u009b\u202e", `"\u0000\u001b\u007f\u009b\u202e"`},
		{"\u2028\u0085\u200b\ufe0f\u3164\u061c\u2066", `"\u2028\u0085\u200b\ufe0f\u3164\u061c\u2066"`},
		{"\xed\xa0\x80", `"\ud800"`},
		{"\xff", `"\ufffd"`},
		{"😀\U000e0041", `"😀\udb40\udc41"`},
		{[]byte{255}, `{"$bytes":"/w=="}`}, {pickle.Blob("x"), `{"$bytes":"eA=="}`}, {[]byte{}, `{"$bytes":""}`},
		{pickle.Tuple{int64(1), "x"}, `[1,"x"]`}, {pickle.Tuple{}, `[]`},
		{&pickle.List{Items: []any{shared, shared}}, `[[1],[1]]`},
		{&pickle.Set{Items: []any{"b", "a"}}, `{"$set":["a","b"]}`},
		{&pickle.FrozenSet{}, `{"$frozenset":[]}`},
		{dictOf("b", int64(1), "a", nil), `{"b":1,"a":null}`},
		{dictOf("a", int64(1), "b", int64(2), "a", int64(3)), `{"b":2,"a":3}`},
		{dictOf(), `{}`},
		{dictOf(int64(1), "x"), `{"$dict":[[1,"x"]]}`},
		{dictOf("a", "x", nil, "y"), `{"$dict":[["a","x"],[null,"y"]]}`},
		{dictOf("$set", "x"), `{"$dict":[["$set","x"]]}`},
		{dictOf("$set", "x", "b", "y"), `{"$set":"x","b":"y"}`},
		{pickle.Context{ID: 5, Name: "web1"}, `{"$context":{"id":5,"name":"web1"}}`},
		{pickle.Sender{Context: 5, Handle: 1000}, `{"$sender":{"context":5,"handle":1000}}`},
	} {
		got, err := Encode(c.v)
		if err != nil || string(got) != c.want {
			t.Errorf("%#v: %s, %v; want %s", c.v, got, err, c.want)
		}
		if !json.Valid(got) {
			t.Errorf("%#v: %s is no JSON", c.v, got)
		}
	}
	if got, err := Encode(make(chan int)); err == nil {
		t.Errorf("a channel: %s", got)
	}
}

// What is shared is written each time, so that a small pickle can be much JSON.
func TestEncodeValueIsBounded(t *testing.T) {
	text := strings.Repeat("x", 1<<20)
	for name, v := range map[string]any{
		"list": &pickle.List{Items: repeat(text, 300)},
		"set":  &pickle.Set{Items: repeat(text, 300)},
	} {
		if b, err := Encode(v); err != errLargeJSON {
			t.Errorf("%s: %d bytes, error %v", name, len(b), err)
		}
	}
}

func repeat(v any, n int) []any {
	all := make([]any, n)
	for i := range all {
		all[i] = v
	}
	return all
}

// Every form is read as what it is written for.
func TestDecodeValue(t *testing.T) {
	for _, text := range []string{
		`null`, `true`, `-3`, `1180591620717411303424`, `1.0`, `1e+300`, `"äöü"`, `[]`, `[[1],{"a":[2]}]`, `{"b":1,"a":2}`,
		`{"$bytes":"/w=="}`, `{"$set":[1,2]}`, `{"$frozenset":["a"]}`, `{"$dict":[[1,"x"],["$y",null]]}`, `{"$float":"nan"}`,
		`{"$float":"inf"}`, `{"$float":"-inf"}`, `{"$complex":[1.0,2.5]}`, `{"$set":1,"b":2}`,
	} {
		v, err := Decode(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := Encode(v); err != nil || string(got) != text {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	if v, err := Decode(`{"$tuple":[1]}`); err != nil {
		t.Error(err)
	} else if _, ok := v.(pickle.Tuple); !ok {
		t.Errorf("$tuple is %T", v)
	}
}

func TestDecodeValueErrors(t *testing.T) {
	for _, text := range []string{
		``, ` `, `x`, `{`, `[1,]`, `1 2`, `'a'`, `01`, `nan`, `{"a":1,}`, `1e999`, `"\x"`,
		`{"$gt":1}`, `{"$bytes":1}`, `{"$bytes":"*"}`, `{"$set":1}`, `{"$dict":[1]}`, `{"$dict":[[1]]}`, `{"$dict":1}`, `{"$float":"x"}`,
		`{"$float":1}`, `{"$complex":[1]}`, `{"$complex":["1",2]}`, `{"$tuple":{}}`, `[{"$x":1}]`, `{"$secret":"x"}`,
		strings.Repeat("[", 20000),
	} {
		if v, err := Decode(text); err == nil {
			t.Errorf("%.50s: %v", text, v)
		}
	}
}

// docs/json.md has each form that this package knows.
func TestJSONDocument(t *testing.T) {
	page, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range specials {
		if !strings.Contains(string(page), `{"`+name+`": `) {
			t.Errorf("docs/json.md doesn't say what %s is", name)
		}
	}
	values, _, _ := strings.Cut(string(page), "\n## ")
	for _, row := range strings.Split(values, "\n") {
		cells := strings.Split(row, "|")
		if len(cells) != 5 || !strings.Contains(cells[2], "`") {
			continue
		}
		for i, text := range strings.Split(cells[2], "`") {
			if i%2 == 1 && !strings.Contains(text, "…") && !json.Valid([]byte(text)) {
				t.Errorf("docs/json.md: %s is no JSON", text)
			}
		}
	}
}
