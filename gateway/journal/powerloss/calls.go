package powerloss

import (
	"maps"
	"os"
	"slices"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// calls answers the kernel. Nodes are never forgotten: a disk lives for one test.
type calls struct {
	fuse.RawFileSystem
	d *Disk
}

// hour is how long, in seconds, the kernel may believe what it was told: it is the only one who
// changes anything.
const hour = 3600

func (c *calls) String() string { return "powerloss" }

// with finds a node under the lock; without power there is none.
func (c *calls) with(id uint64, do func(n *node) fuse.Status) fuse.Status {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	n, ok := c.d.nodes[id]
	switch {
	case c.d.off:
		return fuse.EIO
	case !ok:
		return fuse.ENOENT
	}
	return do(n)
}

// in is with for a directory.
func (c *calls) in(id uint64, do func(n *node) fuse.Status) fuse.Status {
	return c.with(id, func(n *node) fuse.Status {
		if n.dir == nil {
			return fuse.ENOTDIR
		}
		return do(n)
	})
}

func attributes(n *node, out *fuse.Attr) {
	out.Ino, out.Nlink, out.Blksize = n.id, 1, page
	out.Uid, out.Gid = uint32(os.Getuid()), uint32(os.Getgid())
	out.Mode = syscall.S_IFDIR | n.mode
	if n.file != nil {
		out.Mode, out.Size = syscall.S_IFREG|n.mode, uint64(len(n.file.data))
		out.Blocks = (out.Size + sector - 1) / sector
	}
}

func entry(n *node, out *fuse.EntryOut) fuse.Status {
	out.NodeId, out.EntryValid, out.AttrValid = n.id, hour, hour
	attributes(n, &out.Attr)
	return fuse.OK
}

func (c *calls) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	return c.in(h.NodeId, func(n *node) fuse.Status {
		child, ok := n.dir.entries[name]
		if !ok {
			return fuse.ENOENT
		}
		return entry(child, out)
	})
}

func (c *calls) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return c.with(in.NodeId, func(n *node) fuse.Status {
		out.AttrValid = hour
		attributes(n, &out.Attr)
		return fuse.OK
	})
}

func (c *calls) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	return c.with(in.NodeId, func(n *node) fuse.Status {
		if size, ok := in.GetSize(); ok && n.file != nil {
			n.file.truncate(int64(size))
		}
		if mode, ok := in.GetMode(); ok {
			n.mode = mode
		}
		out.AttrValid = hour
		attributes(n, &out.Attr)
		return fuse.OK
	})
}

// make adds a new node to a directory.
func (c *calls) make(parent uint64, name string, child *node, out *fuse.EntryOut) fuse.Status {
	return c.in(parent, func(n *node) fuse.Status {
		if _, there := n.dir.entries[name]; there {
			return fuse.Status(syscall.EEXIST)
		}
		n.dir.apply(change{name: c.d.add(child, name)})
		return entry(child, out)
	})
}

func newFile(mode uint32) *node {
	return &node{mode: mode & 0o7777, file: &file{dirty: map[int64]struct{}{}}}
}

func (c *calls) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return c.make(in.NodeId, name, &node{mode: in.Mode & 0o7777, dir: newDir()}, out)
}

func (c *calls) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	return c.make(in.NodeId, name, newFile(in.Mode), out)
}

func (c *calls) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	return c.make(in.NodeId, name, newFile(in.Mode), &out.EntryOut)
}

func (c *calls) remove(parent uint64, name string, directory bool) fuse.Status {
	return c.in(parent, func(n *node) fuse.Status {
		child, ok := n.dir.entries[name]
		switch {
		case !ok:
			return fuse.ENOENT
		case directory && child.dir == nil:
			return fuse.ENOTDIR
		case directory && len(child.dir.entries) > 0:
			return fuse.Status(syscall.ENOTEMPTY)
		}
		n.dir.apply(change{name: nil})
		return fuse.OK
	})
}

func (c *calls) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return c.remove(h.NodeId, name, false)
}

func (c *calls) Rmdir(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return c.remove(h.NodeId, name, true)
}

func (c *calls) Rename(_ <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	return c.in(in.NodeId, func(n *node) fuse.Status {
		child, ok := n.dir.entries[from]
		target := c.d.nodes[in.Newdir]
		switch {
		case !ok || target == nil || target.dir == nil:
			return fuse.ENOENT
		case in.Flags != 0:
			return fuse.EINVAL
		}
		c.d.names[child.id] = to
		if target == n {
			n.dir.apply(change{from: nil, to: child})
		} else {
			target.dir.apply(change{to: child})
			n.dir.apply(change{from: nil})
		}
		return fuse.OK
	})
}

func (c *calls) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return c.with(in.NodeId, func(n *node) fuse.Status {
		if n.file == nil {
			return fuse.Status(syscall.EISDIR)
		}
		out.OpenFlags = fuse.FOPEN_KEEP_CACHE
		return fuse.OK
	})
}

func (c *calls) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	var got int
	status := c.with(in.NodeId, func(n *node) fuse.Status {
		if n.file == nil {
			return fuse.Status(syscall.EISDIR)
		}
		if in.Offset < uint64(len(n.file.data)) {
			got = copy(buf, n.file.data[in.Offset:])
		}
		return fuse.OK
	})
	return fuse.ReadResultData(buf[:got]), status
}

func (c *calls) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	return uint32(len(data)), c.with(in.NodeId, func(n *node) fuse.Status {
		if n.file == nil {
			return fuse.Status(syscall.EISDIR)
		}
		n.file.write(int64(in.Offset), data)
		return fuse.OK
	})
}

func (c *calls) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK }

func (c *calls) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	keep := true
	if c.d.c.Syncing != nil {
		c.d.mu.Lock()
		name := c.d.names[in.NodeId]
		c.d.mu.Unlock()
		keep = c.d.c.Syncing(name)
	}
	return c.with(in.NodeId, func(n *node) fuse.Status {
		c.d.syncs++
		if keep && n.file != nil {
			n.file.sync()
		}
		return fuse.OK
	})
}

func (c *calls) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return c.in(in.NodeId, func(n *node) fuse.Status {
		n.dir.sync()
		return fuse.OK
	})
}

func (c *calls) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, _ *fuse.OpenOut) fuse.Status {
	return c.in(in.NodeId, func(*node) fuse.Status { return fuse.OK })
}

func (c *calls) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return c.in(in.NodeId, func(n *node) fuse.Status {
		names := slices.Sorted(maps.Keys(n.dir.entries))
		for i, name := range names[min(in.Offset, uint64(len(names))):] {
			child := n.dir.entries[name]
			mode := uint32(syscall.S_IFREG)
			if child.dir != nil {
				mode = syscall.S_IFDIR
			}
			if !out.AddDirEntry(fuse.DirEntry{Mode: mode, Name: name, Ino: child.id, Off: in.Offset + uint64(i) + 1}) {
				break
			}
		}
		return fuse.OK
	})
}

// StatFs says that there is always room: a full disk is another test.
func (c *calls) StatFs(_ <-chan struct{}, h *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	return c.with(h.NodeId, func(*node) fuse.Status {
		out.Bsize, out.Frsize, out.NameLen = page, page, 255
		out.Blocks, out.Bfree, out.Bavail = 1<<28, 1<<28, 1<<28
		return fuse.OK
	})
}
