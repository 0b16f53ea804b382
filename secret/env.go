package secret

import (
	"os"
	"unsafe"
)

// FromEnv returns the value of a variable and removes it from the environment, so that no process
// started from here inherits it. It is to be called before Harden, which on Linux keeps this
// process from wiping the environment that it was started with, too.
func FromEnv(name string) Secret {
	value, set := os.LookupEnv(name)
	if !set {
		return ""
	}
	os.Unsetenv(name)
	wipeEnv(name)
	s := Hold([]byte(value))
	if value != "" { // a part of "NAME=value", which the runtime keeps: nothing else refers to it
		clear(unsafe.Slice(unsafe.StringData(value), len(value)))
	}
	return s
}
