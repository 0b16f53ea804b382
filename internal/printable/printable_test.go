package printable

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// harmful are characters that no terminal, and no reader of lines, may see, each with what shows
// it.
var harmful = map[string]string{
	"\x00": `\x00`, "\x07": `\x07`, "\x08": `\x08`, "\x0b": `\x0b`, "\x0c": `\x0c`, "\r": `\x0d`,
	"\x0e": `\x0e`, "\x1b": `\x1b`, "\x7f": `\x7f`,
	"\u0085": `\u0085`, "\u009b": `\u009b`, "\x9b": `\x9b`, "\xc2": `\xc2`, "\xc0\x9b": `\xc0\x9b`,
	"\xed\xa0\x80": `\xed\xa0\x80`, "\xf4\x90\x80\x80": `\xf4\x90\x80\x80`,
	"\u061c": `\u061c`, "\u200b": `\u200b`, "\u200e": `\u200e`, "\u200f": `\u200f`, "\u2028": `\u2028`,
	"\u2029": `\u2029`, "\u202a": `\u202a`, "\u202e": `\u202e`,
	"\u2060": `\u2060`, "\u2066": `\u2066`, "\u2069": `\u2069`, "\ufeff": `\ufeff`, "\u00ad": `\u00ad`,
	"\u034f": `\u034f`, "\u115f": `\u115f`, "\u3164": `\u3164`,
	"\uffa0": `\uffa0`, "\u180e": `\u180e`, "\ufe0f": `\ufe0f`, "\u00a0": `\u00a0`, "\u3000": `\u3000`,
	"\ufff9": `\ufff9`, "\ue000": `\ue000`, "\uffff": `\uffff`,
	"\U000e0001": `\U000e0001`, "\U000e0041": `\U000e0041`, "\U000e0100": `\U000e0100`,
	"\U0001d173": `\U0001d173`, "\U0010ffff": `\U0010ffff`,
}

func TestHarmfulTextIsShownAsEscapes(t *testing.T) {
	for in, want := range harmful {
		for name, show := range map[string]func(string) string{"Text": Text, "Line": Line} {
			if got := show("a" + in + "b"); got != "a"+want+"b" {
				t.Errorf("%s(%+q): got %+q, want %+q", name, "a"+in+"b", got, "a"+want+"b")
			}
		}
		if got := Name(in); strings.Contains(got, in) || got[0] != '"' {
			t.Errorf("Name(%+q): got %+q, want it quoted", in, got)
		}
	}
}

func TestHarmlessTextIsKept(t *testing.T) {
	for _, s := range []string{"", "plain", "äöü é 世界 नमस्ते ภาษา עברית", "e\u0301", "😀",
		"tab\there\nnext", `back\slash "quoted"`, "\ufffd", "⠿⡇"} {
		if got := Text(s); got != s {
			t.Errorf("Text(%+q): got %+q, want it unchanged", s, got)
		}
	}
	for in, want := range map[string]string{"a\tb\nc\r\nd": `a\x09b\x0ac\x0d\x0ad`, "\u0301": `\u0301`,
		"a\n": `a\x0a`} {
		if got := Line(in); got != want {
			t.Errorf("Line(%+q): got %+q, want %+q", in, got, want)
		}
	}
	if got, want := Text("a\r\nb\r"), "a\nb\\x0d"; got != want {
		t.Errorf("Text: got %+q, want %+q", got, want)
	}
}

// A mark may join what stands before it in its own line, and no more than so many.
func TestMarks(t *testing.T) {
	for _, s := range []string{"\u0338x", "a\n\u0338x"} {
		if got := Text(s); strings.Contains(got, "\u0338") {
			t.Errorf("Text(%+q): got %+q, want an escape", s, got)
		}
	}
	if got := strings.Count(Line("a"+strings.Repeat("\u0301", 1000)), "\u0301"); got != maxMarks {
		t.Errorf("got %d marks, want %d", got, maxMarks)
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string]string{
		"web1": "web1", "bastion+web1:22+sudo": "bastion+web1:22+sudo", "2001:db8::1": "2001:db8::1",
		"docker:app": "docker:app", "münchen": "münchen",
		"": `""`, "a b": `"a b"`, "web1: ok": `"web1: ok"`, "error": `"error"`, "hint:": `"hint:"`,
		"warning": `"warning"`, `"web1"`: `"\"web1\""`, "a\nb": `"a\nb"`,
		"a\u202eb": `"a\u202eb"`, "a\u3164b": `"a\u3164b"`, "a\u00a0b": `"a\u00a0b"`,
	} {
		if got := Name(in); got != want {
			t.Errorf("Name(%+q): got %s, want %s", in, got, want)
		}
	}
}

// Every character of Unicode that isn't for reading is refused: a list of its own, by category.
func TestEveryCharacter(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		bad := unicode.In(r, unicode.C, unicode.Zl, unicode.Zp, unicode.Bidi_Control,
			unicode.Join_Control, unicode.Other_Default_Ignorable_Code_Point,
			unicode.Variation_Selector, unicode.Noncharacter_Code_Point) ||
			unicode.IsSpace(r) && r != ' '
		if bad && Rune(r) {
			t.Errorf("%U: got true, want false", r)
		}
	}
}

func FuzzClean(f *testing.F) {
	for in := range harmful {
		f.Add("a" + in + "b\nc")
	}
	f.Fuzz(func(t *testing.T, s string) {
		for name, got := range map[string]string{"Text": Text(s), "Line": Line(s), "Name": Name(s)} {
			if !utf8.ValidString(got) {
				t.Errorf("%s(%+q): got %+q, want valid UTF-8", name, s, got)
			}
			for _, r := range got {
				if !Rune(r) && !(name == "Text" && (r == '\n' || r == '\t')) {
					t.Errorf("%s(%+q) = %+q: has %U", name, s, got, r)
				}
			}
		}
		if once := Line(s); Line(once) != once {
			t.Errorf("Line(%+q) = %+q, and again %+q", s, once, Line(once))
		}
	})
}

// Text keeps lines, Line doesn't.
func TestTextAndLine(t *testing.T) {
	for _, tt := range []struct{ in, want, line string }{
		{"plain é 世界", "plain é 世界", "plain é 世界"},
		{"a\tb\nc", "a\tb\nc", `a\x09b\x0ac`},
		{"a\r\nb\rc", "a\nb\\x0dc", `a\x0d\x0ab\x0dc`},
		{"\x1b]0;x\a", `\x1b]0;x\x07`, `\x1b]0;x\x07`},
		{"\xff\u009b\u202e\x7f", `\xff\u009b\u202e\x7f`, `\xff\u009b\u202e\x7f`},
	} {
		if got := Text(tt.in); got != tt.want {
			t.Errorf("Text(%q) = %q, want %q", tt.in, got, tt.want)
		}
		if got := Line(tt.in); got != tt.line {
			t.Errorf("Line(%q) = %q, want %q", tt.in, got, tt.line)
		}
	}
}
