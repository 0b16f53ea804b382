package integration

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/report"
)

// static skips a test whose program, which is this one, a tree without libraries can't execute.
func static(t *testing.T) {
	t.Helper()
	f, err := elf.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Skip("takes a static test program (CGO_ENABLED=0)")
		}
	}
}

// treeTarget returns a target that enters a tree in a namespace of its own, once sh has executed
// mounts there.
func treeTarget(t *testing.T, root, mounts string) string {
	t.Helper()
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("takes unshare")
	}
	name := filepath.Join(t.TempDir(), "enter")
	text := "#!/bin/sh\nset -e\ncd " + root + "\n" + mounts +
		"\nunset TMPDIR XDG_RUNTIME_DIR\nHOME=/ exec chroot $user . \"$@\"\n"
	if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return "exec:" + unshare + " -m --propagation private " + name
}

// What the trees of the tests have mounted.
const (
	withProc = "mount -t proc proc proc;"
	withShm  = withProc + "mount -t tmpfs -o mode=1777 shm dev/shm;"
	readOnly = "mount --bind . .; cd $PWD; mount -o remount,ro,bind .;"
	noExec   = readOnly + withProc +
		"for d in tmp dev/shm;do mount -t tmpfs -o noexec,mode=1777 x $d;done;"
)

// A tree with busybox alone gets this program, in whatever place lets it be executed.
func TestFallbackInTree(t *testing.T) {
	static(t)
	for name, tt := range map[string]struct{ mounts, tools, place string }{
		"shm":             {mounts: withShm, place: "/dev/shm/"},
		"no shm":          {mounts: withProc + "rmdir dev/shm;", place: "/tmp/"},
		"shm noexec":      {mounts: withShm + "mount -o remount,noexec dev/shm;", place: "/tmp/"},
		"read-only":       {mounts: readOnly + withShm, place: "/dev/shm/"},
		"without gzip":    {mounts: withShm, tools: "gzip gunzip zcat", place: "/dev/shm/"},
		"without head":    {mounts: withShm, tools: "head", place: "/dev/shm/"},
		"without mktemp":  {mounts: withShm, tools: "mktemp cp mv dd cat stat", place: "/dev/shm/"},
		"another account": {mounts: withShm + "user=--userspec=65534:65534;", place: "/dev/shm/"},
	} {
		t.Run(name, func(t *testing.T) {
			root := busyboxTree(t)
			os.MkdirAll(root+"/dev/shm", 0o755)
			os.MkdirAll(root+"/proc", 0o755)
			for _, tool := range strings.Fields(tt.tools) {
				os.Remove(root + "/bin/" + tool)
			}
			var programs givenPrograms
			e := engine(t, mitogen.Options{Audit: programs.audit})
			c := connected(t, e, treeTarget(t, root, tt.mounts), mitogen.ConnectOptions{GoFallback: true})
			worksWithoutPython(t, c, tt.place)
			if got := programs.count(); got != 1 {
				t.Errorf("got %d lines of programs in the audit log, want 1", got)
			}
			if left := leftIn(root); len(left) > 0 {
				t.Errorf("got %q left in the tree, want nothing", left)
			}
		})
	}
}

// leftIn returns what programs have left in a tree's places.
func leftIn(root string) (left []string) {
	for _, dir := range []string{"/tmp", "/dev/shm", "/var/tmp", ""} {
		found, _ := filepath.Glob(root + dir + "/.mitogen-*")
		left = append(left, found...)
	}
	return left
}

// worksWithoutPython does in a Go context what works there, and what doesn't. place is where its
// program has been.
func worksWithoutPython(t *testing.T, c *mitogen.Context, place string) {
	t.Helper()
	ctx := t.Context()
	info, err := c.Info(ctx)
	if err != nil || info.Implementation != "go" {
		t.Fatalf("info: got %v, %v, want that of a Go context", info, err)
	}
	var out, errs bytes.Buffer
	status, err := c.Exec(ctx, mitogen.Command{Stdout: &out, Stderr: &errs,
		Args: []string{"sh", "-c", "readlink /proc/$PPID/exe; ls /proc/self/fd; echo $MITO_FD"}})
	if status != 0 || err != nil || !strings.HasPrefix(out.String(), place+".mitogen-") ||
		!strings.Contains(out.String(), "(deleted)") {
		t.Errorf("exec: got status %d, %v, %q, %q, want a deleted file in %s", status, err, out.String(),
			errs.String(), place)
	}
	if got, err := whoami.Call(ctx, c, "hello"); err != nil || !strings.Contains(got, " "+place) {
		t.Errorf("Go function: got %q, %v, want what is executed in %s", got, err, place)
	}
	copiesBothWays(t, c, place)
	connectsBack(t, c)
	_, err = mitogen.Call[int](ctx, c, "os:getpid")
	if called := (*report.CallError)(nil); !errors.Is(err, connect.ErrNoPython) ||
		!errors.As(err, &called) {
		t.Errorf("call: got %v, want a *CallError that matches %v", err, connect.ErrNoPython)
	}
	_, err = c.SyncPut(ctx, "/dev/shm/x", t.TempDir(), mitogen.SyncOptions{})
	if !errors.Is(err, connect.ErrNoPython) {
		t.Errorf("sync: got %v, want what matches %v", err, connect.ErrNoPython)
	}
}

