package secret

import (
	"encoding/json"
	"testing"
)

func FuzzFromJSON(f *testing.F) {
	for _, text := range []string{`""`, "\"\"\n", `"a"`, `null`, `"\"\\\/\b\f\n\r\t"`,
		`"\u0041\u00e9\ud83d\ude00"`, `"\ud83d"`, `"\ude00x"`, `"\ud83d\u0041"`, `"\u12"`, `"`, `"a`,
		`"\"`, `"é😀"`, `"\x"`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if !json.Valid(b) {
			FromJSON(b)
			return
		}
		var want string
		wantErr := json.Unmarshal(b, &want)
		got, err := FromJSON(b)
		if wantErr == nil && err == nil && string(got) != want && !hasInvalid(b) {
			t.Errorf("%q: got %q, want %q", b, string(got), want)
		}
		if wantErr == nil && err != nil {
			t.Errorf("%q: got %v, want %q", b, err, want)
		}
	})
}

// hasInvalid tells whether b isn't UTF-8, which only encoding/json replaces.
func hasInvalid(b []byte) bool { return string([]rune(string(b))) != string(b) }
