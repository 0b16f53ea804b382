package process

import "syscall"

// DieWithUs has the kernel kill the child when we are gone. It doesn't hold for setuid programs.
func DieWithUs(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