// copiesBothWays copies a directory into a place there, and back.
func copiesBothWays(t *testing.T, c *mitogen.Context, place string) {
	t.Helper()
	dir := t.TempDir()
	data := bytes.Repeat([]byte("some bytes\n"), 50_000)
	os.Mkdir(dir+"/src", 0o755)
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(dir+"/src/"+name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	opt := mitogen.CopyOptions{Failed: func(e *mitogen.FileError) { t.Error(e) }}
	if _, err := c.Put(t.Context(), place+"there", opt, dir+"/src"); err != nil {
		t.Errorf("put: %v", err)
		return
	}
	if _, err := c.Get(t.Context(), dir+"/back", opt, place+"there"); err != nil {
		t.Errorf("get: %v", err)
	}
	c.Exec(t.Context(), mitogen.Command{Args: []string{"rm", "-r", place + "there"}})
	if got, err := os.ReadFile(dir + "/back/b"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes back, %v, want %d", len(got), err, len(data))
	}
}

// connectsBack has c connect to a listener of this machine.
func connectsBack(t *testing.T, c *mitogen.Context) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if conn, err := l.Accept(); err == nil {
			io.Copy(conn, conn)
		}
	}()
	conn, err := c.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Errorf("dial: %v", err)
		return
	}
	defer conn.Close()
	conn.Write([]byte("through"))
	got := make([]byte, len("through"))
	if _, err := conn.Read(got); err != nil || string(got) != "through" {
		t.Errorf("forward: got %q, %v, want %q", got, err, "through")
	}
}

// What a tree lacks for the program is one error, which says what, and no program is sent.
func TestFallbackImpossible(t *testing.T) {
	static(t)
	for name, tt := range map[string]struct {
		mounts, tools string
		uname         string // what it prints; "": it is busybox's
		want          string
		err           error
	}{
		"noexec": {mounts: noExec, want: "noexec", err: connect.ErrNoProgram},
		"no place": {mounts: readOnly + withProc, want: "no directory there takes a file",
			err: connect.ErrNoProgram},
		"no proc": {mounts: "true", want: "no /proc is mounted there", err: connect.ErrNoProgram},
		"no room": {mounts: readOnly + withProc + "mount -t tmpfs -o mode=1777,size=1m shm dev/shm;",
			want: "No space left on device", err: connect.ErrNoProgram},
		"no head": {mounts: withShm, tools: "head dd", want: "neither head -c nor dd",
			err: connect.ErrNoProgram},
		"platform": {mounts: withShm, uname: "Plan9", want: "its platform is Plan9 Plan9",
			err: mitogen.ErrNoBinary},
		"hostile": {mounts: withShm, uname: "a\x1b[2J|b|c", want: "", err: connect.ErrNoPython},
	} {
		t.Run(name, func(t *testing.T) {
			root := busyboxTree(t)
			os.MkdirAll(root+"/dev/shm", 0o755)
			os.MkdirAll(root+"/proc", 0o755)
			for _, tool := range strings.Fields(tt.tools) {
				os.Remove(root + "/bin/" + tool)
			}
			if tt.uname != "" {
				os.Remove(root + "/bin/uname")
				os.WriteFile(root+"/bin/uname", []byte("#!/bin/sh\necho '"+tt.uname+"'\n"), 0o755)
			}
			e := engine(t, mitogen.Options{})
			o := mitogen.ConnectOptions{GoFallback: true, Options: connect.Options{Timeout: patience}}
			if name == "hostile" {
				o.Timeout = 2 * time.Second // the shell says nothing that can be read
			}
			_, err := e.Connect(t.Context(), treeTarget(t, root, tt.mounts), o)
			failed := (*connect.Error)(nil)
			if name == "hostile" {
				if !errors.Is(err, connect.ErrTimeout) || strings.Contains(err.Error(), "\x1b") {
					t.Errorf("got %v, want %v", err, connect.ErrTimeout)
				}
				return
			}
			if !errors.Is(err, tt.err) || !errors.Is(err, connect.ErrNoPython) ||
				!errors.As(err, &failed) || failed.Hint == "" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want a *connect.Error that matches %v, with %q and a hint", err, tt.err,
					tt.want)
			}
			if left := leftIn(root); len(left) > 0 {
				t.Errorf("got %q left in the tree, want nothing", left)
			}
		})
	}
}

// Over ssh it is the same connection: one login.
func TestFallbackBySSH(t *testing.T) {
	l := lab.Need(t)
	for _, native := range []bool{false, true} {
		e := engine(t, mitogen.Options{})
		c := connected(t, e, lab.Free, mitogen.ConnectOptions{GoFallback: true,
			Options: connect.Options{Python: []string{"no-such-python"},
				SSH: connect.SSHOptions{ConfigFile: l.Config, Native: native}}})
		worksWithoutPython(t, c, "/dev/shm/")
		if _, err := e.Connect(t.Context(), "sudo", mitogen.ConnectOptions{Via: c}); !errors.Is(err,
			connect.ErrNoPython) {
			t.Errorf("sudo behind it: got %v, want %v", err, connect.ErrNoPython)
		}
	}
}

