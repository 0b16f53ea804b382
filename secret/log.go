//go:build !mitogen_agent

package secret

import "log/slog"

// The agent logs nothing: without this file it links neither slog nor what that needs.

// LogValue hides the text from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// LogValue hides the secrets from slog.
func (t Table) LogValue() slog.Value { return Secret(t).LogValue() }
