package methods

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/printable"
)

// hideSecrets are secrets as people choose them, and secrets that are hard to find in a text.
var hideSecrets = []string{"hunter2become", "correct horse battery", `a\nb'c"d$e`, "pässwörd-ключ",
	"100%_sure+1", "tab\there", "pw😀pw", `\\\'"`, `''''`}

// Whatever a program makes of a secret when it repeats it, it is hidden, and what is around it
// stays.
func TestMaskHides(t *testing.T) {
	between := func(s, sep string) string { return strings.Join(strings.Split(s, ""), sep) }
	half := func(s, sep string) string {
		n := len([]rune(s)) / 2
		return string([]rune(s)[:n]) + sep + string([]rune(s)[n:])
	}
	for _, secret := range hideSecrets {
		quoted, err := json.Marshal(secret)
		if err != nil {
			t.Fatal(err)
		}
		m := &Mask{}
		m.Add(secret)
		forms := map[string]string{
			"as it is": secret, "shell": QuoteCommand([]string{secret}),
			"double quotes": strconv.Quote(secret),
		}
		if strings.Trim(secret, `'"\`) != "" { // else nothing is left to find it by
			for name, form := range map[string]string{
				"ASCII": strconv.QuoteToASCII(secret), "JSON": string(quoted), "query": url.QueryEscape(secret),
				"path": url.PathEscape(secret),
				"hex":  hex.EncodeToString([]byte(secret)), "Hex": fmt.Sprintf("%X", secret),
				"base64":      base64.StdEncoding.EncodeToString([]byte(secret)),
				"base64 line": base64.StdEncoding.EncodeToString([]byte(secret + "\n")),
				"bytes":       fmt.Sprintf("%+q", secret),
				"two lines":   half(secret, "\r\n"), "two lines and colour": half(secret, "\r\n\x1b[1;31m"),
				"title":            half(secret, "\x1b]0;x\x07"),
				"escape sequences": between(secret, "\x1b[0m"), "backspaces": between(secret, "\b"),
				"invisible": between(secret, "\u200b"),
				"C1":        between(secret, "\u009b0m"), "nul": between(secret, "\x00"),
				"cleaned":      printable.Text(between(secret, "\x07")),
				"shell pieces": half(secret, `''`), "raw C1": between(secret, "\x9d"),
			} {
				forms[name] = form
			}
		}
		for name, form := range forms {
			for _, text := range []string{form, "before " + form + " after", form + form} {
				got := m.Hide(text)
				if strings.Contains(got, secret) || got == text || !strings.Contains(got, Masked) ||
					len(got) > len(text)+len(Masked) {
					t.Errorf("%s of %q: %q became %q", name, secret, text, got)
				}
				if strings.HasPrefix(text, "before") &&
					(!strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after")) {
					t.Errorf("%s of %q: what is around it is missing in %q", name, secret, got)
				}
			}
		}
	}
}

func TestMaskLeaves(t *testing.T) {
	m := &Mask{}
	for _, s := range []string{"", "a", "su", "pw1", "hunter2become"} {
		m.Add(s)
	}
	for in, want := range map[string]string{
		"":                                     "",
		"sudo: a password is required":         "sudo: " + Masked + " password is required",
		"su: Authentication failure":           Masked + ": Authentication failure",
		"wrong password pw1.":                  "wrong password " + Masked + ".",
		"pw12, xpw1, über-pw1é":                "pw12, xpw1, über-pw1é",
		"hunter2becom, unter2become":           "hunter2becom, unter2become",
		`C:\new\%41 100% \x4`:                  `C:\new\%41 100% \x4`,
		"hunter2become hunter2become":          Masked + " " + Masked,
		strings.Repeat("x", 100) + "\x1b[31mé": strings.Repeat("x", 100) + "\x1b[31mé",
	} {
		if got := m.Hide(in); got != want {
			t.Errorf("Hide(%q) = %q, want %q", in, got, want)
		}
	}
	if got := (&Mask{}).Hide("anything"); got != "anything" {
		t.Errorf("without secrets: %q", got)
	}
}

// A text that was cut to its end may begin inside a secret.
func TestMaskOfTails(t *testing.T) {
	const secret = "hunter2become"
	m := &Mask{}
	m.Add(secret)
	for cut := 1; cut < len(secret); cut++ {
		text := secret[cut:] + strings.Repeat(".", TextLimit)
		got := m.Hide(text[:TextLimit])
		if strings.Contains(got, secret[max(cut, len(secret)-2):]) || !strings.HasSuffix(got, "...") {
			t.Errorf("cut at %d: %.30q", cut, got)
		}
	}
}

// A Mask must not become another place that a secret is kept in.
func TestMaskKeepsNoSecret(t *testing.T) {
	m := &Mask{}
	m.Add("hunter2become")
	if text := fmt.Sprintf("%+v", m.forms); strings.Contains(text, "hunter2become") ||
		strings.Contains(text, fmt.Sprint([]byte("hunter2"))) {
		t.Error(text)
	}
}

func FuzzMask(f *testing.F) {
	f.Add("hunter2become", "x", "y")
	f.Add(`\u0041%41`, "\x1b[", "m")
	f.Add("pw", "a", ".")
	f.Fuzz(func(t *testing.T, secret, before, after string) {
		m := &Mask{}
		m.Add(secret)
		text := before + secret + after
		if got := m.Hide(text); len(secret) >= shortSecret && len(text) < TextLimit &&
			len(secret) < 1000 && strings.Contains(got, secret) &&
			!strings.Contains(Masked, secret) && strings.Count(text, secret) == 1 && before == "" &&
			after == "" {
			t.Errorf("%q in %q became %q", secret, text, got)
		}
	})
}
