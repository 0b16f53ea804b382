package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	var out bytes.Buffer
	if err := report(t.Context(), &out,
		[]string{"local", "local+local", "no-host.invalid"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"local: ", "local+local: ", "GiB free\n",
		"no-host.invalid: connect no-host.invalid: unknown host"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
