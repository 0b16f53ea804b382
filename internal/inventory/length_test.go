package inventory

import (
	"fmt"
	"strings"
	"testing"
)

// Texts that grow within an expression are bounded as those of a whole template are.
func TestTextsGrow(t *testing.T) {
	long := strings.Repeat("a", 1<<11)
	for _, form := range []string{"{{ x%[1]d ~ x%[1]d ~ x%[1]d ~ x%[1]d }}",
		"{{ x%[1]d + x%[1]d + x%[1]d + x%[1]d }}",
		"{{ x%[1]d | replace('a', 'aaaa') }}", "{{ x%[1]d.replace('a', 'aaaa') }}",
		"{{ [x%[1]d, x%[1]d, x%[1]d, x%[1]d] | join }}"} {
		for last, want := range map[int]string{1: "", 8: "filled in with more than"} {
			line := "h ansible_host=\"{{ x0 | length }}\" x" + fmt.Sprint(last) + "=" + long
			for i := range last {
				line += fmt.Sprintf(" x%d=\"%s\"", i, fmt.Sprintf(form, i+1))
			}
			v := list(t, line)
			_, err := v.Chain(v.Host("h"))
			if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s: got %v, want %q", form, err, want)
			}
			if want == "" && err != nil && strings.Contains(err.Error(), "filled in with") {
				t.Errorf("%s: got %v", form, err)
			}
		}
	}
}
