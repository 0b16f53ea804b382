package runtimetest

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/jsonvalue"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/secret"
)

// valuesModule converts results that aren't plain.
const valuesModule = "_mitogen_values"

// form is an expression of Python, and what the engine makes of its value.
type form struct{ expr, json string }

// documented returns the examples in docs/json.md.
func documented(t *testing.T) (forms []form) {
	t.Helper()
	page, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Other types\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		cells := strings.Split(line, " | ")
		if len(cells) != 3 || !strings.HasPrefix(cells[1], "`") {
			continue
		}
		forms = append(forms, form{strings.Trim(cells[1], "`"), strings.Trim(cells[2], "`| \n")})
	}
	if len(forms) < 20 {
		t.Fatalf("got %d examples in docs/json.md, want more", len(forms))
	}
	return forms
}

// furtherForms are other cases of what docs/json.md has.
var furtherForms = []form{
	{`[range(2), {'a': range(1)}, (range(0),)]`, `[[0,1],{"a":[0]},[[]]]`},
	{`collections.OrderedDict([('b', 1), ('a', 2)])`, `{"b":1,"a":2}`},
	{`collections.defaultdict(list, x=[1])`, `{"x":[1]}`},
	{`collections.namedtuple('A', 'x')(collections.namedtuple('B', 'y')([1]))`, `{"x":{"y":[1]}}`},
	{`collections.ChainMap({'a': 1}, {'a': 2})`, `{"a":1}`},
	{`collections.UserDict(a=1)`, `{"a":1}`},
	{`collections.UserList([1])`, `[1]`},
	{`typing.NamedTuple('P', [('x', int)])(1)`, `{"x":1}`},
	{`array.array('d', [1.5, -0.0])`, `[1.5,-0.0]`},
	{`{'a': 1}.keys()`, `["a"]`},
	{`{'a': 1}.values()`, `[1]`},
	{`{1: 2}.items()`, `[[1,2]]`},
	{`type('S', (str,), {})('x')`, `"x"`},
	{`type('F', (float,), {})('-0.0')`, `-0.0`},
	{`type('C', (complex,), {})(1)`, `{"$complex":[1.0,0.0]}`},
	{`type('I', (type(2 ** 70),), {})(2 ** 70)`, `1180591620717411303424`},
	{`type('D', (dict,), {})(a=type('S', (str,), {})('x'))`, `{"a":"x"}`},
	{`type('T', (tuple,), {})([1, range(1)])`, `[1,[0]]`},
	{`[type('F', (frozenset,), {})([1])]`, `[{"$frozenset":[1]}]`},
	{`enum.Enum('E', 'A B').B`, `2`},
	{`enum.IntEnum('E', 'A B').B`, `2`},
	{`enum.Flag('E', 'A B').B`, `2`},
	{`enum.IntFlag('E', 'A B')(3)`, `3`},
	{`enum.StrEnum('E', 'A B').B`, `"b"`},
	{`enum.Enum('E', {'A': (1, 'x')}).A`, `[1,"x"]`},
	{`signal.Signals.SIGTERM`, `15`},
	{`{enum.Enum('E', 'A').A: 1}`, `{"$dict":[[1,1]]}`},
	{`dataclasses.make_dataclass('D', ['x', ('y', int, dataclasses.field(init=False, ` +
		`default=2))])([range(1)])`,
		`{"x":[[0]],"y":2}`},
	{`argparse.Namespace(a=None)`, `{"a":null}`},
	{`datetime.date(2026, 1, 2)`, `"2026-01-02"`},
	{`datetime.time(3, 4)`, `"03:04:00"`},
	{`datetime.datetime(1, 1, 1)`, `"0001-01-01T00:00:00"`},
	{`datetime.timezone(datetime.timedelta(hours=-3))`, `"UTC-03:00"`},
	{`-datetime.timedelta(seconds=0.5)`, `-0.5`},
	{`zoneinfo.ZoneInfo('UTC')`, `"UTC"`},
	{`pathlib.Path('/etc')`, `"/etc"`},
	{`pathlib.PureWindowsPath('C:/x')`, `"C:\\x"`},
	{`{pathlib.Path('/a'): 1, 'b': 2}`, `{"/a":1,"b":2}`},
	{`set([pathlib.Path('/a')])`, `{"$set":["/a"]}`},
	{`decimal.Decimal('NaN')`, `"NaN"`},
	{`fractions.Fraction(2, 6)`, `"1/3"`},
	{`[ipaddress.ip_address('::1'), ipaddress.ip_interface('10.0.0.1/8')]`, `["::1","10.0.0.1/8"]`},
	{`{(1, collections.namedtuple('A', 'x')(2)): 3}`, `{"$dict":[[[1,[2]],3]]}`},
	{`os.stat_result(range(10))[:0]`, `[]`},
	{`posix.uname_result(('a', 'b', 'c', 'd', 'e'))`,
		`{"sysname":"a","nodename":"b","release":"c","version":"d","machine":"e"}`},
	{`time.gmtime(0).tm_year, time.gmtime(0)[:1]`, `[1970,[1970]]`},
	{`[__import__('urllib.parse').parse.urlsplit('http://x/y')]`,
		`[{"scheme":"http","netloc":"x","path":"/y","query":"","fragment":""}]`},
	{`[KeyError(1), LookupError('no')]`, `[{"$error":"KeyError: 1"},{"$error":"LookupError: no"}]`},
	{`frozendict(a=1)`, `{"a":1}`},
	{`[float('nan'), decimal.Decimal(1), float('-inf')]`, `[{"$float":"nan"},"1",{"$float":"-inf"}]`},
}

