package spawn

import "syscall"

// dieWithUs has the kernel kill the child when we are gone. It doesn't hold for setuid programs.
func dieWithUs(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
