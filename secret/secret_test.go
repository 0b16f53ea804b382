package secret

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unsafe"
)

const word = "hunter2-and-more"

// No verb, encoding or log shows a Secret.
func TestHidden(t *testing.T) {
	type in struct{ S Secret }
	var shown []string
	for verb := rune(' '); verb < 0x7f; verb++ {
		if verb == 'p' || verb == 'w' {
			// with these fmt calls no method of a value that is no pointer, and no error: go vet finds them
			continue
		}
		for _, flag := range []string{"", "+", "#", "-", " ", "0", "9.4", "+#"} {
			format := "%" + flag + string(verb)
			for _, v := range []any{Secret(word), in{word}, &in{word}, []Secret{word},
				map[Secret]Secret{word: word}} {
				shown = append(shown, fmt.Sprintf(format, v))
			}
		}
	}
	shown = append(shown, fmt.Sprint(Secret(word)),
		fmt.Errorf("x: %v %d", Secret(word), Secret(word)).Error())
	j, err := json.Marshal([]any{Secret(word), in{word}})
	x, xerr := xml.Marshal(in{word})
	var g, logs bytes.Buffer
	gerr := gob.NewEncoder(&g).Encode(in{word})
	if err := errors.Join(err, xerr, gerr); err != nil {
		t.Fatal(err)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&logs, nil),
		slog.NewJSONHandler(&logs, nil)} {
		slog.New(h).Info("x", "s", Secret(word), "in", in{word})
	}
	for _, text := range append(shown, string(j), string(x), g.String(), logs.String()) {
		if strings.Contains(text, word) || strings.Contains(text, fmt.Sprintf("%x", word)) {
			t.Errorf("shown: %q", text)
		}
	}
}

// What is held is wiped once nothing refers to it any more, and not before.
func TestWipedByItself(t *testing.T) {
	input := []byte(word)
	kept := Hold(input)
	if string(kept) != word || bytes.Contains(input, []byte("hunter")) {
		t.Fatalf("got %d bytes, and left %q", len(kept), input)
	}
	wiped := make(chan string, 1)
	func() {
		lost := []byte(word)
		s := Hold(lost)
		// The number of the address keeps nothing alive.
		at := uintptr(unsafe.Pointer(unsafe.StringData(string(s))))
		go func() {
			for {
				time.Sleep(10 * time.Millisecond)
				if text := peek(at, len(word)); text != word {
					wiped <- text
					return
				}
			}
		}()
		runtime.KeepAlive(s)
	}()
	for {
		Wiped()
		select {
		case <-wiped:
			if string(kept) != word {
				t.Errorf("what is in use was wiped")
			}
			return
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("never wiped")
		}
	}
}

// peek reads this process's memory by its number.
func peek(at uintptr, n int) string {
	f, err := os.Open("/proc/self/mem")
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	b := make([]byte, n)
	f.ReadAt(b, int64(at))
	return string(b)
}

// A hash depends on each byte, and keeps none.
func TestDigest(t *testing.T) {
	sums := map[string]string{}
	for _, text := range []string{"", "a", "b", "ab", "a\x00", strings.Repeat("x", 200),
		strings.Repeat("x", 201)} {
		h := sha256.New()
		fmt.Fprintf(h, "before ")
		Secret(text).Digest(h)
		if state := fmt.Sprintf("%q", fmt.Sprint(reflect.ValueOf(h).Elem())); text != "" &&
			strings.Contains(state, fmt.Sprint([]byte(text))[1:]) {
			t.Errorf("%.20q: the hash has kept it", text)
		}
		sum := string(h.Sum(nil))
		if other, twice := sums[sum]; twice {
			t.Errorf("%.20q and %.20q have one sum", text, other)
		}
		sums[sum] = text
	}
}

// What a hash holds until a block is full begins and ends anywhere.
func TestDigestKeepsNothing(t *testing.T) {
	for name, fresh := range map[string]func() hash.Hash{
		"sha256": sha256.New, "sha512": sha512.New} {
		for before := range 260 {
			h := fresh()
			h.Write(make([]byte, before))
			Secret("\xf1\xf2\xf3\xf4").Digest(h)
			state := fmt.Sprint(reflect.ValueOf(h).Elem())
			if strings.Contains(state, "241 242") || strings.Contains(state, "243 244") {
				t.Errorf("%s, %d bytes before: the hash has kept it", name, before)
			}
		}
	}
}

func TestReadLine(t *testing.T) {
	for input, want := range map[string]string{
		"word\n": "word", "word": "word", "word\r\nmore\n": "word", "": "", "\n": "", "\nword": "",
		" a b \n": " a b ",
	} {
		got, err := ReadLine(iotest.OneByteReader(strings.NewReader(input)))
		if err != nil || string(got) != want {
			t.Errorf("%q: got %d bytes, %v, want %q", input, len(got), err, want)
		}
	}
	if _, err := ReadLine(strings.NewReader(strings.Repeat("x", maxLine+1))); !errors.Is(err,
		ErrTooLong) {
		t.Errorf("a long line: got %v, want %v", err, ErrTooLong)
	}
	broken := errors.New("broken")
	if _, err := ReadLine(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

// A variable is gone from this process, from its children, and from the view of other processes.
func TestFromEnv(t *testing.T) {
	const name = "MITOGEN_TEST_SECRET"
	if os.Getenv("MITOGEN_TEST_CHILD") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFromEnv$")
		cmd.Env = append(os.Environ(), "MITOGEN_TEST_CHILD=1", name+"="+word, name+"2=stays")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("run the child: %v; output: %s", err, out)
		}
		return
	}
	if got := FromEnv(name); string(got) != word {
		t.Errorf("got %d bytes, want %d", len(got), len(word))
	}
	if got := FromEnv(name); got != "" {
		t.Error("it is there twice")
	}
	out, err := exec.Command("env").Output()
	if err != nil || strings.Contains(string(out), word) || !strings.Contains(string(out), "stays") {
		t.Errorf("a child sees %q, %v", out, err)
	}
	if runtime.GOOS != "linux" {
		return
	}
	seen, err := os.ReadFile("/proc/self/environ")
	if err != nil || bytes.Contains(seen, []byte(word)) ||
		!bytes.Contains(seen, []byte(name+"2=stays")) {
		t.Errorf("others see %q, %v", seen, err)
	}
}

// Harden forbids core dumps here, and not in what is started.
func TestLimits(t *testing.T) {
	if os.Getenv("MITOGEN_TEST_CHILD") == "" {
		cmd := exec.Command("sh", "-c", `ulimit -S -c 64 && exec "$0" -test.run='^TestLimits$'`,
			os.Args[0])
		cmd.Env = append(os.Environ(), "MITOGEN_TEST_CHILD=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("run the child: %v; output: %s", err, out)
		}
		return
	}
	Harden()
	limit := func() string {
		out, err := exec.Command("sh", "-c", "ulimit -S -c").Output()
		return strings.TrimSpace(string(out)) + fmt.Sprint(err)
	}
	if got := limit(); got != "0<nil>" {
		t.Errorf("here: got %q, want 0", got)
	}
	Unlimited(func() {
		if got := limit(); got != "64<nil>" {
			t.Errorf("in a child: got %q, want 64", got)
		}
	})
	if got := limit(); got != "0<nil>" {
		t.Errorf("afterwards: got %q, want 0", got)
	}
}