// missing tells whether an expression failed since the interpreter has not what it names.
func missing(e *pyvalue.Exception) bool {
	for _, kind := range []string{"ImportError", "ModuleNotFoundError", "AttributeError", "NameError",
		"ZoneInfoNotFoundError"} {
		if e.Type == kind {
			return true
		}
	}
	return false
}

// sameJSON compares without the order of keys, which Python 2 does not keep.
func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil &&
		reflect.DeepEqual(x, y)
}

// Results of the standard library's types come in their plain forms.
func TestForms(t *testing.T) {
	on(t, []test{
		{"documented", func(t *testing.T, l *link) { checkForms(t, l, documented(t)) }},
		{"further", func(t *testing.T, l *link) { checkForms(t, l, furtherForms) }},
		{"items of a generator", func(t *testing.T, l *link) {
			p := l.call("rt:made_many", "[range(1), {'a': range(2)}, type('S', (str,), {})('x')]")
			p.wait()
			var got []string
			for _, v := range p.list() {
				b, err := jsonvalue.Encode(v)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(b))
			}
			equal(t, "items", strings.Join(got, " "), `[0] {"a":[0,1]} "x"`)
		}},
		{"shared parts", func(t *testing.T, l *link) {
			v := l.call("rt:evaluate", "(lambda x: [x, x, range(1)])([1])").value().(*pyvalue.List)
			if v.Items[0] != v.Items[1] {
				t.Error("got two lists, want one twice")
			}
		}},
		{"secrets of a subclass", func(t *testing.T, l *link) {
			v := l.call("rt:evaluate",
				"type('S', (__import__('mitogen').Secret,), {'__module__': 'own'})('hush'), range(0)").value()
			if _, ok := v.(pyvalue.Tuple)[0].(secret.Secret); !ok {
				t.Errorf("got %T, want a Secret", v.(pyvalue.Tuple)[0])
			}
		}},
	})
}

// since gives the minor version of Python 3 that introduced the beginning of a form; 9: any other
// form.
var since = map[string]int{"enum.StrEnum": 11, "frozendict": 15}

func checkForms(t *testing.T, l *link, forms []form) {
	t.Helper()
	for _, f := range forms {
		minor := 9
		for begin, m := range since {
			if strings.HasPrefix(f.expr, begin) {
				minor = m
			}
		}
		p := l.call("rt:made", f.expr)
		if a := p.wait(); a.kind == wire.Error {
			e := p.error()
			if !missing(e) || l.py.AtLeast(3, minor) {
				t.Errorf("make %s: got %s: %s; want a value", f.expr, e.Type, e.Text)
			}
			continue
		}
		got, err := jsonvalue.Encode(p.value())
		if err != nil || !sameJSON(string(got), f.json) {
			t.Errorf("%s: got %s, %v, want %s", f.expr, got, err, f.json)
		}
	}
}

