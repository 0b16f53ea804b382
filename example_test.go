package mitogen_test

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/report"
)

//go:embed testdata/py
var files embed.FS

// python is the search path of the examples: what a tool would embed.
func python() []fs.FS {
	sub, err := fs.Sub(files, "testdata/py")
	if err != nil {
		panic(err)
	}
	return []fs.FS{sub}
}

// The first steps: an engine, a context, a call whose result is a Go struct.
func Example() {
	ctx := context.Background()
	eng, err := mitogen.New(mitogen.Options{Path: python()})
	if err != nil {
		panic(err)
	}
	defer eng.Close()
	c, err := eng.Connect(ctx, "local", mitogen.ConnectOptions{})
	if err != nil {
		panic(err)
	}
	type stats struct {
		Words  int            `py:"words"`
		Counts map[string]int `py:"counts"`
	}
	s, err := mitogen.Call[stats](ctx, c, "text:count", "to be or not to be")
	fmt.Println(s.Words, s.Counts["be"], err)
	// Output: 6 2 <nil>
}

// Exceptions are errors with the remote traceback.
func ExampleCall_error() {
	ctx := context.Background()
	eng, err := mitogen.New(mitogen.Options{Path: python()})
	if err != nil {
		panic(err)
	}
	defer eng.Close()
	c, err := eng.Connect(ctx, "local", mitogen.ConnectOptions{})
	if err != nil {
		panic(err)
	}
	_, err = mitogen.Call[int](ctx, c, "text:number", "twelve")
	var raised *report.CallError
	if errors.As(err, &raised) {
		fmt.Println(raised.Type)
		fmt.Println(raised.Text)
	}
	// Output:
	// ValueError
	// invalid literal for int() with base 10: 'twelve'
}

// A generator's items come while it runs. Leaving the loop ends it.
func ExampleStream() {
	ctx := context.Background()
	eng, err := mitogen.New(mitogen.Options{Path: python()})
	if err != nil {
		panic(err)
	}
	defer eng.Close()
	c, err := eng.Connect(ctx, "local", mitogen.ConnectOptions{})
	if err != nil {
		panic(err)
	}
	for word, err := range mitogen.Stream[string](ctx, c, "text:words", "one two three",
		mitogen.Kwargs{"upper": true}) {
		if err != nil {
			panic(err)
		}
		fmt.Println(word)
		if word == "TWO" {
			break
		}
	}
	// Output:
	// ONE
	// TWO
}

// Several contexts at once, the results as they come.
func ExampleEach() {
	ctx := context.Background()
	eng, err := mitogen.New(mitogen.Options{Path: python()})
	if err != nil {
		panic(err)
	}
	defer eng.Close()
	var hosts []*mitogen.Context
	for _, target := range []string{"local", "local+local", "local+local+local"} {
		c, err := eng.Start(target, mitogen.ConnectOptions{}) // doesn't wait
		if err != nil {
			panic(err)
		}
		hosts = append(hosts, c)
	}
	var lines []string
	for c, r := range mitogen.Each[int](ctx, hosts, "text:number", "7") {
		lines = append(lines, fmt.Sprint(c.Name(), ": ", r.Value, " ", r.Err))
	}
	slices.Sort(lines)
	for _, line := range lines {
		fmt.Println(line)
	}
	// Output:
	// local+local+local: 7 <nil>
	// local+local: 7 <nil>
	// local: 7 <nil>
}

// A whole script, with arguments and exit status.
func ExampleContext_Run() {
	ctx := context.Background()
	eng, err := mitogen.New(mitogen.Options{})
	if err != nil {
		panic(err)
	}
	defer eng.Close()
	c, err := eng.Connect(ctx, "local", mitogen.ConnectOptions{})
	if err != nil {
		panic(err)
	}
	status, err := c.Run(ctx, mitogen.Script{
		Name:   "hello.py",
		Source: []byte("import sys\nprint('hello', sys.argv[1])\nsys.exit(3)\n"),
		Args:   []string{"world"},
		Stdout: os.Stdout,
	})
	fmt.Println(status, err)
	// Output:
	// hello world
	// 3 <nil>
}
