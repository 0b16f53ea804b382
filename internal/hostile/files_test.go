package hostile_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/pylink"
)

// treasure is in every file that no context may have.
const treasure = "TREASURE"

// estate is the directory that commands are run in.
var estate = map[string]string{
	"Documents/taxes.txt": treasure, "Documents/plan.py": treasure + " = 1",
	"project/.env": treasure, "certs/tls.key": treasure, ".ssh/id_ed25519": treasure,
	"x": "-> /etc", "y.py": "-> /etc/hostname", "secret.py": treasure + " = 1",
	"os.py": treasure + " = 1", "json.py": treasure + " = 1", ".bashrc": treasure,
	"app/__init__.py": "",
	"app/main.py": "import os, pkgutil\ndef f():\n    import app.late\n    return " +
		"os.getloadavg()\n", "app/late.py": "", "app/.env": treasure,
	"app/secret.py": treasure + " = 1", "app/tls.key": treasure, "app/page.html": "PAGE",
	"app/link.html": "-> ../secret.py", "app/etc": "-> /etc", "app/env.html": "-> .env",
	"app/keys/__init__.py": "", "app/keys/data.txt": treasure, "app/db.sqlite3": treasure,
	"secret-1.dist-info/METADATA": treasure, "secret-1.dist-info/top_level.txt": "secret",
	"tool.py": "import os\nimport used\ndef f():\n    return os.getloadavg()\n", "used.py": "",
	"script.py": "import json, os, used\nprint(json.dumps(os.getloadavg()))\n",
}

// wanted are all questions about it that came to mind.
func wanted() map[string]any {
	var files [][]string
	for _, pkg := range []string{"Documents", "project", "certs", "x", "app", "app.keys", "keys",
		".ssh", "", ".", "..", "/", "/etc", "app/..", "secret", "os", "tool", "used",
		"_mitogen", "app\x00", "/proc/self", "app.etc"} {
		for _, name := range []string{"", "page.html", "taxes.txt", "plan.py", ".env", "tls.key",
			"passwd",
			"shadow", "hostname", "id_ed25519", "secret.py", "../secret.py", "../.env",
			"../project/.env",
			"../../etc/passwd", "/etc/passwd", "etc/passwd", "link.html", "env.html",
			"keys/data.txt", "data.txt", "db.sqlite3", "keys", "etc", "./.env", "a/../.env",
			"..\\.env",
			".env\x00x", "__pycache__", "environ", "late.py/../secret.py", "\u2024env"} {
			files = append(files, []string{"r", pkg, name}, []string{"l", pkg, name}, []string{"t",
				pkg, name})
		}
	}
	for _, pkg := range []string{"Documents", "project", "certs", "secret", "keys", ".ssh", "..", "/",
		"/etc", "Documents/..", "os"} {
		files = append(files, []string{"s", pkg})
	}
	for _, name := range []string{"", "secret", "*", ".."} {
		files = append(files, []string{"t", "secret-1.dist-info", "METADATA"},
			[]string{"t", "app.dist-info", name})
	}
	return map[string]any{"files": files, "modules": []string{"used", "Documents", "Documents.plan",
		"project", "certs", "x", "x.passwd", "y", "secret", "os", "json", "app.secret", "app.keys",
		"app.etc", "app.link", "app..env", "../secret", "/etc/passwd", "secret.py", "app/secret",
		"", ".", "..", "secret\x00", "ｓｅｃｒｅｔ", ".ssh", "ssh", "app.main.secret",
		strings.Repeat("a.", 120) + "secret", "__main__", "secret ", "\nsecret", "app\\secret"}}
}

