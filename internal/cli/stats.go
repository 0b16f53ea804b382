package cli

import (
	"sync"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/report"
)

// profile is the network profile of --stats.
type profile struct {
	mu   sync.Mutex // protects following
	seen map[uint32]bool
	all  []*mitogen.Context
}

func newProfile() *profile { return &profile{seen: map[uint32]bool{}} }

// note remembers contexts, which can be asked for their counts also when they are gone.
func (p *profile) note(contexts []*mitogen.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range contexts {
		if !p.seen[c.ID()] {
			p.seen[c.ID()] = true
			p.all = append(p.all, c)
		}
	}
}

// contextProfile is one context's line; what is next to the engine counts for all behind it, as it
// has the stream.
type contextProfile struct {
	ID         uint32       `json:"id"`
	Parent     uint32       `json:"parent"`
	Name       string       `json:"name"`
	BytesDown  int64        `json:"bytes_down"`
	BytesUp    int64        `json:"bytes_up"`
	FramesDown int64        `json:"frames_down"`
	FramesUp   int64        `json:"frames_up"`
	RoundTrips int64        `json:"round_trips"`
	Modules    int64        `json:"modules"`
	Calls      int64        `json:"calls"`
	Forward    forwarded    `json:"forward"`
	Seconds    phaseProfile `json:"seconds"`
}

// forwarded counts the modules that a context was sent, and their cost.
type forwarded struct {
	Call       []string `json:"call"`    // names of modules, by the reason for which they were sent
	Bundle     []string `json:"bundle"`  //
	Asked      []string `json:"asked"`   //
	Learned    []string `json:"learned"` //
	Found      int64    `json:"bytes_found"`
	Minified   int64    `json:"bytes_minified"`
	Compressed int64    `json:"bytes_compressed"`
	Native     int64    `json:"bytes_native"`
	Budget     int64    `json:"native_budget"`
	Negative   int64    `json:"negative"`
	Questions  int64    `json:"questions"`
	Requests   int64    `json:"requests"`
	Files      int64    `json:"files"`
	Given      *given   `json:"given"`
	Scan       float64  `json:"scan_seconds"`
	Pack       float64  `json:"pack_seconds"`
}

// given lists the modules and files that a context was given, and counts refusals.
type given struct {
	Modules []string    `json:"modules"`
	Files   []givenFile `json:"files"`
	Refused int64       `json:"refused"`
}

// givenFile is a file of a package, or of a distribution's metadata.
type givenFile struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
}

// givenOf returns nil if a context was given and refused nothing.
func givenOf(s report.Stats) *given {
	if len(s.Sent)+len(s.Given) == 0 && s.Refused == 0 {
		return nil
	}
	g := &given{Modules: []string{}, Files: []givenFile{}, Refused: s.Refused}
	for _, m := range s.Sent {
		g.Modules = append(g.Modules, m.Name)
	}
	for _, f := range s.Given {
		g.Files = append(g.Files, givenFile{f.Path, f.Bytes})
	}
	return g
}

func forwardedOf(s report.Stats) forwarded {
	f := forwarded{Call: []string{}, Bundle: []string{}, Asked: []string{}, Learned: []string{},
		Found:    s.Found,
		Minified: s.Minified, Compressed: s.Compressed, Native: s.Native, Budget: s.Budget,
		Negative: s.Negative, Questions: s.Questions, Requests: s.Asked, Files: s.Files,
		Given: givenOf(s),
		Scan:  seconds(s.Scan), Pack: seconds(s.Pack)}
	lists := map[string]*[]string{"call": &f.Call, "bundle": &f.Bundle, "asked": &f.Asked,
		"learned": &f.Learned}
	for _, m := range s.Sent {
		if list := lists[string(m.Reason)]; list != nil {
			*list = append(*list, m.Name)
		}
	}
	return f
}

// phaseProfile says when each phase was over, in seconds since the context's start; null: it
// wasn't.
type phaseProfile struct {
	Spawn  *float64 `json:"spawn"`  // command started, or sent to the hop
	Python *float64 `json:"python"` // interpreter there; next to the engine only
	Hello  *float64 `json:"hello"`  // runtime up
	Result *float64 `json:"result"` // first result of a call
}

func (p *profile) json(took time.Duration) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := struct {
		Seconds  float64          `json:"seconds"`
		Contexts []contextProfile `json:"contexts"`
	}{seconds(took), []contextProfile{}}
	for _, c := range p.all {
		s := c.Stats()
		all.Contexts = append(all.Contexts, contextProfile{
			ID: uint32(s.ID), Parent: uint32(s.Parent), Name: s.Name, BytesDown: s.BytesDown,
			BytesUp:    s.BytesUp,
			FramesDown: s.FramesDown, FramesUp: s.FramesUp, RoundTrips: s.RoundTrips, Modules: s.Modules,
			Calls:   s.Calls,
			Forward: forwardedOf(s), Seconds: phaseProfile{phase(s.Spawn), phase(s.EC0), phase(s.Hello),
				phase(s.Result)},
		})
	}
	return safeJSON(all, "  ")
}

// seconds is d to the microsecond.
func seconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e6 }

func phase(d time.Duration) *float64 {
	if d == 0 {
		return nil
	}
	s := seconds(d)
	return &s
}
