package jsonvalue

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/pyvalue"
)

func dictOf(keysAndValues ...any) *pyvalue.Dict {
	d := &pyvalue.Dict{}
	for i := 0; i < len(keysAndValues); i += 2 {
		d.Entries = append(d.Entries, struct{ Key, Value any }{keysAndValues[i], keysAndValues[i+1]})
	}
	return d
}

func TestEncodeValue(t *testing.T) {
	huge, _ := new(big.Int).SetString("-1180591620717411303424", 10)
	shared := &pyvalue.List{Items: []any{int64(1)}}
	for _, c := range []struct {
		v    any
		want string
	}{
		{nil, `null`},
		{true, `true`},
		{int64(-3), `-3`},
		{huge, `-1180591620717411303424`},
		{1.0, `1.0`}, {0.1, `0.1`}, {1e300, `1e+300`}, {math.Copysign(0, -1), `-0.0`},
		{math.NaN(), `{"$float":"nan"}`}, {math.Inf(1), `{"$float":"inf"}`},
		{math.Inf(-1), `{"$float":"-inf"}`},
		{complex(1, math.Inf(1)), `{"$complex":[1.0,{"$float":"inf"}]}`},
		{"äöü \"quoted\" \\ \t\r\n", `"äöü \"quoted\" \\ \t\r\n"`},
		{"\x00\x1b\x7f\u009b\u202e", `"\u0000\u001b\u007f\u009b\u202e"`},
		{"\u2028\u0085\u200b\ufe0f\u3164\u061c\u2066", `"\u2028\u0085\u200b\ufe0f\u3164\u061c\u2066"`},
		{"\xed\xa0\x80", `"\ud800"`},
		{"\xff", `"\ufffd"`},
		{"😀\U000e0041", `"😀\udb40\udc41"`},
		{[]byte{255}, `{"$bytes":"/w=="}`}, {pyvalue.Blob("x"), `{"$bytes":"eA=="}`},
		{[]byte{}, `{"$bytes":""}`},
		{pyvalue.Tuple{int64(1), "x"}, `[1,"x"]`}, {pyvalue.Tuple{}, `[]`},
		{&pyvalue.List{Items: []any{shared, shared}}, `[[1],[1]]`},
		{&pyvalue.Set{Items: []any{"b", "a"}}, `{"$set":["a","b"]}`},
		{&pyvalue.FrozenSet{}, `{"$frozenset":[]}`},
		{dictOf("b", int64(1), "a", nil), `{"b":1,"a":null}`},
		{dictOf("a", int64(1), "b", int64(2), "a", int64(3)), `{"b":2,"a":3}`},
		{dictOf(), `{}`},
		{dictOf(int64(1), "x"), `{"$dict":[[1,"x"]]}`},
		{dictOf("a", "x", nil, "y"), `{"$dict":[["a","x"],[null,"y"]]}`},
		{dictOf("$set", "x"), `{"$dict":[["$set","x"]]}`},
		{dictOf("$set", "x", "b", "y"), `{"$set":"x","b":"y"}`},
		{pyvalue.Ref{ID: 5, Name: "web1"}, `{"$context":{"id":5,"name":"web1"}}`},
		{pyvalue.Sender{Context: 5, Handle: 1000}, `{"$sender":{"context":5,"handle":1000}}`},
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
	if testing.Short() {
		t.Skip("the race detector takes minutes for what one goroutine does")
	}
	text := strings.Repeat("x", 1<<20)
	for name, v := range map[string]any{
		"list": &pyvalue.List{Items: repeat(text, 300)},
		"set":  &pyvalue.Set{Items: repeat(text, 300)},
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
		`null`, `true`, `-3`, `1180591620717411303424`, `1.0`, `1e+300`, `"äöü"`, `[]`, `[[1],{"a":[2]}]`,
		`{"b":1,"a":2}`,
		`{"$bytes":"/w=="}`, `{"$set":[1,2]}`, `{"$frozenset":["a"]}`, `{"$dict":[[1,"x"],["$y",null]]}`,
		`{"$float":"nan"}`,
		`{"$float":"inf"}`, `{"$float":"-inf"}`, `{"$complex":[1.0,2.5]}`, `{"$set":1,"b":2}`,
	} {
		v, err := Decode(text)
		if err != nil {
			t.Errorf("decode %s: got error %v, want none", text, err)
			continue
		}
		if got, err := Encode(v); err != nil || string(got) != text {
			t.Errorf("encode the value of %s: got %s, %v; want the same text", text, got, err)
		}
	}
	if v, err := Decode(`{"$tuple":[1]}`); err != nil {
		t.Error(err)
	} else if _, ok := v.(pyvalue.Tuple); !ok {
		t.Errorf("$tuple is %T", v)
	}
}

func TestDecodeValueErrors(t *testing.T) {
	for _, text := range []string{
		``, ` `, `x`, `{`, `[1,]`, `1 2`, `'a'`, `01`, `nan`, `{"a":1,}`, `1e999`, `"\x"`,
		`{"$gt":1}`, `{"$bytes":1}`, `{"$bytes":"*"}`, `{"$set":1}`, `{"$dict":[1]}`, `{"$dict":[[1]]}`,
		`{"$dict":1}`, `{"$float":"x"}`,
		`{"$float":1}`, `{"$complex":[1]}`, `{"$complex":["1",2]}`, `{"$tuple":{}}`, `[{"$x":1}]`,
		`{"$secret":"x"}`,
		strings.Repeat("[", 20000),
	} {
		if v, err := Decode(text); err == nil {
			t.Errorf("decode %.50s: got %v, want an error", text, v)
		}
	}
}

// TestDecodeKeepsWhatIsWritten checks that decoding replaces no unusual character.
func TestDecodeKeepsWhatIsWritten(t *testing.T) {
	for _, c := range []struct {
		text string
		want any
	}{
		{`"\ud800"`, "\xed\xa0\x80"},
		{`"caf\udce9 \uDFFF\uD800"`, "caf\xed\xb3\xa9 \xed\xbf\xbf\xed\xa0\x80"},
		{`"\ud83d\ude00"`, "\U0001f600"},
		{`"\ud83d\ud83d\ude00\ud83d"`, "\xed\xa0\xbd\U0001f600\xed\xa0\xbd"},
		{`"\ud83dx\ude00\n\"\\\/\b\f\r\t\u0041é"`, "\xed\xa0\xbdx\xed\xb8\x80\n\"\\/\b\f\r\tAé"},
		{`"\ufffd �"`, "\ufffd \ufffd"},
		{`-0`, int64(0)},
		{`9223372036854775808`, new(big.Int).Lsh(big.NewInt(1), 63)},
		{`9007199254740993`, int64(9007199254740993)},
		{`5e-324`, 5e-324},
		{`0e-999`, 0.0},
	} {
		got, err := Decode(c.text)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+q, %v, want %+q", c.text, got, err, c.want)
		}
		in, err := Decode(` [ 1 , { "k" : ` + c.text + ` } ] `)
		if err != nil || !reflect.DeepEqual(in.(*pyvalue.List).Items[1].(*pyvalue.Dict).Entries[0].Value,
			c.want) {
			t.Errorf("%s inside of a value: got %v, %v", c.text, in, err)
		}
	}
	v, err := Decode(`{"\udc80": 1, "a": {"\udc80\udc81": 2}}`)
	if err != nil || v.(*pyvalue.Dict).Entries[0].Key != "\xed\xb2\x80" {
		t.Errorf("a key: got %v, %v", v, err)
	}
	if zero, _ := Decode(`-0.0`); !math.Signbit(zero.(float64)) {
		t.Error("-0.0 lost its sign")
	}
	// There and back.
	for _, text := range []string{`"\udce9"`, `{"\udce9":["\ud800"]}`} {
		if v, err := Decode(text); err != nil {
			t.Errorf("decode %s: got error %v, want none", text, err)
		} else if got, err := Encode(v); err != nil || string(got) != text {
			t.Errorf("%s: got %s, %v", text, got, err)
		}
	}
}

