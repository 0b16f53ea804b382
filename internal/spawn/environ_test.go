package spawn

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/testpython"
)

func TestAbsolute(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"PATH=.:/bin::bin", "PATH=/bin"},
		{"PYTHONPATH=", ""},
		{"PYTHONPATH=:", ""},
		{"PYTHONPATH=.", ""},
		{"PYTHONPATH=lib:/a b:", "PYTHONPATH=/a b"},
		{"PYTHONPATH=::/a::/b:x", "PYTHONPATH=/a:/b"},
		{"PYTHONPATH=/a:/b", "PYTHONPATH=/a:/b"},
		{"PYTHONHOME=/a:b", ""},
		{"PYTHONHOME=/a:/b", "PYTHONHOME=/a:/b"},
		{"PYTHONHOME=..", ""},
		{"PYTHONUSERBASE=x", ""},
		{"PYTHONUSERBASE=~/x", ""},
		{"PYTHONUSERBASE=/x", "PYTHONUSERBASE=/x"},
		{"PYTHONPYCACHEPREFIX=x", ""},
		{"PYTHONDONTWRITEBYTECODE=x", "PYTHONDONTWRITEBYTECODE=x"},
	} {
		env := []string{"A=1", tt.in, "B=2"}
		want := []string{"A=1", tt.want, "B=2", "PYTHONSAFEPATH=1"}
		if tt.want == "" {
			want = slices.Delete(want, 1, 2)
		}
		if got := absolute(env); !slices.Equal(got, want) || env[1] != tt.in {
			t.Errorf("%s: got %q, want %q", tt.in, got, want)
		}
	}
}

func TestRelativePath(t *testing.T) {
	for entry, want := range map[string]string{
		"PYTHONPATH=/a:/b": "", "PYTHONPATH=/a:b": "MITO_PATH=/a:b", "PYTHONPATH=:/a": "MITO_PATH=:/a",
		"PATH=x": "",
	} {
		if got := relativePath([]string{"A=1", entry}); got != want {
			t.Errorf("%s: got %q, want %q", entry, got, want)
		}
	}
}

// spawnAbsolute returns the function of python/child_start.py that does in a hop what absolute does
// here.
func spawnAbsolute(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile("../../python/child_start.py")
	if err != nil {
		t.Fatal(err)
	}
	definition := regexp.MustCompile(`(?m)^def absolute\(env\):\n(?:(?: .*)?\n)+`)
	function := definition.FindString(string(source))
	if function == "" {
		t.Fatal("python/child_start.py has no function absolute(env)")
	}
	return function
}

// byPath and absolute of python/child_start.py name the same variables, the lists among them too.
func TestByPathInHop(t *testing.T) {
	function := spawnAbsolute(t)
	names := regexp.MustCompile(`for name in \(([^)]*)\):`).FindStringSubmatch(function)
	if names == nil {
		t.Fatalf("no loop over names of variables in\n%s", function)
	}
	got := strings.Split(strings.ReplaceAll(names[1], "'", ""), ", ")
	slices.Sort(got)
	if want := slices.Sorted(maps.Keys(byPath)); !slices.Equal(got, want) {
		t.Errorf("variables of absolute in python/child_start.py: got %q, want %q", got, want)
	}
}

// A hop leaves of a variable what this machine does.
func TestAbsoluteInHop(t *testing.T) {
	var program strings.Builder
	program.WriteString("utf8 = lambda s: s.encode()\n" + spawnAbsolute(t))
	program.WriteString("def show(env):\n" +
		"    env = absolute(dict([(utf8(k), utf8(v)) for k, v in env]))\n" +
		"    print(' '.join(sorted([(k + utf8('=') + v).decode() for k, v in env.items()])))\n")
	var want []string
	for _, value := range []string{
		"", ":", ".", "x", "/a", "/a:/b", "/a:b", "b:/a", "/a:", ":/a", "::/a::/b:x", "~/x", "/a b",
		"../x:/",
	} {
		for _, name := range append(slices.Sorted(maps.Keys(byPath)), "PYTHONSTARTUP",
			"LD_LIBRARY_PATH") {
			env := []string{name + "=" + value}
			if name != "PATH" {
				env = append(env, "PATH=/bin")
			}
			var pairs []string
			for _, entry := range env {
				name, value, _ := strings.Cut(entry, "=")
				pairs = append(pairs, fmt.Sprintf("(%q, %q)", name, value))
			}
			fmt.Fprintf(&program, "show([%s])\n", strings.Join(pairs, ", "))
			env = absolute(env)
			if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, "PATH=") }) {
				env = append(env, "PATH=/usr/local/bin:/usr/bin:/bin") // see python/child_start.py
			}
			slices.Sort(env)
			want = append(want, strings.Join(env, " "))
		}
	}
	all := testpython.Find()
	for _, py := range []testpython.Interp{all[0], all[len(all)-1]} {
		out, err := exec.Command(py.Path, "-c", program.String()).Output()
		got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		if err != nil || len(got) != len(want) {
			t.Fatalf("%s: got %d lines and %v, want %d lines", py.Name(), len(got), err, len(want))
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: environment of what a hop starts: got %q, want %q", py.Name(), got[i], want[i])
			}
		}
	}
}
