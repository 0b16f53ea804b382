package mitogen

import "testing"

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain é €": "plain é €", "h\xe9": "h\xed\xb3\xa9",
		"\x80\xff": "\xed\xb2\x80\xed\xb3\xbf", "é\xc3": "é\xed\xb3\x83",
		"\xed\xb2\x80": "\xed\xb3\xad\xed\xb2\xb2\xed\xb2\x80",
	} {
		if got := escape(in); got != want {
			t.Errorf("escape(%q): got %q, want %q", in, got, want)
		}
	}
}