// What a value of Python can't hold is refused, with its place.
func TestDecodeNamesThePlace(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{"a":1,"a":2}`, `["a"]: comes twice`},
		{`[{"x":{"a":1,"b":2,"\u0061":2}}]`, `[0]["x"]["a"]: comes twice`},
		{`{"$set":[1],"$set":[2]}`, `["$set"]: comes twice`},
		{`{"$set":[1,2,1]}`, `[2]: comes twice`},
		{`{"$set":[1,true]}`, `[1]: comes twice`},
		{`{"s":{"$frozenset":[1.0,1]}}`, `["s"][1]: comes twice`},
		{`{"$set":[{"$frozenset":[1,2]},{"$frozenset":[2,1]}]}`, `[1]: comes twice`},
		{`{"$dict":[[{"$frozenset":[1,"a"]},1],[{"$frozenset":["a",1.0]},2]]}`, `[1][0]: comes twice`},
		{`{"$set":[{"$tuple":[{"$frozenset":[1,2]}]},{"$tuple":[{"$frozenset":[2,true]}]}]}`,
			`[1]: comes twice`},
		{`{"$dict":[[0,1],[-0.0,2]]}`, `[1][0]: comes twice`},
		{`{"$dict":[[{"$tuple":[1,"a"]},1],[{"$tuple":[true,"a"]},2]]}`, `[1][0]: comes twice`},
		{`{"$dict":[[[1],2]]}`, `[0][0]: a list can't be a key`},
		{`{"$set":[{"$tuple":[{"$set":[]}]}]}`, `[0][0]: a set can't be a key`},
		{`{"$set":[{}]}`, `[0]: a dict can't be a key`},
		{`[1,1e400]`, `[1]: 1e400 is too large for a float`},
		{`{"a":[-1E999]}`, `["a"][0]: -1E999 is too large for a float`},
		{`[1e-400]`, `[0]: 1e-400 is too small for a float`},
		{`{"a":-0.1e-400}`, `["a"]: -0.1e-400 is too small for a float`},
		{`{"a":{"$x":1}}`, `["a"]: unknown form "$x"`},
		{`[{"$bytes":"*"}]`, `[0]: bad content of $bytes`},
		{`{"$complex":[9007199254740993,0]}`, `bad content of $complex`},
		{"[\"a\xff\"]", `[0]: text is not UTF-8 at byte 1`},
		{"{\"k\":{\"a\xc3\":1}}", `["k"] (a key): text is not UTF-8 at byte 1`},
		{"\"\xed\xa0\x80\"", `text is not UTF-8 at byte 0`},
	} {
		v, err := Decode(c.text)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: got %v, %v, want %s", c.text, v, err, c.want)
		}
		var place *PlaceError
		if !errors.As(err, &place) {
			t.Errorf("%s: got %T, want a PlaceError", c.text, err)
		}
	}
	for _, text := range []string{
		`{"$set":[1,"1",{"$bytes":"MQ=="},null,false,1.5]}`, `{"$dict":[[1,1],["1",1],[1.5,2]]}`,
		`{"a":{"a":{"a":1}}}`,
		`[{"a":1},{"a":2}]`,
	} {
		if _, err := Decode(text); err != nil {
			t.Errorf("decode %s: got error %v, want none", text, err)
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