// What has no plain form is an error that names its place and a remedy.
func TestFormless(t *testing.T) {
	on(t, []test{{"errors", func(t *testing.T, l *link) {
		for _, tt := range []struct{ expr, want string }{
			{`object()`, `result: an object has no plain form; return its parts, or str() of it`},
			{`{'disks': [0, 1, 2, collections.namedtuple('D', 'handle')(io.open('/dev/null'))]}`,
				`result["disks"][3].handle: a _io.TextIOWrapper has no plain form; return what it reads`},
			{`[collections.deque([object()])]`, `result[0][0]: an object has no plain form`},
			{`{(1, 2): object()}`, `result[(1, 2)]: an object has no plain form`},
			{`{'a"b': {'c': object()}}`, `result["a\"b"]["c"]: an object has no plain form`},
			{`set([object()])`, `result (an item): an object has no plain form`},
			{`{'x': {object(): 1}}`, `result["x"] (a key): an object has no plain form`},
			{`[lambda: 1]`, `result[0]: a function has no plain form; return its name, or what it returns`},
			{`{'x': (i for i in [])}`, `result["x"]: a generator has no plain form; return list() of it`},
			{`[iter([])]`, `iterator has no plain form; return list() of it`},
			{`[threading.Lock(), os.path]`, `result[0]: a`},
			{`{'m': os.path}`, `result["m"]: a module has no plain form; return its name`},
			{`[collections.deque([1]), re.compile('x')]`, `result[1]: a`},
			{`(lambda l: l.append(l) or [l, object()])([])`,
				`result[0][0]: refers to result[0], which it is part of`},
			{`(lambda d: d.update(x=[d]) or [object(), d])(collections.OrderedDict())`,
				`result[0]: an object`},
			{`(lambda d: d.update(x=[d]) or d)(collections.defaultdict(int))`,
				`result["x"][0]: refers to result, which it is part of`},
			{`eval('[' * 80 + 'collections.deque()' + ']' * 80, {'collections': collections})`, ``},
			{`__import__('functools').reduce(lambda a, b: collections.deque([a]), range(250))`,
				`nested more than 200 deep`},
			{`[range(10 ** 7)]`, `result[0]: more than 4194304 values`},
			{`{pathlib.Path('/a'): 1, '/a': 2}`, `result: two keys have the same plain form`},
			{`set([decimal.Decimal('1'), '1'])`, `result: two items have the same plain form`},
			{`[1, enum.Enum('E', {'A': object()}).A]`, `result[1].value: an object has no plain form`},
			{`dataclasses.make_dataclass('D', ['x'])(object())`, `result.x: an object has no plain form`},
			{`types.SimpleNamespace(y=[object()])`, `result.y[0]: an object has no plain form`},
			{`[type('D', (decimal.Decimal,), {'__str__': lambda self: 1 // 0})(1)]`,
				`result[0]: a made.D has no plain form: ZeroDivisionError: `},
			{`{'x': type('U', (uuid.UUID,), {'__str__': lambda self: None.no})(int=1)}`,
				`result["x"]: a made.U has no plain form: AttributeError: `},
			{`[type('T', (datetime.date,), {'isoformat': lambda self: {}[self]})(2026, 1, 1)]`,
				`result[0]: a made.T has no plain form: KeyError: `},
			{`[1, type('M', (dict,), {'items': lambda self: 1 // 0})()]`,
				`result[1]: a made.M has no plain form: ZeroDivisionError: `},
			{`[type('L', (list,), {'__iter__': lambda self: iter([object()])})([1])]`,
				`result[0][0]: an object has no plain form; `},
		} {
			if l.py.Major == 2 && strings.Contains(tt.expr, "range(10 ") {
				continue // a list
			}
			p := l.call("rt:made", tt.expr)
			if p.wait().kind != wire.Error {
				if tt.want != "" {
					t.Errorf("%s: got %v, want an error", tt.expr, p.value())
				}
				continue
			}
			e := p.error()
			if missing(e) && !l.py.AtLeast(3, 9) {
				continue
			}
			if e.Type != "TypeError" || !strings.Contains(e.Text, tt.want) || e.Traceback != "" {
				t.Errorf("%s: got %s: %s\n%s, want %s", tt.expr, e.Type, e.Text, e.Traceback, tt.want)
			}
		}
	}}})
}

// Instances of Python 2's old-style classes, which all have one type, have the form of their class.
func TestOldStyleClasses(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		if py.Major > 2 {
			t.Skip("it has none")
		}
		l := start(t, py)
		for _, tt := range []struct{ expr, json string }{
			{`[range(0), optparse.Values({'a': 1}), __import__('UserDict').UserDict(b=2), ` +
				`collections.deque()]`, `[[],{"a":1},{"b":2},[]]`},
			{`[__import__('UserDict').UserDict(b=2), optparse.Values({'a': 1}), collections.deque()]`,
				`[{"b":2},{"a":1},[]]`},
			{`collections.deque([types.ClassType('Own', (optparse.Values,), {})({'a': [1]})])`,
				`[{"a":[1]}]`},
		} {
			got, err := jsonvalue.Encode(l.call("rt:made", tt.expr).value())
			if err != nil || !sameJSON(string(got), tt.json) {
				t.Errorf("%s: got %s, %v, want %s", tt.expr, got, err, tt.json)
			}
		}
		for _, tt := range []struct{ expr, want string }{
			{`[collections.deque(), __import__('UserDict').UserDict(b=2), types.ClassType('A', (), {})()]`,
				`result[2]: a made.A has no plain form; return its parts`},
			{`[collections.deque(), types.ClassType('A', (), {'next': 1})(), ` +
				`__import__('UserDict').UserDict()]`,
				`result[1]: a made.A has no plain form; return list() of it`},
		} {
			l.call("rt:made", tt.expr).fails("TypeError", tt.want)
		}
	})
}

