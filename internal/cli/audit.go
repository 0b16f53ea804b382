package cli

import (
	"cmp"
	"errors"
	"os"

	"github.com/spf13/pflag"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/audit"
	"github.com/mitogen-go/mitogen/report"
)

// addAudit adds the flag of commands that connect.
func (o *options) addAudit(f *pflag.FlagSet) {
	f.StringVar(
		&o.audit,
		"audit",
		"",
		"append to `FILE` what was done where, as JSON lines; else $MITOGEN_AUDIT",
	)
}

// auditFile returns where the audit log is; "": there is none.
func (o *options) auditFile() string { return cmp.Or(o.audit, os.Getenv("MITOGEN_AUDIT")) }

// auditor opens the audit log of a command and returns what tells it of events; nil: there is none.
func (s *state) auditor() (func(report.Event) error, error) {
	name := s.opt.auditFile()
	if name == "" {
		return nil, nil
	}
	var err error
	if s.log, err = audit.Open(name, s.command); err != nil {
		return nil, err
	}
	return s.log.Tell, nil
}

// endAudit closes the audit log and returns the error of a command that ends with err.
func (s *state) endAudit(err error) error {
	if s.log == nil {
		return err
	}
	failed := s.log.Close(verdict(err).status)
	s.log = nil
	if failed != nil && !errors.Is(err, mitogen.ErrAudit) {
		return failed
	}
	return err
}
