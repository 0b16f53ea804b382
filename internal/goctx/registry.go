package goctx

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// Prefix begins the target of a CALL for a Go function.
const Prefix = "go:"

// A Handler carries out one call. Its result is a value of package pickle; nil is None.
type Handler func(ctx context.Context, c *Call) (any, error)

// function is a registered Handler with the types that it takes and returns.
type function struct {
	handler Handler
	types   string
}

var registry struct {
	sync.Mutex // protects following
	functions  map[string]function
}

// Register makes a function callable as "go:" and name. types describes the argument and the
// result, for Digest. Register panics if name is empty, has a zero byte, or is taken.
func Register(name, types string, h Handler) {
	registry.Lock()
	defer registry.Unlock()
	if name == "" || strings.ContainsRune(name, 0) {
		panic(fmt.Sprintf("mitogen: %q is no name of a function", name))
	}
	if _, taken := registry.functions[name]; taken {
		panic(fmt.Sprintf("mitogen: two functions are called %q", name))
	}
	if registry.functions == nil {
		registry.functions = map[string]function{}
	}
	registry.functions[name] = function{h, types}
}

// lookup returns the function of a name.
func lookup(name string) (Handler, bool) {
	registry.Lock()
	defer registry.Unlock()
	f, ok := registry.functions[name]
	return f.handler, ok
}

// Digest tells the functions of this program, with their types, from those of another one.
func Digest() string {
	registry.Lock()
	defer registry.Unlock()
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(registry.functions)) {
		fmt.Fprintf(h, "%s\x00%s\x00", name, registry.functions[name].types)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// TypeText describes a type with all that it is made of.
func TypeText(t reflect.Type) string { return describe(t, nil) }

// describe is TypeText inside of other types, which end what refers to itself.
func describe(t reflect.Type, inside []reflect.Type) string {
	if slices.Contains(inside, t) {
		return t.String()
	}
	inside = append(slices.Clip(inside), t)
	part := func(t reflect.Type) string { return describe(t, inside) }
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return fmt.Sprintf("%v of %s", t.Kind(), part(t.Elem()))
	case reflect.Map:
		return fmt.Sprintf("map of %s to %s", part(t.Key()), part(t.Elem()))
	case reflect.Func:
		var all []string
		for i := range t.NumIn() {
			all = append(all, part(t.In(i)))
		}
		for i := range t.NumOut() {
			all = append(all, part(t.Out(i)))
		}
		return "func of " + strings.Join(all, ", ")
	case reflect.Struct:
		var all []string
		for i := range t.NumField() {
			f := t.Field(i)
			all = append(all, fmt.Sprintf("%s %q %s", f.Name, f.Tag, part(f.Type)))
		}
		return "struct of " + strings.Join(all, ", ")
	}
	return t.String()
}