// Behind a hop, too, a tree without Python gets this program: by a process that the hop starts, or
// by an ssh of this machine.
func TestFallbackBehindHop(t *testing.T) {
	static(t)
	root := busyboxTree(t)
	os.MkdirAll(root+"/dev/shm", 0o755)
	os.MkdirAll(root+"/proc", 0o755)
	tree := treeTarget(t, root, withShm)
	e := engine(t, mitogen.Options{})
	o := mitogen.ConnectOptions{GoFallback: true}
	worksWithoutPython(t, connected(t, e, "local+"+tree, o), "/dev/shm/")
	o.Via = connected(t, e, "local", mitogen.ConnectOptions{})
	c := connected(t, e, tree, o)
	worksWithoutPython(t, c, "/dev/shm/")
	if left := leftIn(root); len(left) > 0 {
		t.Errorf("got %q left in the tree, want nothing", left)
	}
	if err := c.Close(); err != nil {
		t.Errorf("close: got %v, want nil", err)
	}
	for text, want := range map[string]string{
		treeTarget(t, root, "true"): "no /proc is mounted there",
		"exec:/no/such":             "no such file",
	} {
		_, err := e.Connect(t.Context(), text, o)
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	l := lab.Need(t)
	o.Python, o.SSH.ConfigFile = []string{"no-such-python"}, l.Config
	worksWithoutPython(t, connected(t, e, lab.Free, o), "/dev/shm/")
}

// A target with Python gets an interpreter, by as many round trips and bytes as without a fallback.
func TestFallbackNotNeeded(t *testing.T) {
	l := lab.Need(t)
	for _, target := range []string{"local", lab.Free, "sudo:" + lab.Free} {
		var trips, sizes [2]int64
		for i := range trips {
			e := engine(t, mitogen.Options{})
			c := connected(t, e, target, mitogen.ConnectOptions{GoFallback: i == 1,
				Options: connect.Options{SSH: connect.SSHOptions{ConfigFile: l.Config}}})
			if info, err := c.Info(t.Context()); err != nil || info.Implementation == "go" {
				t.Errorf("%s: got %v, %v, want an interpreter", target, info, err)
			}
			stats := c.Stats()
			trips[i], sizes[i] = stats.RoundTrips, stats.BytesDown
		}
		if trips[0] != trips[1] || sizes[0] != sizes[1] {
			t.Errorf("%s: got %d round trips and %d bytes, want %d and %d", target, trips[1], sizes[1],
				trips[0], sizes[0])
		}
	}
}

// A connect that is given up while the program is on its way leaves nothing.
func TestFallbackGivenUp(t *testing.T) {
	static(t)
	root := busyboxTree(t)
	os.MkdirAll(root+"/proc", 0o755)
	os.Remove(root + "/bin/head")
	os.Remove(root + "/bin/dd")
	// Its reader never ends.
	slow := "#!/bin/sh\ncase $* in 'bs=2 count=1 iflag=fullblock')echo ab;;" +
		"*)echo >/tmp/reading;while read x;do sleep 1;done;esac\n"
	if err := os.WriteFile(root+"/bin/dd", []byte(slow), 0o755); err != nil {
		t.Fatal(err)
	}
	e := engine(t, mitogen.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		_, err := e.Connect(ctx, treeTarget(t, root, withProc), mitogen.ConnectOptions{GoFallback: true})
		failed <- err
	}()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(root + "/tmp/reading"); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the program isn't read")
		}
	}
	cancel()
	if err := <-failed; !errors.Is(err, mitogen.ErrCancelled) {
		t.Errorf("got %v, want %v", err, mitogen.ErrCancelled)
	}
	if left := leftIn(root); len(left) > 0 {
		t.Errorf("got %q left in the tree, want nothing", left)
	}
}

// The shell that finds no interpreter evaluates no line of what waits for the context.
func TestFallbackEvaluatesNothing(t *testing.T) {
	dir := t.TempDir()
	e := engine(t, mitogen.Options{})
	for _, target := range []string{"local", "exec:sh"} {
		c, err := e.Start(target, mitogen.ConnectOptions{GoFallback: true,
			Options: connect.Options{Python: []string{"no-such-python"}}})
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Repeat("\nMITO touch "+dir+"/made;exit\n", 1000)
		var out bytes.Buffer
		status, err := c.Exec(t.Context(), mitogen.Command{Args: []string{"cat"},
			Stdin: strings.NewReader(lines), Stdout: &out})
		if status != 0 || err != nil || out.String() != lines {
			t.Errorf("%s: got status %d, %v, %d bytes, want all %d", target, status, err, out.Len(),
				len(lines))
		}
		if _, err := os.Stat(dir + "/made"); err == nil {
			t.Fatalf("%s: a line was evaluated", target)
		}
	}
}
