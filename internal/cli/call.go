package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime/debug"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/jsonvalue"
	"github.com/mitogen-go/mitogen/report"
)

const callUsage = `Calls a function at each target and prints its result as JSON; a generator's
items a line each, as they come. What the function writes to standard output
comes on standard error.

FUNCTION stands in MODULE, which is looked for in the current directory, --path
and $MITOGEN_PATH, then among what the target has, then in a virtual environment
here; or in a local script, as path/script.py:function, whose directory is then
the first place for its modules. What is below its main guard is not run.
MODULE:CLASS.METHOD calls a static or class method.

A target is given only modules that the called one names, and those that these
name; --serve NAME allows others.

Each argument is JSON; NAME=JSON is a keyword argument. docs/json.md says what
becomes of bytes, sets, tuples, dates, paths and other values that JSON has
nothing for. What has no form is an error that names its place in the value. A
generator without items can't be told from a result of None.

With --json the items of a generator come as one list.`

const callExamples = `  mitogen call -t web1 os:getpid
  mitogen call -t web1 os.path:join '"/etc"' '"hosts"'
  mitogen call -t web1 -t web2 facts.py:collect '["disk", "net"]' depth=2
  mitogen call -t web1+sudo --json shutil:disk_usage '"/"'`

func newCall(s *state) *cobra.Command {
	cmd := command(s, &cobra.Command{
		Use:     "call -t TARGET... [flags] MODULE:FUNCTION|SCRIPT:FUNCTION [JSON...] [NAME=JSON...]",
		Short:   "call a function there, print its result as JSON",
		Long:    callUsage,
		Example: callExamples,
	}, call)
	s.opt.addTargets(cmd)
	s.opt.addPath(cmd.Flags())
	return cmd
}

func call(ctx context.Context, s *state, args []string) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	if len(args) == 0 {
		return usagef("no function")
	}
	function, dir, err := parseFunction(args[0])
	if err != nil {
		return err
	}
	if module, _, _ := strings.Cut(function, ":"); dir == "." {
		dir = directoryOf(module)
	}
	values, err := parseArguments(args[1:])
	if err != nil {
		return err
	}
	return s.job(ctx, []string{dir}, s.printCall, func(ctx context.Context, h *host) error {
		if s.opt.json {
			return h.callWhole(ctx, function, values)
		}
		return h.callItems(ctx, function, values)
	})
}

// callWhole calls function for a line of --json.
func (h *host) callWhole(ctx context.Context, function string, values []any) error {
	if err := h.connect(h.stdout); err != nil {
		return err
	}
	v, err := mitogen.Call[any](ctx, h.context, function, values...)
	if err != nil {
		return callError(function, err)
	}
	giveBack(v)
	if h.result, err = jsonvalue.Encode(v); err != nil {
		return callError(function, err)
	}
	return nil
}

// callItems calls function and prints its items as they come.
func (h *host) callItems(ctx context.Context, function string, values []any) error {
	if err := h.connect(h.stderr); err != nil {
		return err
	}
	some := false
	for v, err := range mitogen.Stream[any](ctx, h.context, function, values...) {
		if err == nil {
			some, err = true, h.line(v)
		}
		if err != nil {
			return callError(function, err)
		}
	}
	if some {
		return nil
	}
	return h.line(nil)
}

// callError says of an error that isn't the other side's that it is about a result.
func callError(function string, err error) error {
	var call *report.CallError
	var conn *connect.Error
	var lost *report.LostError
	var stream *report.StreamError
	if errors.As(err, &call) || errors.As(err, &conn) || errors.As(err, &lost) ||
		errors.As(err, &stream) ||
		errors.Is(err, mitogen.ErrCancelled) {
		return err
	}
	return fmt.Errorf("result of %s: %w", function, err)
}

// largeValue is the size in bytes from which on a text, or bytes, are worth a collection of what
// has been used.
const largeValue = 4 << 20

