package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// AppendU32 appends the payload of CANCEL (a reply handle) and KILL (a context).
func AppendU32[N ~uint32](dst []byte, n N) []byte {
	return binary.BigEndian.AppendUint32(dst, uint32(n))
}

// ParseU32 reads what AppendU32 wrote.
func ParseU32[N ~uint32](b []byte) (N, error) {
	if len(b) != 4 {
		return 0, fmt.Errorf("parse number: %d bytes, not 4", len(b))
	}
	return N(binary.BigEndian.Uint32(b)), nil
}

// AppendCredit appends the payload of CREDIT: n bytes of flow have been consumed.
func AppendCredit(dst []byte, flow Handle, n uint32) []byte {
	return AppendU32(AppendU32(dst, flow), n)
}

// AppendResize writes what tells a session the size of its terminal, in characters and pixels.
func AppendResize(dst []byte, rows, cols, width, height uint16) []byte {
	dst = append(dst, 'w')
	for _, n := range []uint16{rows, cols, width, height} {
		dst = binary.BigEndian.AppendUint16(dst, n)
	}
	return dst
}

// ParseResize reads what AppendResize wrote, but for its first byte.
func ParseResize(b []byte) (rows, cols, width, height uint16, err error) {
	if len(b) != 8 {
		return 0, 0, 0, 0, fmt.Errorf("parse size of a terminal: %d bytes, not 8", len(b))
	}
	n := func(i int) uint16 { return binary.BigEndian.Uint16(b[2*i:]) }
	return n(0), n(1), n(2), n(3), nil
}

// ParseCredit reads what AppendCredit wrote.
func ParseCredit(b []byte) (flow Handle, n uint32, err error) {
	if len(b) != 8 {
		return 0, 0, fmt.Errorf("parse credit: %d bytes, not 8", len(b))
	}
	return Handle(binary.BigEndian.Uint32(b)), binary.BigEndian.Uint32(b[4:]), nil
}

// AppendLost appends the payload of LOST: id is gone, and why.
func AppendLost(dst []byte, id ContextID, why string) []byte {
	return append(AppendU32(dst, id), why...)
}

// ParseLost reads what AppendLost wrote. why is as it came: any bytes.
func ParseLost(b []byte) (id ContextID, why string, err error) {
	id, rest, err := cutID(b, "lost")
	return id, string(rest), err
}

// AppendConnect appends the payload of CONNECT: the new context's id and a pickle of how to start
// it.
func AppendConnect(dst []byte, id ContextID, plan []byte) []byte {
	return append(AppendU32(dst, id), plan...)
}

// ParseConnect reads what AppendConnect wrote. plan shares b's memory.
func ParseConnect(b []byte) (id ContextID, plan []byte, err error) { return cutID(b, "connect") }

func cutID(b []byte, what string) (ContextID, []byte, error) {
	if len(b) < 4 {
		return 0, nil, fmt.Errorf("parse %s: %d bytes, no id", what, len(b))
	}
	return ContextID(binary.BigEndian.Uint32(b)), b[4:], nil
}

// AppendCall appends the beginning of a CALL's payload; the pickle of the arguments, if any, comes
// behind it.
func AppendCall(dst []byte, target string) []byte { return append(append(dst, target...), 0) }

// ParseCall reads a CALL's payload. args shares b's memory and is empty where there are none.
func ParseCall(b []byte) (target string, args []byte, err error) {
	name, args, ok := bytes.Cut(b, []byte{0})
	if !ok {
		return "", nil, fmt.Errorf("parse call: no zero byte in %d bytes", len(b))
	}
	return string(name), args, nil
}

// AppendPrepare appends the payload of PREPARE: what module needs is to go to context id. text, if
// not nil, is the source of a program of that name.
func AppendPrepare(dst []byte, id ContextID, module string, text []byte) []byte {
	dst = append(AppendU32(dst, id), module...)
	if text != nil {
		dst = append(append(dst, 0), text...)
	}
	return dst
}

// ParsePrepare reads what AppendPrepare wrote. text shares b's memory.
func ParsePrepare(b []byte) (id ContextID, module string, text []byte, err error) {
	id, rest, err := cutID(b, "prepare")
	name, text, given := bytes.Cut(rest, []byte{0})
	switch {
	case err == nil && len(name) == 0:
		err = fmt.Errorf("parse prepare: no name in %d bytes", len(b))
	case given && text == nil:
		text = []byte{}
	}
	return id, string(name), text, err
}

// ModuleForm is the letter of a module, in a LOAD_MODULE or a bundle, that says what its rest is.
type ModuleForm byte

// The forms of a Module.
const (
	FormModule      ModuleForm = 'm' // Rest: zlib of the source
	FormPackage     ModuleForm = 'p' // Rest: zlib of the source of __init__
	FormModuleText  ModuleForm = 'M' // as FormModule, without zlib
	FormPackageText ModuleForm = 'P' // as FormPackage, without zlib
	FormNamespace   ModuleForm = 'n' // a package without __init__; Rest is empty
	FormNone        ModuleForm = '-' // there is none; Rest: text, why

	FormNative  ModuleForm = 'x' // an extension module, in bundles only
	FormLibrary ModuleForm = 'l' // a shared library that extension modules need, in bundles only
	FormData    ModuleForm = 'd' // a file of a package, in bundles only
)

// formNames has each form once: the compiler refuses two of one letter.
var formNames = map[ModuleForm]string{
	FormModule:      "module",
	FormPackage:     "package",
	FormModuleText:  "module as text",
	FormPackageText: "package as text",
	FormNamespace:   "namespace package",
	FormNone:        "none",
	FormNative:      "extension module",
	FormLibrary:     "shared library",
	FormData:        "file of a package",
}

// String returns what the form is, in words.
func (f ModuleForm) String() string {
	if name := formNames[f]; name != "" {
		return name
	}
	return fmt.Sprintf("unknown form %q", byte(f))
}

// Module is the payload of LOAD_MODULE.
type Module struct {
	Name string // as imported, dotted
	Path string // file that tracebacks show
	Form ModuleForm
	Rest []byte
}

// Append appends m. It panics if a zero byte is in Name or Path.
func (m *Module) Append(dst []byte) []byte {
	for _, s := range [...]string{m.Name, m.Path} {
		if bytes.IndexByte([]byte(s), 0) >= 0 {
			panic(fmt.Sprintf("wire: zero byte in module name or path %q", s))
		}
		dst = append(append(dst, s...), 0)
	}
	return append(append(dst, byte(m.Form)), m.Rest...)
}

// ParseModule reads what Module.Append wrote. Rest shares b's memory.
func ParseModule(b []byte) (Module, error) {
	name, rest, ok1 := bytes.Cut(b, []byte{0})
	path, rest, ok2 := bytes.Cut(rest, []byte{0})
	if !ok1 || !ok2 || len(rest) == 0 {
		return Module{}, fmt.Errorf("parse module: incomplete in %d bytes", len(b))
	}
	m := Module{Name: string(name), Path: string(path), Form: ModuleForm(rest[0]), Rest: rest[1:]}
	switch m.Form {
	case FormModule, FormPackage, FormModuleText, FormPackageText, FormNamespace, FormNone:
		return m, nil
	}
	return Module{}, fmt.Errorf("parse module: unknown form %q", rest[0])
}
