package process

import "syscall"

// DieWithUs: there is no such thing. The child's stdin ends when we are gone.
func DieWithUs(*syscall.SysProcAttr) {}
