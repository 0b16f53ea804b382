package pysource

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

var tight = Options{DropLines: true, Reindent: true, Tight: true}

func TestMinify(t *testing.T) {
	for _, tt := range []struct {
		name     string
		opts     Options
		src, out string
	}{
		{"empty", Options{}, "", ""},
		{"only comments", Options{}, "# a\n\n# b\n", ""},
		{"comments", Options{}, "a = 1  # one\n# two\nb = 2\n", "a = 1\n\nb = 2\n"},
		{"brackets", Options{}, "f( a , [ 1 , 2 ],  # c\n  k = - 1 )\n", "f(a,[1,2],\nk=-1)\n"},
		{"module docstring", Options{}, "'''doc\nmore'''\nfrom __future__ import x\n",
			"\n\nfrom __future__ import x\n"},
		{"only a module docstring", Options{}, "'''doc'''\n", ""},
		{"docstring of a function", Options{}, "def f():\n    '''doc\n    more'''\n    return 1\n",
			"def f():\n\n\n    return 1\n"},
		{"only a docstring", Options{}, "class A:\n  'doc'\nx = 1", "class A:\n  pass\nx = 1\n"},
		{"two strings", Options{}, "async def f():\n  'a'\n  u'b' 'c'\n", "async def f():\n  pass\n"},
		{"docstring before a string", Options{}, "def f():\n 'a'\n 'b'; x\n",
			"def f():\n 'a'\n 'b'; x\n"},
		{"docstring before a string in brackets", Options{}, "def f():\n 'a'\n ('b')\n",
			"def f():\n 'a'\n ('b')\n"},
		{"an f-string is none", Options{}, "def f():\n f'a'\n", "def f():\n f'a'\n"},
		{"a string in another block stays", Options{}, "if x:\n 'a'\n", "if x:\n 'a'\n"},
		{"__doc__ is used", Options{}, "'doc'\nprint(__doc__)\n", "'doc'\nprint(__doc__)\n"},
		{"__doc__ in a comment", Options{}, "'doc' # __doc__\nx\n", "\nx\n"},
		{"docstrings kept", Options{KeepDocstrings: true}, "'doc'  # c\n", "'doc'\n"},
		{"shebang and coding", Options{}, "#!/usr/bin/python \n# -*- coding: latin-1 -*-\n# c\nx\n",
			"#!/usr/bin/python\n# -*- coding: latin-1 -*-\n\nx\n"},
		{"coding on line 2", tight, "\n# coding: utf-8\n\nx\n", "# coding: utf-8\nx\n"},
		{"byte order mark", Options{}, bom + "x # c\n", bom + "x\n"},
		{"line ends", Options{}, "a\r\n\r\nb\rc", "a\n\nb\nc\n"},
		{"form feed", Options{}, "if a:\n    b\n\f\nc\n", "if a:\n    b\n\nc\n"},
		{"tabs", Options{Reindent: true}, "if a:\n\tif b:\n            c\n        d\n",
			"if a:\n if b:\n  c\n d\n"},
		{"backslash", Options{}, "a = \\\n   b \\\n  + c\n", "a =\\\nb\\\n+ c\n"},
		{"backslash in brackets", Options{}, "f(a, \\\n b)\n", "f(a,\nb)\n"},
		{"backslash joined", tight, "return \\\n  x\nassert \\\n\\\n(y)\n", "return x\nassert(y)\n"},
		{"lines dropped", tight, "def f(a,\n      b):\n\n    # c\n    return a\n\n\n\nf( 1,\n 2 )",
			"def f(a,b):\n return a\nf(1,2)\n"},
		{"names and numbers", tight, "x = 1 if a else 0x1for b\nprint 1 , .5, 1 .real, 1..real",
			"x=1 if a else 0x1f or b\nprint 1,.5,1 .real,1. .real\n"},
		{"strings", tight, "x = 'a' 'b' \"\" \"c\" in b 'c' , r , rb 'd'",
			"x='a' 'b' \"\" \"c\"in b 'c',r,rb 'd'\n"},
		{"prefixes", tight, "return u'a' if 'x' else not'b'", "return u'a'if'x'else not'b'\n"},
		{"operators", tight, "a = - - b ** - c < - d\nf(* a, ** b)\nprint >> x, `y`, a <> b\nx[a : = " +
			"b]\n. . .", "a=--b**-c<-d\nf(*a,**b)\nprint>>x,`y`,a<>b\nx[a: =b]\n. . .\n"},
		{"f-strings", tight, "x = f'{a['b'] # }\n}' , f\"{{ {x!r:>{w}}\" , rf'\\{x}' + t'{a:%H:%M}'",
			"x=f'{a['b'] # }\n}',f\"{{ {x!r:>{w}}\",rf'\\{x}'+t'{a:%H:%M}'\n"},
		{"f-string by older rules", tight, "x = f'{' , 1", "x=f'{',1\n"},
		{"named character", tight, "x = f'\\N{BULLET}' ; y = f'{x}'", "x=f'\\N{BULLET}';y=f'{x}'\n"},
		{"strings over lines", tight, "x = 'a\\\n  b'  \ny = '''a\n\n  # no comment\n''' # c\nz",
			"x='a\\\n  b'\ny='''a\n\n  # no comment\n'''\nz\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Minify([]byte(tt.src), tt.opts)
			if err != nil || string(got) != tt.out {
				t.Errorf("got %q, %v\nwant %q", got, err, tt.out)
			}
		})
	}
}

