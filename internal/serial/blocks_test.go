package serial

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/seriallink"
)

// atOnce is a line that brings all in one read, once something was typed.
type atOnce struct {
	text  []byte
	typed bool
}

func (a *atOnce) Read(b []byte) (int, error) {
	if !a.typed || len(a.text) == 0 {
		return 0, errors.New("nothing comes any more")
	}
	n := copy(b, a.text)
	a.text = a.text[n:]
	return n, nil
}

func (a *atOnce) Write(b []byte) (int, error) {
	a.typed = true
	return len(b), nil
}

func (a *atOnce) Close() error                     { return nil }
func (a *atOnce) SetReadDeadline(time.Time) error  { return nil }
func (a *atOnce) SetWriteDeadline(time.Time) error { return nil }

// What a command writes is there also if it comes with the answers to the last blocks of code, or
// instead of them.
func TestEarlyOutput(t *testing.T) {
	for name, answers := range map[string]string{
		"all answers":   "MITO-A0:0\nMITO-A1:1\n",
		"one answer":    "MITO-A0:0\n",
		"no answers":    "",
		"a wrong block": "MITO-A0:0\nMITO-A9:9\n",
	} {
		t.Run(name, func(t *testing.T) {
			o := seriallink.Options{Key: 7, Rate: 11520, Trip: minTrip, Idle: Idle}
			far := o
			far.Far = true
			now := time.Now()
			there := seriallink.New(far, now)
			there.Put(seriallink.Error, []byte("who\n"))
			there.Put(seriallink.Data, []byte("what\n"))
			there.Put(seriallink.End, []byte("3"))
			w := &atOnce{text: []byte(answers)}
			for range 50 {
				now = now.Add(50 * time.Millisecond)
				w.text = append(w.text, there.Take(now)...)
			}
			k := &talk{ctx: t.Context(), w: w, rate: 11520}
			lines := [][]byte{[]byte("0 0 x\n"), []byte("1 0 x\n")}
			early, err := k.upload(lines, seriallink.New(o, time.Now()))
			var got strings.Builder
			for _, r := range early {
				got.Write(r.Data)
			}
			if err != nil || got.String() != "who\nwhat\n3" {
				t.Errorf("got %q, %v, want all that was written", got.String(), err)
			}
		})
	}
}

// An answer settles its own block, or none if it was damaged on the way.
func TestSettled(t *testing.T) {
	for text, left := range map[string][]int{
		"MITO-A1:1\n":                 {2, 11},
		"MITO-A1:1":                   {1, 2, 11},
		"MITO-A1:1\nMITO-A11:11\n":    {2},
		"MITO-A2:11\n":                {1, 2, 11},
		"MITO-A1:11\n":                {1, 2, 11},
		"MITO-A1:1\r\nMITO-A2:2\r\n":  {11},
		"MITO-A1\nMITO-A2:\n":         {1, 2, 11},
		"MITO-A-1:-1\nxMITO-A11:11\n": {1, 2},
		"MITO-A99:99\n":               {1, 2, 11},
	} {
		missing := map[int]time.Time{1: {}, 2: {}, 11: {}}
		k := &talk{seen: []byte(text)}
		k.settled(missing)
		if got := slices.Sorted(maps.Keys(missing)); !slices.Equal(got, left) {
			t.Errorf("%q: got %v left, want %v", text, got, left)
		}
	}
}

// A quick line isn't given up before an open link would be: its machine may be busy. A slow one
// gets the time that its blocks take.
func TestBusyMachineIsNoDamage(t *testing.T) {
	for _, rate := range []int{0, 11_520, 30} {
		l := &talk{rate: rate}
		if got := l.stuck(3000); got < Idle || got < 10*l.takes(3000) {
			t.Errorf("%d bytes/s: got %v, want %v or more", rate, got, max(Idle, 10*l.takes(3000)))
		}
	}
}
