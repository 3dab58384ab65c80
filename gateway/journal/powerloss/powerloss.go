// Package powerloss is a file system that forgets: it loses what was written but not synced
// when its power is cut. TEST ONLY; never part of the service.
//
// A process that is killed loses nothing that it has written, because the kernel keeps it; only
// the loss of power shows a missing fsync. A [Disk] keeps for every file what was synced apart
// from what was only written, and for every directory the entries at its last fsync apart from
// what was created, renamed and removed since: the least that POSIX promises, and less than most
// file systems keep. It is a FUSE file system and needs Linux, /dev/fuse, and root or fusermount3.
//
// The process that mounts a Disk must not use it itself: SQLite maps its -shm file into memory,
// and a page fault in the serving process waits for ever. Let another process write, and open
// what [Disk.Cut] left in the backing directory.
package powerloss

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Config of a Disk.
type Config struct {
	// Dir is the backing directory, and holds only what is durable: it is read by Mount and
	// written by Cut and Close. Required.
	Dir string
	// At is the empty directory where the disk is mounted. Required.
	At string
	// Survive is the share of unsynced pages, and the chance of each unsynced change of a
	// directory, that outlive a cut all the same; one page of each file is torn. 0 keeps nothing.
	Survive float64
	// Seed of the dice for Survive.
	Seed uint64
	// Syncing, if set, is asked before a file with that base name is synced. False makes the
	// disk lie: it answers, and keeps nothing. It may take its time.
	Syncing func(name string) bool
}

// ErrUnavailable: this machine cannot mount a Disk, for the reason in the text.
var ErrUnavailable = errors.New("powerloss: no FUSE here")

// A Disk is mounted until Close.
type Disk struct {
	c      Config
	server *fuse.Server

	mu    sync.Mutex // guards all below
	root  *node
	nodes map[uint64]*node
	names map[uint64]string // base names, for Syncing
	next  uint64
	off   bool // the power is cut
	syncs int
}

// Mount reads the backing directory and mounts the disk.
func Mount(c Config) (*Disk, error) {
	if c.Dir == "" || c.At == "" {
		return nil, errors.New("powerloss: Config.Dir and At are required")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return nil, fmt.Errorf("%w: /dev/fuse is missing", ErrUnavailable)
	}
	if os.Getuid() != 0 {
		_, err3 := exec.LookPath("fusermount3")
		if _, err := exec.LookPath("fusermount"); err != nil && err3 != nil {
			return nil, fmt.Errorf("%w: root or fusermount3 (package fuse3) is needed to mount", ErrUnavailable)
		}
	}
	d := &Disk{c: c, nodes: map[uint64]*node{}, names: map[uint64]string{}, next: fuse.FUSE_ROOT_ID}
	var err error
	if d.root, err = d.load(c.Dir); err != nil {
		return nil, fmt.Errorf("powerloss: %w", err)
	}
	d.server, err = fuse.NewServer(&calls{RawFileSystem: fuse.NewDefaultRawFileSystem(), d: d}, c.At, &fuse.MountOptions{
		FsName: "powerloss", Name: "powerloss", DirectMount: true, DisableXAttrs: true, DisableReadDirPlus: true, MaxWrite: 1 << 20,
		// What is in the kernel's cache is what the disk has: nobody else changes it.
		ExplicitDataCacheControl: true,
	})
	if err != nil {
		return nil, fmt.Errorf("powerloss: mount %s: %w", c.At, err)
	}
	go d.server.Serve()
	if err := d.server.WaitMount(); err != nil {
		return nil, fmt.Errorf("powerloss: mount %s: %w", c.At, err)
	}
	return d, nil
}

// Syncs is how many files were synced so far, those about which the disk lied included.
func (d *Disk) Syncs() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.syncs
}

// Cut takes the power away at this instant: every call from now on fails with EIO, and the
// backing directory holds what was durable. The disk stays mounted until Close.
func (d *Disk) Cut() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return nil
	}
	d.off = true
	d.root.cutAll(d.c.Survive, rand.New(rand.NewPCG(d.c.Seed, 2)))
	return d.save()
}

// Close unmounts. Without a Cut before, everything is synced first, as a machine that is shut
// down does. Programs that use the disk must have ended.
func (d *Disk) Close() error {
	err := d.server.Unmount()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return err
	}
	d.off = true
	d.root.syncAll()
	return errors.Join(err, d.save())
}

// add gives n an id and a name.
func (d *Disk) add(n *node, name string) *node {
	n.id, d.nodes[d.next], d.names[d.next] = d.next, n, name
	d.next++
	return n
}

// load reads a directory of the machine as durable.
func (d *Disk) load(path string) (*node, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	n := d.add(&node{mode: uint32(info.Mode().Perm())}, info.Name())
	if !info.IsDir() {
		data, err := os.ReadFile(path)
		n.file = &file{data: data, kept: append([]byte(nil), data...), dirty: map[int64]struct{}{}}
		return n, err
	}
	n.dir = newDir()
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		child, err := d.load(filepath.Join(path, e.Name()))
		if err != nil {
			return nil, err
		}
		n.dir.entries[e.Name()] = child
	}
	n.dir.sync()
	return n, nil
}

// save writes the durable state into the backing directory.
func (d *Disk) save() error {
	old, err := os.ReadDir(d.c.Dir)
	if err != nil {
		return fmt.Errorf("powerloss: %w", err)
	}
	for _, e := range old {
		if err := os.RemoveAll(filepath.Join(d.c.Dir, e.Name())); err != nil {
			return fmt.Errorf("powerloss: %w", err)
		}
	}
	return d.root.walk(d.c.Dir, func(path string, n *node) error {
		switch {
		case n == d.root:
			return nil
		case n.dir != nil:
			return os.Mkdir(path, os.FileMode(n.mode)|0o700)
		}
		return os.WriteFile(path, n.file.kept, os.FileMode(n.mode))
	})
}