// Plain values cost no message: the converter is sent once something else is met.
func TestPlainValuesNeedNoConverter(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		l := start(t, py)
		for _, expr := range []string{
			"[None, True, 1, 1 << 99, 1.5, 'x', (), [], {}, set([1]), frozenset([2])]",
			"__import__('mitogen').Secret('x'), __import__('mitogen').Blob(b'x'), " +
				"__import__('mitogen').Context(1, 'x')",
			"bytearray(b'x')",
			"1j",
		} {
			if !strings.HasPrefix(expr, "[") && py.Impl == "pypy" && py.AtLeast(3, 10) {
				continue // its pickler asks about the classes of these, as about other values' classes
			}
			l.call("rt:evaluate", expr).value()
			if l.askedFor(valuesModule) {
				t.Fatalf("%s: the converter was asked for", expr)
			}
		}
		l.call("rt:fail_odd").fails("rt.Odd", "odd")
		if l.askedFor(valuesModule) {
			t.Error("an exception: the converter was asked for")
		}
		l.call("rt:evaluate", "range(1) and __import__('collections').deque()").value()
		if !l.askedFor(valuesModule) {
			t.Error("the converter was not asked for")
		}
	})
}

func (l *link) askedFor(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.asked {
		if a.name == name {
			return true
		}
	}
	return false
}

// Tracebacks are whole: groups, causes, contexts, notes, and exceptions that can't be printed.
func TestTracebacks(t *testing.T) {
	const source = `
def group():
    def bad(n):
        raise ValueError('bad %d' % n)
    errors = []
    for n in (1, 2):
        try:
            bad(n)
        except ValueError as e:
            e.add_note('note %d' % n)
            errors.append(e)
    raise ExceptionGroup('two', errors + [ExceptionGroup('inner', [KeyError('deep')])])

def cause():
    try:
        {}['first']
    except KeyError as e:
        raise RuntimeError('second') from e

class Mute(Exception):
    def __str__(self):
        raise ValueError('no text')
    __repr__ = __str__

def mute():
    raise Mute(1)

def muteCause():
    try:
        mute()
    except Mute as e:
        raise RuntimeError('loud') from e

class Nameless(Exception):
    __module__ = None

def nameless():
    raise Nameless('x')

def syntax():
    compile('a = 1\nb = = 2\n', '/srv/made.py', 'exec')

def circle():
    a, b = ValueError('a'), ValueError('b')
    a.__cause__, b.__cause__ = b, a
    raise a

class Wordy(Exception):
    def __repr__(self):
        return 'r' * (1 << 22)

def wordy():
    raise ExceptionGroup('g', [Wordy(Wordy('x'))])
`
	each(t, func(t *testing.T, py interp) {
		if !py.AtLeast(3, 11) {
			t.Skip("has no groups")
		}
		l := start(t, py)
		l.serve("tb", source)
		for _, tt := range []struct {
			call, kind string
			words      []string
		}{
			{"tb:group", "ExceptionGroup",
				[]string{"Exception Group Traceback", `File "/dev/null/srv/tb.py", line 12, in group`,
					`File "/dev/null/srv/tb.py", line 4, in bad`, "ValueError: bad 1", "note 1",
					"ValueError: bad 2", "note 2", "inner", "KeyError: 'deep'"}},
			{"tb:cause", "RuntimeError",
				[]string{"KeyError: 'first'", "direct cause", "RuntimeError: second", "in cause"}},
			{"tb:mute", "tb.Mute", []string{"in mute", "Mute"}},
			{"tb:muteCause", "RuntimeError", []string{"in mute", "direct cause", "loud"}},
			{"tb:nameless", ".Nameless", []string{"in nameless"}},
			{"tb:syntax", "SyntaxError", []string{`File "/srv/made.py", line 2`, "b = = 2", "in syntax"}},
			{"tb:circle", "ValueError", []string{"ValueError: a", "ValueError: b", "in circle"}},
			{"tb:wordy", "ExceptionGroup", []string{"in wordy", "g (1 sub-exception)"}},
		} {
			e := l.call(tt.call).fails(tt.kind)
			contains(t, tt.call, e.Traceback, tt.words...)
			if strings.Contains(e.Traceback, "<_mitogen>") {
				t.Errorf("%s: the traceback shows the runtime:\n%s", tt.call, e.Traceback)
			}
		}
	})
}