func TestNotUnderstood(t *testing.T) {
	for _, src := range []string{
		"x = (1,  # c\n", "x = 1) # c", "x = 'abc # c\n", "x = '''abc # c\n", "x = $ # c",
		"x = a ! b # c", "(]# c\n",
		"if x:\n    a # c\n  b\n", "x \\ y # c", "\\\n # c\n", " \\\n", " \\\n# c", "x = f'{a # c\n",
		"# coding: utf-16\nx # c", "x\x00 # c",
		"#!/usr/bin/python\n# vim: set fileencoding=shift_jis :\nx # c\n", "\\",
		strings.Repeat("f'{", 1000) + "\n",
	} {
		got, err := Minify([]byte(src), Options{})
		if err == nil || string(got) != src {
			t.Errorf("%.40q: got %.40q, %v; want the source and an error", src, got, err)
		}
		if se := (*SyntaxError)(nil); !errors.As(err, &se) && !errors.Is(err, ErrCoding) {
			t.Errorf("minify %.40q: got %T %v, want a SyntaxError or ErrCoding", src, err, err)
		}
	}
}

// TestHardToRead keeps the time for f-strings that never close within bounds.
func TestHardToRead(t *testing.T) {
	src := []byte(strings.Repeat("f'{'\n", 200_000))
	if _, err := Minify(src, Options{}); err == nil {
		t.Error("no error")
	}
}

func TestTokens(t *testing.T) {
	src := []byte("if x:\n  import a.b as c; y **= 1\n\nz")
	toks, err := Tokens(src)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for _, tok := range toks {
		got.WriteString(tok.Kind.String())
		if tok.Kind == Name || tok.Kind == Op {
			got.WriteString(":" + string(tok.Text(src)))
		}
		got.WriteByte(' ')
	}
	want := "NAME:if NAME:x OP:: NEWLINE INDENT NAME:import NAME:a OP:. NAME:b NAME:as NAME:c OP:; " +
		"NAME:y OP:**= " +
		"NUMBER NEWLINE DEDENT NAME:z NEWLINE EOF "
	if got.String() != want {
		t.Errorf("got  %s\nwant %s", got.String(), want)
	}
	if last := toks[len(toks)-3]; last.Line != 4 {
		t.Errorf("z is on line %d, want 4", last.Line)
	}
}

// texts returns the tokens without their places; docstrings and pass aside these must outlive
// minifying.
func texts(src []byte, toks []Token) []string {
	var out []string
	for _, t := range toks {
		switch t.Kind {
		case Name, Number, String, Op:
			out = append(out, string(t.Text(src)))
		default:
			out = append(out, t.Kind.String())
		}
	}
	return out
}

func FuzzMinify(f *testing.F) {
	for _, s := range []string{
		"def f(a, b=1):\n    '''doc'''\n    return f'{a!r:>{b}}' # c\n", "x = \\\n 1\r\n\tif y:\r z\f",
		"a = 'b' \"c\" rb'''d\n'''",
		"x[1:2, ...] = 0x1for 10L ** - .5e-3j\n", "class A: pass\n@b\nasync def c(): await d\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		for _, o := range []Options{{KeepDocstrings: true},
			{DropLines: true, Reindent: true, Tight: true, KeepDocstrings: true}} {
			checkMinified(t, src, o)
		}
		if out, err := Minify(src, tight); err == nil {
			if _, err := Tokens(out); err != nil {
				t.Fatalf("%q became %q: %v", src, out, err)
			}
		}
	})
}

// checkMinified demands the same tokens, and on the same lines where lines are kept.
func checkMinified(t *testing.T, src []byte, o Options) {
	out, err := Minify(src, o)
	if err != nil {
		if !bytes.Equal(out, src) {
			t.Fatalf("%q came back as %q with %v", src, out, err)
		}
		return
	}
	before, _ := Tokens(src)
	after, err := Tokens(out)
	if err != nil {
		t.Fatalf("%q became %q: %v", src, out, err)
	}
	a, b := texts(src, before), texts(out, after)
	if strings.Join(a, "\x00") != strings.Join(b, "\x00") {
		t.Fatalf("%q became %q\n%q\n%q", src, out, a, b)
	}
	for i := range before {
		if k := before[i].Kind; !o.DropLines && k >= Name && before[i].Line != after[i].Line {
			t.Fatalf("%q became %q: token %d moved from line %d to %d", src, out, i, before[i].Line,
				after[i].Line)
		}
	}
}
