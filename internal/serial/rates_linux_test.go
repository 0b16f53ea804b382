package serial

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/consolesim"
	"github.com/mitogen-go/mitogen/internal/lab"
)

// serialRate is the rate of a line of 115,200 baud, in bytes a second.
const serialRate = 11520

// long tells whether the long forms are wanted: make test-console.
func long() bool { return os.Getenv("MITOGEN_CONSOLE") != "" }

// badLines are those that a login, and what follows, has to come through.
var badLines = []struct {
	name string
	o    consolesim.Options
}{
	{"1 in 2,000 damaged, a message each second", consolesim.Options{Flip: .0005,
		Noise: time.Second}},
	{"1 in 500 damaged or lost", consolesim.Options{Flip: .001, Drop: .001}},
	{"1 in 1,000 doubled, a message each second", consolesim.Options{Twice: .001,
		Noise: time.Second}},
	{"seven bits", consolesim.Options{Seven: true}},
}

// TestBadLines: a login comes up on a line that is bad from the first byte, and nothing is lost:
// once on each line, ten times in the long form.
func TestBadLines(t *testing.T) {
	t.Parallel()
	lab.Need(t)
	rounds := 1
	if long() {
		rounds = 10
	}
	for _, line := range badLines {
		for round := range rounds {
			t.Run(line.name, func(t *testing.T) {
				t.Parallel()
				o := line.o
				o.Rate, o.Seed = serialRate, uint64(round+1)
				c := consolesim.New(t, o)
				began := time.Now()
				p, err := begin(t, c, nil)
				if err != nil {
					t.Fatalf("start: got error %v\n%q", err, c.Seen())
				}
				t.Logf("up in %v", time.Since(began).Round(10*time.Millisecond))
				works(t, p)
			})
		}
	}
}

// random returns bytes that don't compress.
func random(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// TestGoodput: what a line of 115,200 baud carries in each direction, measured: the long form only.
func TestGoodput(t *testing.T) {
	lab.Need(t)
	if !long() {
		t.Skip("make test-console measures")
	}
	for _, line := range []struct {
		name  string
		o     consolesim.Options
		least float64
	}{
		{"8-bit", consolesim.Options{}, .88},
		{"base64", consolesim.Options{Seven: true}, .70},
		{"8-bit, 1 in 2,000 damaged, a message each second", consolesim.Options{Flip: .0005,
			Noise: time.Second}, .65},
		{"8-bit, 1 in 2,000 lost, a message each second", consolesim.Options{Drop: .0005,
			Noise: time.Second}, .65},
	} {
		t.Run(line.name, func(t *testing.T) {
			o := line.o
			o.Rate, o.Seed = serialRate, 3
			c := consolesim.New(t, o)
			p, err := begin(t, c, func(o *Options) {
				o.Argv = []string{"sh", "-c",
					"cat >/tmp/$$;echo;cat /tmp/$$;rm /tmp/$$"}
			})
			if err != nil {
				t.Fatal(err)
			}
			data := random(150_000)
			began := time.Now()
			p.Stdin().Write(data)
			p.Stdin().Close()
			io.ReadFull(p.Stdout(), make([]byte, 1))
			there := time.Since(began)
			began = time.Now()
			got, err := io.ReadAll(p.Stdout())
			back := time.Since(began)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("got %d bytes, %v, want the %d that were sent", len(got), err, len(data))
			}
			for _, d := range []struct {
				name string
				took time.Duration
			}{{"there", there}, {"back", back}} {
				part := float64(len(data)) / d.took.Seconds() / serialRate
				t.Logf("%s: %.1f %% of the line", d.name, 100*part)
				if part < line.least {
					t.Errorf("%s: got %.1f %% of the line, want %.0f %%", d.name, 100*part,
						100*line.least)
				}
			}
		})
	}
}
