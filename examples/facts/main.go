// Facts is a tool that carries its Python in its own binary and asks several hosts at once:
//
//	facts web1 web2 bastion+db1+sudo
package main

import (
	"context"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"

	"github.com/mitogen-go/mitogen"
)

//go:embed facts.py
var python embed.FS

// Facts is the result of facts.collect.
type Facts struct {
	Host     string  `py:"host"`
	System   string  `py:"system"`
	Python   string  `py:"python"`
	Load     float64 `py:"load"`
	DiskFree uint64  `py:"disk_free"` // bytes
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := report(ctx, os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// report writes a line for each target, as the answers come. A target that fails doesn't stop the
// rest.
func report(ctx context.Context, w io.Writer, targets []string) error {
	eng, err := mitogen.New(mitogen.Options{Path: []fs.FS{python}})
	if err != nil {
		return err
	}
	defer eng.Close()

	var hosts []*mitogen.Context
	for _, target := range targets {
		host, err := eng.Start(target, mitogen.ConnectOptions{})
		if err != nil {
			return err
		}
		hosts = append(hosts, host)
	}
	for host, r := range mitogen.Each[Facts](ctx, hosts, "facts:collect", "/") {
		if r.Err != nil {
			fmt.Fprintf(w, "%s: %v\n", host.Name(), r.Err)
			continue
		}
		f := r.Value
		fmt.Fprintf(w, "%s: %s, %s, Python %s, load %.2f, %d GiB free\n", host.Name(), f.Host, f.System,
			f.Python, f.Load, f.DiskFree>>30)
	}
	return nil
}
