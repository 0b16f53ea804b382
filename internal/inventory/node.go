package inventory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// document returns the top node of a file, nil if there is none. As in Ansible, JSON is read as
// such and everything else as YAML.
func document(file string, text []byte) (*yaml.Node, error) {
	if json.Valid(text) && utf8.Valid(text) {
		r := &jsonReader{dec: json.NewDecoder(bytes.NewReader(text)), text: text, line: 1}
		r.dec.UseNumber()
		return r.node()
	}
	if !utf8.Valid(text) {
		return nil, &Error{File: file, Text: "not YAML: not UTF-8"}
	}
	if at := bytes.IndexAny(text, "\u0085\u2028\u2029"); at >= 0 {
		return nil, &Error{File: file, Line: 1 + bytes.Count(text[:at], []byte("\n")),
			Text: "not YAML: U+0085, U+2028 or U+2029, which break lines; write an escape"}
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, next yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, &Error{File: file, Text: "not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
	case len(doc.Content) == 0:
		return nil, nil
	}
	if err := dec.Decode(&next); !errors.Is(err, io.EOF) {
		return nil, &Error{File: file, Line: next.Line, Text: "not YAML: more than one document"}
	}
	return doc.Content[0], anchors(file, &doc, map[string]bool{})
}

// anchors is an error if one name is given to two nodes, which PyYAML refuses.
func anchors(file string, n *yaml.Node, seen map[string]bool) error {
	if n.Kind != yaml.AliasNode && n.Anchor != "" {
		if seen[n.Anchor] {
			return &Error{File: file, Line: n.Line,
				Text: fmt.Sprintf("not YAML: anchor &%s is there twice", n.Anchor)}
		}
		seen[n.Anchor] = true
	}
	for _, c := range n.Content {
		if err := anchors(file, c, seen); err != nil {
			return err
		}
	}
	return nil
}

// jsonReader makes nodes of JSON, with lines.
type jsonReader struct {
	dec  *json.Decoder
	text []byte
	line int
	seen int64 // bytes whose lines are counted
}

func (r *jsonReader) node() (*yaml.Node, error) {
	token, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	offset := r.dec.InputOffset()
	r.line += bytes.Count(r.text[r.seen:offset], []byte("\n"))
	r.seen = offset
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: r.line}
	switch x := token.(type) {
	case json.Delim:
		return n, r.content(n, x)
	case string:
		n.Style, n.Value = yaml.DoubleQuotedStyle, x
	case json.Number:
		n.Style, n.Value, n.Tag = yaml.TaggedStyle, x.String(), "!!int"
		if strings.ContainsAny(n.Value, ".eE") {
			n.Tag = "!!float"
		}
	case bool:
		n.Value = map[bool]string{true: "true", false: "false"}[x]
	case nil:
		n.Value = "null"
	}
	return n, nil
}

func (r *jsonReader) content(n *yaml.Node, open json.Delim) error {
	n.Kind = yaml.SequenceNode
	if open == '{' {
		n.Kind = yaml.MappingNode
	}
	for r.dec.More() {
		c, err := r.node()
		if err != nil {
			return err
		}
		n.Content = append(n.Content, c)
	}
	_, err := r.dec.Token()
	return err
}

// A pair is an entry of a mapping.
type pair struct {
	key   any // as scalar converts it
	at    *yaml.Node
	value *yaml.Node
}

// mapping returns the entries of n as PyYAML sees them: those of merges first, then n's own, a
// later one in the place of an earlier. Where two merges differ, releases of PyYAML differ in which
// wins, so it is an error.
func (r *yamlReader) mapping(n *yaml.Node, depth int) ([]pair, error) {
	if r.work += len(n.Content); depth > maxDepth || r.work > maxWork {
		return nil, r.bad(n, "too large or nested too deep")
	}
	var merged, own pairs
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := follow(n.Content[i]), follow(n.Content[i+1])
		if isMerge(key) {
			if err := r.merge(&merged, key, value, depth+1); err != nil {
				return nil, err
			}
			continue
		}
		var x any = "="
		if key.Value != "=" { // which is text as a key
			var err error
			if x, err = r.scalar(key); err != nil {
				return nil, err
			}
		}
		own.put(pair{x, key, value})
	}
	for _, p := range own.list {
		merged.put(p)
		delete(merged.unsure, p.key)
	}
	for key, at := range merged.unsure {
		return nil, r.bad(at, "<<: two mappings differ in %q, and PyYAML's releases in which of them "+
			"wins", pythonText(key))
	}
	return merged.list, nil
}

// isMerge tells the key "<<", which means the string if it is quoted.
func isMerge(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "<<" && plain(n)
}

func (r *yamlReader) merge(into *pairs, key, value *yaml.Node, depth int) error {
	from := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		from = value.Content
	}
	for _, m := range from {
		if m = follow(m); m.Kind != yaml.MappingNode {
			return r.bad(key, "<<: neither a mapping nor a list of mappings")
		}
		list, err := r.mapping(m, depth)
		if err != nil {
			return err
		}
		for _, p := range list {
			if i, ok := into.index[p.key]; ok && !same(into.list[i].value, p.value) {
				into.doubt(p)
			}
			into.put(p)
		}
	}
	return nil
}

// same tells whether two values are one node or equal scalars.
func same(a, b *yaml.Node) bool {
	return a == b || a.Kind == yaml.ScalarNode && b.Kind == yaml.ScalarNode && a.Value == b.Value &&
		a.Tag == b.Tag && plain(a) == plain(b)
}

// pairs are entries in the order of their first appearance.
type pairs struct {
	list   []pair
	index  map[any]int
	unsure map[any]*yaml.Node // keys for which merges differ
}

func (p *pairs) put(x pair) {
	i, ok := p.index[x.key]
	if ok {
		p.list[i].value = x.value
		return
	}
	if p.index == nil {
		p.index = map[any]int{}
	}
	p.index[x.key] = len(p.list)
	p.list = append(p.list, x)
}

func (p *pairs) doubt(x pair) {
	if p.unsure == nil {
		p.unsure = map[any]*yaml.Node{}
	}
	p.unsure[x.key] = x.at
}

// follow returns the node that an alias stands for.
func follow(n *yaml.Node) *yaml.Node {
	for range maxDepth {
		if n.Kind != yaml.AliasNode {
			break
		}
		n = n.Alias
	}
	return n
}
