package ownfile

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// shells are those of this machine, each a command.
func shells(t *testing.T) (all [][]string) {
	t.Helper()
	for _, argv := range [][]string{{"sh"}, {"bash", "--posix"}, {"busybox", "sh"}, {"dash"}} {
		if _, err := exec.LookPath(argv[0]); err == nil {
			all = append(all, argv)
		}
	}
	return all
}

// byShell runs a script in a directory.
func byShell(
	shell []string,
	dir, script, stdin string,
	args ...string,
) (string, *RemoteError, error) {
	argv := append(append(append([]string{}, shell[1:]...), "-c", script, "sh"), args...)
	cmd := exec.Command(shell[0], argv...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	if failure := ShellFailure(cmd.ProcessState.ExitCode(), errs.String()); failure != nil {
		return out.String(), failure, nil
	}
	if errs.Len() > 0 {
		err = fmt.Errorf("%w, said %q", err, errs.String())
	}
	return out.String(), nil, err
}

// putArgs are those of PutScript for data.
func putArgs(dest, name, data string) []string {
	crc := NewCksum()
	io.WriteString(crc, data)
	sum := sha256.Sum256([]byte(data))
	return []string{dest, name, "0", fmt.Sprint(len(data)), fmt.Sprintf("%x", sum),
		fmt.Sprint(crc.Sum32()), "640", "-", "0123456789abcdef"}
}

// only demands that a directory has nothing but these names.
func only(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(names) {
		t.Errorf("%s: got %q, want %q", dir, got, names)
	}
}

// Each shell makes and reads files whatever they are called.
func TestShellNames(t *testing.T) {
	for _, shell := range shells(t) {
		for _, name := range []string{
			"file", "-rf", "new\nline", "$HOME", "a b", "'", `"\`, "*", "\xff", "~",
		} {
			dir := t.TempDir()
			for _, dest := range []string{name, ".", "./" + name, dir + "/" + name} {
				_, failure, err := byShell(shell, dir, PutScript, "data\n", putArgs(dest, name, "data\n")...)
				b, read := os.ReadFile(filepath.Join(dir, name))
				if failure != nil || err != nil || read != nil || string(b) != "data\n" {
					t.Errorf("%v: put %q to %q: got %v, %v, %q, %v", shell, name, dest, failure, err, b, read)
				}
				only(t, dir, name)
				os.Remove(filepath.Join(dir, name))
			}
			os.WriteFile(filepath.Join(dir, name), []byte("data\n"), 0o640)
			out, failure, err := byShell(shell, dir, GetScript, "", name)
			if failure != nil || err != nil || !strings.HasSuffix(out, "\ndata\n") {
				t.Errorf("%v: get %q: got %q, %v, %v", shell, name, out, failure, err)
			}
			f, err := ReadShell(strings.NewReader(out))
			if err != nil {
				t.Fatal(err)
			}
			open, _ := f.Open("")
			b, err := io.ReadAll(open)
			st, _ := open.Stat()
			if string(b) != "data\n" || err != nil || st.Mode() != 0o640 || !f.Dated() {
				t.Errorf("%v: read %q: got %q, %v, mode %v", shell, name, b, err, st.Mode())
			}
		}
	}
}

// A file that can't be made leaves the old one, and nothing else; the reason is told.
func TestShellFailures(t *testing.T) {
	const data = "new"
	with := func(i int, value string) []string {
		args := putArgs("old", "old", data)
		args[i] = value
		return args
	}
	demanded := with(2, "1")
	demanded[0] = "none/"
	for _, shell := range shells(t) {
		for name, tt := range map[string]struct {
			args []string
			want syscall.Errno
		}{
			"too few bytes":      {with(3, "4"), syscall.EIO},
			"other digest":       {with(4, strings.Repeat("0", 64)), syscall.EIO},
			"no directory":       {with(0, "none/x"), syscall.ENOENT},
			"file as directory":  {with(0, "old/x"), syscall.ENOTDIR},
			"directory demanded": {demanded, syscall.ENOENT},
			"directory there":    {with(0, "dir"), syscall.EISDIR},
		} {
			dir := t.TempDir()
			os.MkdirAll(dir+"/dir/old", 0o755)
			os.WriteFile(dir+"/old", []byte("old"), 0o600)
			_, failure, err := byShell(shell, dir, PutScript, data, tt.args...)
			if failure == nil || failure.Errno != tt.want || err != nil {
				t.Errorf("%v: %s: got %v, %v, want %v", shell, name, failure, err, tt.want)
			}
			only(t, dir, "dir", "old")
			if b, _ := os.ReadFile(dir + "/old"); string(b) != "old" {
				t.Errorf("%v: %s: the old file has %q", shell, name, b)
			}
		}
		for name, want := range map[string]syscall.Errno{
			"none": syscall.ENOENT, ".": syscall.EISDIR, "fifo": syscall.EINVAL,
		} {
			dir := t.TempDir()
			syscall.Mkfifo(dir+"/fifo", 0o600)
			_, failure, err := byShell(shell, dir, GetScript, "", name)
			if failure == nil || failure.Errno != want {
				t.Errorf("%v: get %s: got %v, %v, want %v", shell, name, failure, err, want)
			}
		}
	}
}

// A directory that another account makes in the file's place at the last moment is an error,
// whether mv has -T or not.
func TestShellDirectoryAtLast(t *testing.T) {
	const data = "new"
	real, err := exec.LookPath("mv")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	for name, refuse := range map[string]string{"with -T": "", "without": `
case $1 in *T*) echo "mv: unknown option -- T" >&2; exit 1 ;; esac`} {
		mv := fmt.Sprintf("#!/bin/sh\n%s\nmkdir -p ../old\nexec %s \"$@\"\n", refuse, real)
		if err := os.WriteFile(bin+"/mv", []byte(mv), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, shell := range shells(t) {
			if shell[0] == "busybox" { // whose mv is its own
				continue
			}
			dir := t.TempDir()
			_, failure, err := byShell(shell, dir, PutScript, data, putArgs("old", "old", data)...)
			if failure == nil || failure.Errno != syscall.EISDIR || err != nil {
				t.Errorf("%v, %s: got %v, %v, want %v", shell, name, failure, err, syscall.EISDIR)
			}
			only(t, dir, "old")
		}
	}
}

// A new file has the mode of the source as far as the umask lets it; an old one keeps its own,
// without bits that give rights. A time comes with the mode.
func TestShellModes(t *testing.T) {
	for _, shell := range shells(t) {
		dir := t.TempDir()
		os.WriteFile(dir+"/old", nil, 0o600)
		os.Chmod(dir+"/old", 0o751|fs.ModeSetuid|fs.ModeSetgid)
		args := putArgs("new", "new", "")
		args[6] = "777"
		dated := putArgs("dated", "dated", "")
		dated[6], dated[7] = "400", "200902132331.30"
		for _, a := range [][]string{args, putArgs("old", "old", ""), dated} {
			if _, failure, err := byShell(shell, dir, PutScript, "", a...); failure != nil || err != nil {
				t.Errorf("%v: put %s: got %v, %v, want a file", shell, a[0], failure, err)
			}
		}
		mask := syscall.Umask(0)
		syscall.Umask(mask)
		for name, want := range map[string]fs.FileMode{
			"new": 0o777 &^ fs.FileMode(mask), "old": 0o751, "dated": 0o400,
		} {
			st, err := os.Stat(dir + "/" + name)
			if err != nil || st.Mode() != want || name == "dated" && st.ModTime().Unix() != 1234567890 {
				t.Errorf("%v: %s: got %v, %v, want mode %v", shell, name, st, err, want)
			}
		}
	}
}

// What a hostile shell writes is an error, or a file of which the last bytes don't come.
func TestHostileShell(t *testing.T) {
	for _, out := range []string{
		"", "\n", "4", "a b c d\n", "4 - -rw-r--r-- -", strings.Repeat("x", 10_000),
		"-1 - -rw-r--r-- -\n", "99999999999999999999 - -rw-r--r-- -\n", "4 - rw -\n",
	} {
		if f, err := ReadShell(strings.NewReader(out)); err == nil {
			t.Errorf("%.40q: got %+v, want an error", out, f)
		}
	}
	for _, out := range []string{
		"4 - -rw-r--r-- -\nabc", "4 0000 -rw-r--r-- 1\nabcd", "4 c1 -rw-r--r-- 1\nabcd",
		"5000000000000 - -rw-r--r-- -\nabc", "1 " + strings.Repeat("0", 64) + " -rwsrwsrwt -\nabc",
	} {
		f, err := ReadShell(strings.NewReader(out))
		if err != nil {
			t.Fatal(err)
		}
		open, _ := f.Open("")
		b, err := io.ReadAll(open)
		if st, _ := open.Stat(); int64(len(b)) == st.Size() && err == nil || st.Mode() > 0o777 {
			t.Errorf("%q: got all of %q, mode %v, want an error", out, b, st.Mode())
		}
	}
	f := ShellFailure(73, "noise\nmitogen-errno 99999 x")
	if f == nil || f.Errno != 0xffff && f.Errno != 0 {
		t.Errorf("a number that is too large: got %+v", f)
	}
	if f := ShellFailure(73, "mitogen-errno"); f != nil {
		t.Errorf("nothing said: got %+v", f)
	}
}

// The digest has the values that cksum prints.
func TestCksum(t *testing.T) {
	for data, want := range map[string]uint32{
		"": 4294967295, "123456789": 930766865, "a": 1220704766,
	} {
		c := NewCksum()
		io.WriteString(c, data[:len(data)/2])
		io.WriteString(c, data[len(data)/2:])
		if got := c.Sum32(); got != want {
			t.Errorf("%q: got %d, want %d", data, got, want)
		}
	}
}
