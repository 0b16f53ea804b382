package daemon

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/connect"
)

// floodSize is the number of connections in each flood below.
const floodSize = 2000

// floods are connections of a client that cost the daemon something, by what they send first.
var floods = []struct{ name, first string }{
	{"nothing", ""},
	{"no message", "x\n"},
	{"a line of 16 KiB", strings.Repeat("x", 16<<10)},
	{"no such request", `{"op":"nonsense","version":"1"}` + "\n"},
	{"malformed target", `{"op":"open","version":"1","target":"a+"}` + "\n"},
	{"lists", `{"op":"list","version":"1"}` + "\n"},
}

// BenchmarkFlood measures calls of one client while another one floods the daemon with connections,
// and as many calls at rest. All are in one process, so the flooder's own cost counts too.
// -bench Flood -benchtime 1x
func BenchmarkFlood(b *testing.B) {
	for _, flood := range floods {
		b.Run(flood.name, func(b *testing.B) {
			d, _ := running(b, Options{})
			good := start(b, client(b, d), "local", connect.Options{})
			var beside, rest []time.Duration
			timed := func(all *[]time.Duration) {
				var back string
				begun := time.Now()
				if err := call(good, "echo", &back, "x"); err != nil || back != "x" {
					b.Fatal(back, err)
				}
				*all = append(*all, time.Since(begun))
			}
			timed(new([]time.Duration)) // loads what calls need
			for range b.N {
				done := make(chan error, 1)
				go func() { done <- connections(d.Socket, flood.first) }()
				for over := false; !over; {
					timed(&beside)
					select {
					case err := <-done:
						if over = true; err != nil {
							b.Fatal(err)
						}
					default:
					}
				}
				for len(rest) < len(beside) {
					timed(&rest)
				}
			}
			b.ReportMetric(float64(len(beside))/float64(b.N), "calls/op")
			for name, all := range map[string][]time.Duration{"": beside, "rest-": rest} {
				slices.Sort(all)
				b.ReportMetric(float64(all[len(all)/2].Nanoseconds())/1e3, name+"p50-µs")
				b.ReportMetric(float64(all[len(all)*99/100].Nanoseconds())/1e3, name+"p99-µs")
				b.ReportMetric(float64(all[len(all)-1].Nanoseconds())/1e3, name+"max-µs")
			}
		})
	}
}

// connections makes a flood: each connection takes what the daemon answers, until that closes it.
func connections(socket, first string) error {
	for range floodSize {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return err
		}
		io.WriteString(conn, first) // its error is that the daemon has closed it
		conn.(*net.UnixConn).CloseWrite()
		io.Copy(io.Discard, conn)
		conn.Close()
	}
	return nil
}
