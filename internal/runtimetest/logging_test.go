package runtimetest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// logged executes statements behind `import logging` and returns the records that come before the
// answer.
func (l *link) logged(source string) []record {
	l.t.Helper()
	l.mu.Lock()
	l.logs = nil
	l.mu.Unlock()
	l.call("rt:execute", "import logging\n"+source).value()
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]record(nil), l.logs...)
}

// one demands that source logs one record.
func (l *link) one(source string) record {
	l.t.Helper()
	got := l.logged(source)
	if len(got) != 1 {
		l.t.Fatalf("%d records from %s: %.2000v", len(got), source, got)
	}
	equal(l.t, "source", got[0].src, first)
	return got[0]
}

func TestLogging(t *testing.T) {
	on(t, []test{
		{"levels and names", func(t *testing.T, l *link) {
			got := l.logged("a = logging.getLogger('a.b')\na.debug('one')\na.info('two')\n" +
				"a.warning('three')\na.error('four')\na.critical('five')\na.log(35, 'six')\n" +
				"logging.warning('seven')")
			var lines []string
			for _, r := range got {
				lines = append(lines, fmt.Sprintf("%d %s %s", r.level, r.logger, r.message))
			}
			equal(t, "records", strings.Join(lines, ", "),
				"20 a.b two, 30 a.b three, 40 a.b four, 50 a.b five, 35 a.b six, 30 root seven")
		}},
		{"logger with a level of its own", func(t *testing.T, l *link) {
			equal(t, "level", l.one("a = logging.getLogger('loud')\na.setLevel(5)\na.log(5, 'fine')").level,
				int64(5))
			equal(t, "records", len(l.logged("a = logging.getLogger('quiet')\na.setLevel(50)\n"+
				"a.error('unheard')")), 0)
		}},
		{"arguments", func(t *testing.T, l *link) {
			equal(t, "message", l.one("logging.info('%s of %d', 'one', 3)").message, "one of 3")
		}},
		{"time", func(t *testing.T, l *link) {
			// The context can be held to its own clock only.
			r := l.one("import time, rt\nrt.before = time.time()\nlogging.info('now')\nrt.after = " +
				"time.time()")
			equal(t, "between", l.call("rt:evaluate",
				fmt.Sprintf("before - .1 <= %f <= after + .1", r.seconds)).value(), true)
		}},
		{"traceback", func(t *testing.T, l *link) {
			r := l.one("import rt\ntry:\n  rt.outer()\nexcept ZeroDivisionError:\n  logging.exception('it " +
				"failed')")
			equal(t, "message", r.message, "it failed")
			contains(t, "traceback", r.trace, "Traceback (most recent call last)", "/dev/null/srv/rt.py",
				"return n / 0  # the line that fails", "ZeroDivisionError")
			equal(t, "none", l.one("logging.error('no exception')").trace, "")
		}},
		{"text of all kinds", func(t *testing.T, l *link) {
			equal(t, "unicode", l.one("logging.info(u'h\\xe9 %s', u'\\u20ac')").message, "h\u00e9 \u20ac")
			equal(t, "object", l.one("logging.info([1])").message, "[1]")
			equal(t, "bytes", l.one("logging.info('caf\\xe9')").message,
				map[bool]string{true: "caf\u00e9", false: "caf\ufffd"}[l.py.Major > 2])
			equal(t, "newlines", l.one("logging.info('a\\nb\\n')").message, "a\nb\n")
			equal(t, "surrogate", l.one("logging.info(u'a\\udc80b')").message, "a\xed\xb2\x80b")
		}},
		{"cut to fit a frame", cutToFit},
		{"what can't be formatted", func(t *testing.T, l *link) {
			l.stderr()
			equal(t, "records", len(l.logged("logging.info('%d', 'no number')")), 0)
			contains(t, "stderr", l.stderr(), "Traceback", "TypeError")
		}},
		{"handlers of the program's own", func(t *testing.T, l *link) {
			l.stderr()
			equal(t, "record", l.one("logging.basicConfig(format='%(levelname)s!%(message)s')\ntry:\n  "+
				"logging.info('once')\nfinally:\n  logging.root.handlers[:] = [h for h in "+
				"logging.root.handlers if type(h).__module__ == '_mitogen']").message, "once")
			equal(t, "stderr", l.stderr(), "INFO!once\n")
			l.stdout()
			equal(t, "record", l.one("import sys\nh = logging.StreamHandler(sys.stdout)\n"+
				"logging.root.addHandler(h)\ntry:\n  logging.info('both')\nfinally:\n  "+
				"logging.root.removeHandler(h)").message, "both")
			equal(t, "stdout", l.stdout(), "both\n")
		}},
		{"nothing is lost, in order", func(t *testing.T, l *link) {
			got := l.logged("import threading\ndef f(n):\n  for i in range(500):\n    " +
				"logging.getLogger('t%d' % n).info('%d', i)\n" +
				"started = [threading.Thread(target=f, args=(n,)) for n in range(4)]\nfor t in started: " +
				"t.start()\nfor t in started: t.join()")
			equal(t, "records", len(got), 2000)
			next := map[string]int{}
			for _, r := range got {
				if r.message != fmt.Sprint(next[r.logger]) {
					t.Fatalf("%s: %s instead of %d", r.logger, r.message, next[r.logger])
				}
				next[r.logger]++
			}
		}},
		{"from a thread while nothing is called", func(t *testing.T, l *link) {
			l.call("rt:execute", "import logging, threading, rt\nrt.go = threading.Event()\ndef f():\n  "+
				"rt.go.wait()\n  import time\n  time.sleep(.05)\n  logging.info('from behind')\n"+
				"threading.Thread(target=f).start()").value()
			l.call("rt:go.set").value()
			equal(t, "level", l.record("from behind").level, int64(20))
		}},
		{"in a forked process", func(t *testing.T, l *link) {
			l.stderr()
			equal(t, "status", l.call("rt:execute",
				"import logging, os, sys\nlogging.info('before')\npid = os.fork()\nif not pid:\n  try:\n    "+
					"logging.warning('from the fork')\n"+
					"    try:\n      import nowhere_to_be_found\n    except ImportError:\n      "+
					"sys.stderr.write('no import\\n')\n    sys.stderr.flush()\n    os._exit(7)\n  finally:\n    "+
					"os._exit(8)\n"+
					"result = os.waitpid(pid, 0)[1] >> 8").value(), int64(7))
			equal(t, "stderr", l.stderr(), "from the fork\nno import\n")
		}},
		{"further parts of the library", func(t *testing.T, l *link) {
			equal(t, "file", l.call("rt:evaluate", "__import__('logging').__file__ is not None and "+
				"'logging' in __import__('logging').__name__").value(), true)
			equal(t, "record", l.one("import logging.handlers, logging.config\nh = "+
				"logging.handlers.MemoryHandler(9)\nlogging.info('still')").message, "still")
			if l.py.AtLeast(3, 4) {
				equal(t, "spec", l.call("rt:evaluate", "__import__('logging').__spec__.name").value(),
					"logging")
			}
		}},
	})
}

