package demo

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/printable"
)

// nasty acts on a terminal, and begins a line.
const nasty = "@\x1b[2J\x9b\u009b\u202e\u2028\u200b\r\x7f\nerror: forged\n"

// Whatever the demo says of what comes from there is printable, and no line of it begins at the
// margin.
func TestPrinterIsPrintable(t *testing.T) {
	for name, write := range map[string]func(*printer){
		"result": func(p *printer) { p.result("%s", nasty) },
		"scene":  func(p *printer) { p.scene("%s", nasty) },
		"text":   func(p *printer) { p.text(nasty) },
		"table":  func(p *printer) { p.table([][]string{{nasty, nasty}, {"a", "b"}}) },
		"stream": func(p *printer) { p.stream("stdout").Write([]byte(nasty)) },
		"log": func(p *printer) {
			slog.New(p.logger().Handler()).With("with", nasty).Error(nasty, "attr", nasty)
		},
		"unended": func(p *printer) {
			s := p.stream("stdout")
			s.Write([]byte(strings.TrimSuffix(nasty, "\n")))
			s.flush()
		},
	} {
		var out strings.Builder
		write(&printer{w: &out})
		if !strings.Contains(out.String(), "@") || strings.Contains(out.String(), "\nerror:") ||
			printable.Text(out.String()) != out.String() {
			t.Errorf("%s: got %q", name, out.String())
		}
	}
	if !(&printer{}).logger().Enabled(context.Background(), slog.LevelInfo) {
		t.Error("informative records aren't shown")
	}
}
