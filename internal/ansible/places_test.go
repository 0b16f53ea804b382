package ansible_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// place is an item of a loop: options of its own, and where they lead.
type place struct {
	Name   string         `json:"name"`
	Option map[string]any `json:"-"`
	who    string         // user and port; "": nowhere
}

func (p place) MarshalJSON() ([]byte, error) {
	all := map[string]any{"name": p.Name}
	for k, v := range p.Option {
		all[k] = v
	}
	return json.Marshal(all)
}

// places differ in one option each from their neighbours.
func places(s *stage, first, second *lab.Port) []place {
	wrongKey := filepath.Join(s.dir, "wrong")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f",
		wrongKey).CombinedOutput(); err != nil {
		s.t.Fatalf("make a key: %v; output: %s", err, out)
	}
	noKey := "-o PubkeyAuthentication=no"
	type o = map[string]any
	at := func(user string, p *lab.Port) string { return fmt.Sprint(user, " ", p.Number) }
	return []place{
		{"base", o{}, at(lab.Play, first)},
		{"user", o{"user": lab.Free}, at(lab.Free, first)},
		{"port", o{"port": second.Number}, at(lab.Play, second)},
		{"key", o{"key": wrongKey}, ""},
		{"again", o{}, at(lab.Play, first)},
		{"password", o{"args": noKey, "password": s.l.Password}, at(lab.Play, first)},
		{"wrong", o{"args": noKey, "password": "wrong"}, ""},
		{"none", o{"args": noKey}, ""},
		{"arguments", o{"args": "-o HostName=127.0.0.2 -o Port=1"}, ""},
		{"become", o{"become": true}, "root"},
		{"other", o{"become": true, "become_user": lab.Log}, lab.Log},
		{"asks", o{"user": lab.Pass, "become": true, "become_password": s.l.Password}, "root"},
		{"target", o{"target": "local", "user": "root"}, "root"},
		{"last", o{}, at(lab.Play, first)},
	}
}

// sample is some of the places, where all take too long: those that matter most, and those that are
// named.
func sample(all []place, named ...string) []place {
	if os.Getenv("MITOGEN_ANSIBLE_ALL") != "" || testpython.All() {
		return all
	}
	most := []string{"base", "user", "port", "wrong", "none"}
	return slices.DeleteFunc(slices.Clone(all), func(p place) bool {
		return !slices.Contains(most, p.Name) && !slices.Contains(named, p.Name)
	})
}

// drawn names two places, and the place that has a right password.
func drawn(t *testing.T, all []place) []string {
	names := []string{"password"}
	for _, i := range testpython.Draw(t.Name()).Perm(len(all))[:2] {
		names = append(names, all[i].Name)
	}
	return names
}

// Each item of a loop goes to its own place, whatever distinguishes it from the one before, and
// nothing is tried there that wasn't given for it. The ssh plugin is compared where the oldest
// release has its turn.
func TestEachItemInItsPlace(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	for i, playbook := range turn(t, 0) {
		t.Run(release(t, playbook), func(t *testing.T) {
			s := newStage(t, playbook)
			first, second := s.l.NewPort(t), s.l.NewPort(t)
			all := places(s, first, second)
			if i == 0 {
				all = sample(all, drawn(t, all)...)
			} else {
				all = sample(all)
			}
			plugin := "mitogen"
			if i == 1 {
				plugin = s.collection()
			}
			got := s.atPlaces(plugin, all, first)
			right, wrong := first.Passwords()
			for _, p := range all {
				for task, whos := range got {
					who := whos[p.Name]
					if want := p.who; who != want && who != strings.Fields(want + " -")[0] {
						t.Errorf("%s, item %s: got %q, want %q", task, p.Name, who, want)
					}
				}
			}
			if len(got) != 11 {
				t.Errorf("got %d tasks, want 11: %v", len(got), got)
			}
			if i == 0 {
				s.asSSHAtPlaces(sample(all), got, first, right, wrong)
			}
			s.quiet(nil)
		})
	}
}

// asSSHAtPlaces compares with the ssh plugin, the failed attempts at passwords too.
func (s *stage) asSSHAtPlaces(all []place, got map[string]map[string]string, p *lab.Port,
	right, wrong int) {
	want := s.atPlaces("ssh", all, p)
	_, wrongSSH := p.Passwords()
	for task, whos := range want {
		for name, who := range whos {
			if got[task][name] != who {
				s.t.Errorf("%s, item %s: got %q, and with ssh %q", task, name, got[task][name], who)
			}
		}
	}
	// The ssh plugin logs in for each task, with one attempt for the wrong password; a place that was
	// refused isn't tried again at once here.
	if wrongSSH -= wrong; wrong > wrongSSH || wrong == 0 || right == 0 {
		s.t.Errorf("got %d right and %d wrong passwords, and with ssh %d wrong ones", right, wrong,
			wrongSSH)
	}
}

// atPlaces runs the table and returns who did each task, by item; "" for those that couldn't.
func (s *stage) atPlaces(plugin string, all []place, first *lab.Port) map[string]map[string]string {
	s.t.Helper()
	for _, name := range []string{lab.Play, lab.Free, lab.Pass, lab.Log} {
		if err := os.WriteFile(filepath.Join(lab.Dir, "home", name, "who"), []byte(name),
			0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	root, err := user.Lookup("root")
	if err != nil {
		s.t.Fatal(err)
	}
	who := filepath.Join(root.HomeDir, "who")
	if err := os.WriteFile(who, []byte("root"), 0o644); err != nil {
		s.t.Fatal(err)
	}
	defer os.Remove(who)
	list, err := json.Marshal(map[string]any{"places": all, "port": first.Number, "key": s.l.Key})
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() {
		files, _ := filepath.Glob("/tmp/mitogen-place-*")
		for _, f := range files {
			os.Remove(f)
		}
	}()
	// a shared connection of the ssh plugin's is found by host, port and user alone
	s.env = append(s.env, "ANSIBLE_HOST_KEY_CHECKING=0", "ANSIBLE_SSH_ARGS=-o ControlMaster=no")
	results, out := s.play(plugin, "places.yml", "place", "-e", string(list), "-e",
		"ansible_ssh_common_args='-F none -o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes'",
		"-e", python3, "-i", s.hostAt(s.l.Host))
	got := map[string]map[string]string{}
	for _, r := range results {
		items, _ := r.Value["results"].([]any)
		if r.Task == "add" || items == nil {
			continue
		}
		got[r.Task] = map[string]string{}
		for _, x := range items {
			item, _ := x.(map[string]any)
			name, _ := item["item"].(map[string]any)["name"].(string)
			got[r.Task][name] = whoDid(item)
		}
	}
	if len(got) == 0 {
		s.t.Fatal(last(out))
	}
	return got
}

// hostAt writes an inventory of one host at an address, which the play's vars don't say.
func (s *stage) hostAt(address string) string {
	name := filepath.Join(s.dir, "place")
	if err := os.WriteFile(name, []byte("place ansible_host="+address+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return name
}

// whoDid reads a result: the output, the owner of a file, or the contents of the file that was
// fetched.
func whoDid(item map[string]any) string {
	if item["unreachable"] == true || item["failed"] == true {
		return ""
	}
	if text, ok := item["stdout"].(string); ok {
		return strings.TrimSpace(text)
	}
	if owner, ok := item["owner"].(string); ok {
		return owner
	}
	if dest, ok := item["dest"].(string); ok {
		text, _ := os.ReadFile(dest)
		return string(text)
	}
	return fmt.Sprint(item)
}