// cutToFit: however much there is, in whatever alphabet, a record comes: the beginning of the
// message, the end of the traceback.
func cutToFit(t *testing.T, l *link) {
	for _, letter := range []string{"'x'", "u'\\xe9'", "u'\\U0001f600'"} {
		r := l.one("big = " + letter +
			" * 200000\ntry:\n  raise ValueError(big + 'THE END')\nexcept ValueError:\n  " +
			"logging.getLogger('a' * 200000).exception(u'THE START' + big)")
		contains(t, "message", r.message[:100], "THE START")
		if len(r.message) < 8000 || len(r.trace) < 8000 || len(r.logger) < 1000 {
			t.Errorf("%s: cut to %d, %d, %d bytes", letter, len(r.logger), len(r.message), len(r.trace))
		}
		if l.py.Major > 2 {
			contains(t, "traceback", string(tail([]byte(r.trace), 50)), "THE END")
		}
	}
}

func TestLogLevel(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		for _, tt := range []struct {
			level int
			want  string
		}{{10, "debug info error"}, {20, "info error"}, {40, "error"}, {60, ""}} {
			l := start(t, py, func(c *boot.Config) { c.LogLevel = tt.level })
			var got []string
			for _, r := range l.logged("logging.debug('debug')\nlogging.info('info')\n" +
				"logging.error('error')") {
				got = append(got, r.message)
			}
			equal(t, fmt.Sprint("level ", tt.level), strings.Join(got, " "), tt.want)
		}
	})
}

// TestLoggingImportedEarly: where site-packages import logging before the runtime runs.
func TestLoggingImportedEarly(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sitecustomize.py"), []byte("import logging\n"),
		0o644); err != nil {
		t.Fatal(err)
	}
	each(t, func(t *testing.T, py interp) {
		py.Path = "env PYTHONPATH=" + dir + " " + py.Path
		l := start(t, py)
		equal(t, "record", l.one("logging.getLogger('early').info('once')").logger, "early")
		l.shutDown(first)
		l.ends()
	})
}

// TestLogFlood: records are not held up by what else is on the way, and hold nothing up.
func TestLogFlood(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		l := start(t, py)
		release := l.hold(wire.Stdout)
		p := l.call("rt:execute", "import logging, threading, rt\nt = threading.Thread(target=rt.write, "+
			"args=(1, bytearray(3000000)))\nt.start()\n"+
			"for i in range(3000): logging.info('%d %s', i, 'x' * 1000)\nt.join()")
		l.await("records", func() bool { return len(l.logs) == 3000 })
		if p.come() {
			t.Error("the call has ended: no output was held up")
		}
		release()
		p.value()
		equal(t, "stdout", len(l.stdout()), 3_000_000)
	})
}
