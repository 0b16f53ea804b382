package pickle

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/mitogen-go/mitogen/pyvalue"
)

// A field is an exported field of a struct as Python sees it.
type field struct {
	name      string
	index     []int // path through embedded structs
	typ       reflect.Type
	omitEmpty bool
}

type structType struct {
	handle reflect.Type // Context or Sender, if it is another name of one
	fields []field
	exact  map[string]int // name: place in fields
	folded map[string]int // name without case and underscores
}

var structTypes sync.Map // reflect.Type: *structType

func structTypeOf(t reflect.Type) *structType {
	if s, ok := structTypes.Load(t); ok {
		return s.(*structType)
	}
	s := &structType{handle: handleType(t), exact: map[string]int{}, folded: map[string]int{}}
	for _, f := range fieldsOf(t, nil, nil) {
		s.add(f)
	}
	got, _ := structTypes.LoadOrStore(t, s)
	return got.(*structType)
}

// add appends f. Of two fields with one name the less deeply embedded counts, then the first.
func (s *structType) add(f field) {
	at, taken := s.exact[f.name]
	if taken {
		if len(f.index) < len(s.fields[at].index) {
			s.fields[at] = f
		}
		return
	}
	s.exact[f.name] = len(s.fields)
	if _, taken := s.folded[fold(f.name)]; !taken {
		s.folded[fold(f.name)] = len(s.fields)
	}
	s.fields = append(s.fields, f)
}

// find returns the field for a key: by name, else without regard to case and underscores.
func (s *structType) find(key string) (*field, bool) {
	if at, ok := s.exact[key]; ok {
		return &s.fields[at], true
	}
	if at, ok := s.folded[fold(key)]; ok {
		return &s.fields[at], true
	}
	return nil, false
}

func fold(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }

// fieldsOf returns t's fields, those of embedded structs in their place. inside are the structs
// around t.
func fieldsOf(t reflect.Type, index []int, inside []reflect.Type) []field {
	if slices.Contains(inside, t) {
		return nil
	}
	inside = append(slices.Clip(inside), t)
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("py")
		at := append(slices.Clip(index), i)
		switch {
		case tag == "-":
		case f.Anonymous && !tagged && f.Type.Kind() == reflect.Struct && !known(f.Type):
			fields = append(fields, fieldsOf(f.Type, at, inside)...)
		case f.IsExported():
			fields = append(fields, newField(f, tag, at))
		}
	}
	return fields
}

func newField(f reflect.StructField, tag string, index []int) field {
	name, option, _ := strings.Cut(tag, ",")
	if name == "" {
		name = snake(f.Name)
	}
	return field{name, index, f.Type, option == "omitempty"}
}

// known reports whether t is a struct that isn't sent as a dict.
func known(t reflect.Type) bool {
	if _, ok := conversionOf(t); ok {
		return true
	}
	return handleType(t) != nil
}

// handleType returns Context or Sender if t is that, or made of it; else nil.
func handleType(t reflect.Type) reflect.Type {
	for _, h := range []reflect.Type{reflect.TypeFor[pyvalue.Ref](),
		reflect.TypeFor[pyvalue.Sender]()} {
		if t.Kind() == reflect.Struct && t.ConvertibleTo(h) {
			return h
		}
	}
	return nil
}

// snake turns a Go name into a Python one: FreeMem, HTTPPort and ID into free_mem, http_port and
// id.
func snake(name string) string {
	rs := []rune(name)
	var b strings.Builder
	for i, r := range rs {
		if i > 0 && unicode.IsUpper(r) && rs[i-1] != '_' &&
			(!unicode.IsUpper(rs[i-1]) || i+1 < len(rs) && unicode.IsLower(rs[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
