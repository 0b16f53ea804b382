package spawn

import "syscall"

// dieWithUs: there is no such thing. The child's stdin ends when we are gone.
func dieWithUs(*syscall.SysProcAttr) {}