// giveBack gives the memory back that a large value has come in, before it is made once more, as
// JSON.
func giveBack(v any) {
	size := 0
	switch v := v.(type) {
	case string:
		size = len(v)
	case []byte:
		size = len(v)
	}
	if size >= largeValue {
		debug.FreeOSMemory()
	}
}

func (h *host) line(v any) error {
	giveBack(v)
	b, err := jsonvalue.Encode(v)
	if err != nil {
		return err
	}
	if _, err := h.stdout.Write(append(b, '\n')); err != nil {
		return &report.StreamError{Context: h.target, Op: "write standard output", Err: err}
	}
	return nil
}

// printCall prints what callWhole has brought, or an error.
func (s *state) printCall(h *host) {
	if s.opt.json {
		h.printJSON(record{Result: h.result})
		return
	}
	h.tell()
}

// parseFunction reads MODULE:FUNCTION, where MODULE may be a script's file. dir is where its
// modules are.
func parseFunction(text string) (function, dir string, err error) {
	const hint = "as in os:getpid, or script.py:main"
	at := strings.LastIndexByte(text, ':')
	if at < 0 {
		return "", "", withHint(fmt.Errorf("%s is not MODULE:FUNCTION", quoted(text)), hint)
	}
	module, name := text[:at], text[at+1:]
	if !dotted(name) {
		return "", "", withHint(fmt.Errorf("%s is no name of a function", quoted(name)), hint)
	}
	dir = "."
	if strings.HasSuffix(module, ".py") || strings.ContainsRune(module, filepath.Separator) {
		if _, err := readFile("script", module); err != nil {
			return "", "", err
		}
		module = followOut(module)
		dir, module = filepath.Dir(module), strings.TrimSuffix(filepath.Base(module), ".py")
		if !identifier(module) {
			return "", "", usagef("a script with functions to call must have a name that Python can "+
				"import, not %s", quoted(module))
		}
	}
	if !dotted(module) {
		return "", "", withHint(fmt.Errorf("%s is no name of a module", quoted(module)), hint)
	}
	return module + ":" + name, dir, nil
}

// followOut returns where a script's file leads if it is a link to another directory: a search
// path's links don't lead out of it.
func followOut(script string) string {
	real, err := filepath.EvalSymlinks(script)
	dir, dirErr := filepath.EvalSymlinks(filepath.Dir(script))
	if err != nil || dirErr != nil || filepath.Dir(real) == dir {
		return script
	}
	return real
}

func dotted(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if !identifier(part) {
			return false
		}
	}
	return true
}

func identifier(s string) bool {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return false
		}
	}
	return s != ""
}

// parseArguments reads JSON and NAME=JSON.
func parseArguments(words []string) ([]any, error) {
	var values []any
	kwargs := mitogen.Kwargs{}
	for _, word := range words {
		name, text, named := strings.Cut(word, "=")
		if named = named && identifier(name); !named {
			text = word
		}
		v, err := jsonvalue.Decode(text)
		if err != nil {
			return nil, argumentError(word, text, err)
		}
		switch _, twice := kwargs[name]; {
		case named && twice:
			return nil, usagef("argument %s is given twice", name)
		case named:
			kwargs[name] = v
		case len(kwargs) > 0:
			return nil, usagef("argument %s stands behind NAME=JSON", quoted(word))
		default:
			values = append(values, v)
		}
	}
	if len(kwargs) > 0 {
		values = append(values, kwargs)
	}
	return values, nil
}

func argumentError(word, text string, err error) error {
	if !errors.Is(err, jsonvalue.ErrNotJSON) {
		return usagef("argument %s: %w", quoted(word), err)
	}
	hint := "text needs quotes of its own, inside of the shell's"
	if fs.ValidPath(strings.Trim(text, "/")) && !strings.ContainsAny(text, `"'\`) {
		hint += `: '"` + text + `"'`
	}
	return withHint(fmt.Errorf("argument %s: not JSON", quoted(word)), hint)
}
