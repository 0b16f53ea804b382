package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

const pythonUsage = `Runs a Python program here that uses the package mitogo, which this program
carries: nothing has to be installed. All arguments are Python's, as in "python3 prog.py" or
"python3 -m package.module", but for a first --python NAME, which is the interpreter to use
instead of python3. The program's exit status is the command's.

In the program, "import mitogo" and mitogo.Engine() start contexts on targets and call the
program's functions there. The Python here has to be 3.8 or later. Programs that were
written for Mitogen find its API by "import mitogen".`

func newPython(s *state) *cobra.Command {
	var cmd *cobra.Command
	cmd = command(s, &cobra.Command{
		Use:   "python [--python NAME] [PROGRAM | -m MODULE | -c CODE] [ARG…]",
		Short: "run a Python program that calls functions elsewhere",
		Long:  pythonUsage,
		Example: "  mitogen python deploy.py --hosts web\n  mitogen python -m fleet.report\n  mitogen " +
			"python",
	}, func(_ context.Context, s *state, args []string) error {
		python := "python3"
		switch {
		case len(args) > 0 && (args[0] == "--help" || args[0] == "-h"):
			return cmd.Help()
		case len(args) > 1 && args[0] == "--python":
			python, args = args[1], args[2:]
		}
		return runPython(python, args)
	})
	cmd.DisableFlagParsing = true
	return cmd
}

// compat is the directory of the package that programs know as mitogen, among the files that this
// program carries.
const compat = "/mitogo/compat"

// runPython becomes a Python that finds the package in this program.
func runPython(python string, args []string) error {
	self, err := os.Executable()
	if err == nil {
		err = carries(self)
	}
	if err != nil {
		return fmt.Errorf("python: %w", err)
	}
	path, err := exec.LookPath(python)
	if err != nil {
		return withHint(fmt.Errorf("python: %w", err), "--python names another interpreter")
	}
	places := strings.TrimSuffix(self+":"+self+compat+":"+os.Getenv("PYTHONPATH"), ":")
	env := []string{"PYTHONPATH=" + places, "MITOGEN_BINARY=" + self}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "PYTHONPATH=") && !strings.HasPrefix(e, "MITOGEN_BINARY=") {
			env = append(env, e)
		}
	}
	err = syscall.Exec(path, append([]string{python}, args...), env)
	return fmt.Errorf("python: %s: %w", path, err)
}

// carries returns an error unless the program has the Python package behind it.
func carries(program string) error {
	f, err := os.Open(program)
	if err != nil {
		return err
	}
	defer f.Close()
	end := make([]byte, 22) // of a zip file without a comment
	if _, err := f.Seek(-int64(len(end)), io.SeekEnd); err != nil {
		return err
	}
	if _, err := io.ReadFull(f, end); err != nil {
		return err
	}
	if string(end[:4]) != "PK\x05\x06" {
		err := errors.New("this program carries no Python package")
		return withHint(err, "make build appends it; go build doesn't")
	}
	return nil
}