// A compromised interpreter is given nothing of the directory that a command is run in but what the
// command names.
func TestFilesAreGivenByList(t *testing.T) {
	l := lab.Need(t)
	dir, evil, socket := plantEstate(t), evilSite(t), daemonSocket(t)
	behind := lab.Free + "+sudo:" + lab.None
	code := "import json, os, used; print(json.dumps(os.getloadavg()))"
	for _, c := range []struct {
		name, target string
		args         []string
		want         string // is given, and no treasure; "": nothing at all
	}{
		{"a function of the target's own", lab.None, []string{"call", "os:getloadavg"}, ""},
		{"natively", lab.None, []string{"call", "--ssh-native", "os:getloadavg"}, ""},
		{"behind a hop", behind, []string{"call", "os:getloadavg"}, ""},
		{"by way of a daemon", lab.None,
			[]string{"call", "--daemon", "--socket", socket, "os:getloadavg"}, ""},
		{"a function of a package", lab.None, []string{"call", "app.main:f"}, "PAGE"},
		{"a function of a script", lab.None, []string{"call", "tool.py:f"}, "used.py"},
		{"a script", lab.None, []string{"run", "script.py"}, "module used"},
		{"a script behind a hop", behind, []string{"run", "script.py"}, "module used"},
		{"code", lab.None, []string{"run", "-c", code}, "module used"},
		{"a module", lab.None, []string{"run", "-m", "script"}, "module used"},
		{"what is allowed by name", lab.None,
			[]string{"call", "--serve", "secret", "os:getloadavg"}, treasure},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := steal(t, dir, l.Config, evil, c.target, c.args)
			if len(got) == 0 || got[len(got)-1] != "asked" {
				t.Fatalf("the attack ended early: %q", got)
			}
			got = got[:len(got)-1]
			if !strings.Contains(strings.Join(got, "\n"), c.want) {
				t.Errorf("was given %q, want %q among that", got, c.want)
			}
			for _, text := range got {
				stolen := strings.Contains(text, treasure) || strings.Contains(text, "root:")
				if c.want == "" || stolen && c.want != treasure {
					t.Errorf("was given %q", text)
				}
			}
		})
	}
}

// plantEstate returns a directory with the estate.
func plantEstate(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range estate {
		file := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(file), 0o700)
		if target, link := strings.CutPrefix(text, "-> "); err == nil && link {
			err = os.Symlink(target, file)
		} else if err == nil {
			err = os.WriteFile(file, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// daemonSocket returns the place for the socket of a daemon that ends with the test.
func daemonSocket(t *testing.T) string {
	t.Helper()
	private, err := os.MkdirTemp("", "hostile-socket-")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(private, "s")
	t.Cleanup(func() {
		cmd := exec.Command("/proc/self/exe", "daemon", "stop", "--socket", socket)
		cmd.Env = append(plainEnviron(), asCommand+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("end the daemon: %v: %s", err, out)
		}
		os.RemoveAll(private)
	})
	return socket
}

// evilSite returns a directory that makes an interpreter steal, if it is on its path.
func evilSite(t *testing.T) string {
	t.Helper()
	evil, err := os.MkdirTemp("", "hostile-site-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(evil) })
	script, err := os.ReadFile("testdata/steal.py")
	if err != nil {
		t.Fatal(err)
	}
	script = []byte(pylink.Translate(boot.Table(), string(script)))
	list, err := json.Marshal(wanted())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"sitecustomize.py": script, "wanted.json": list} {
		if err := os.WriteFile(filepath.Join(evil, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(evil, 0o755); err != nil {
		t.Fatal(err)
	}
	return evil
}

// steal runs a command in dir with interpreters that are compromised, and returns what these got.
func steal(t *testing.T, dir, config, evil, target string, args []string) (got []string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	flags := []string{"-t", target, "-F", config, "--python",
		"env PYTHONPATH=" + evil + " /usr/bin/python3"}
	cmd := exec.CommandContext(ctx, exe, append(append(args[:1:1], flags...), args[1:]...)...)
	cmd.Dir = dir
	cmd.Env = append(plainEnviron(), asCommand+"=1", "MITOGEN_CONFIG=", "MITOGEN_PATH=",
		"VIRTUAL_ENV=")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("run %s: %v; output: %s%s", args, err, out, stderr.String())
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("decode the output of %s: %v; output: %s", args, err, out)
	}
	return got
}
