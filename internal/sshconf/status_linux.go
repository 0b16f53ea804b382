package sshconf

import "syscall"

func statusFrom(st *syscall.Stat_t) status {
	return status{dev: int64(st.Dev), ino: int64(st.Ino), size: st.Size, mtime: st.Mtim.Nano(),
		ctime: st.Ctim.Nano()}
}

// disks are the file systems that are known to have their times from this machine's clock, in less
// than coarse, by their magic numbers (statfs(2)).
var disks = map[uint32]bool{
	0xEF53:     true, // ext2, ext3, ext4
	0x58465342: true, // xfs
	0x9123683E: true, // btrfs
	0x01021994: true, // tmpfs
	0x858458F6: true, // ramfs
	0x794C7630: true, // overlayfs
	0x2FC12FC1: true, // zfs
	0xF2F52010: true, // f2fs
	0xCA451A4E: true, // bcachefs
	0x73717368: true, // squashfs
	0x3153464A: true, // jfs
	0x52654973: true, // reiserfs
	0xF15F:     true, // ecryptfs
}

// onDisk tells whether a file, or a directory, is on one of disks.
func onDisk(name string) bool {
	var st syscall.Statfs_t
	return syscall.Statfs(name, &st) == nil && disks[uint32(st.Type)]
}
