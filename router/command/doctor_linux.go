package command

import "golang.org/x/sys/unix"

// kinds names the file systems that people know by name.
var kinds = map[int64]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.F2FS_SUPER_MAGIC: "f2fs", 0x2fc12fc1: "zfs",
	unix.TMPFS_MAGIC: "tmpfs", unix.RAMFS_MAGIC: "ramfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs", unix.NFS_SUPER_MAGIC: "nfs", unix.SMB2_SUPER_MAGIC: "smb",
	unix.CIFS_SUPER_MAGIC: "smb", unix.FUSE_SUPER_MAGIC: "fuse", unix.V9FS_MAGIC: "9p",
}

// volume returns the kind of file system that a folder lies on, empty when it is not known, and the bytes free for this user, -1 when they are not.
func volume(dir string) (kind string, free int64) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return "", -1
	}
	return kinds[int64(st.Type)&0xffffffff], int64(st.Bavail) * int64(st.Bsize)
}

// openFiles returns how many files this process may have open.
func openFiles() (limit uint64, known bool) {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 0, false
	}
	return r.Cur, true
}
