package redisjournal

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// An archive holds the bodies of finished requests on storage that all gateways of the journal
// share: one file a body, written once, so that erasing one is deleting its file and nothing is
// ever rewritten. A file is on disk and read back before Redis lets go of the body; Redis names
// it, and what Redis does not name does not count.
type archive struct {
	root  *os.Root
	named sync.Map // directories whose names this process has synced
}

func openArchive(dir string) (*archive, error) {
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("journal: the archive %s cannot be made: %w", dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("journal: the archive %s cannot be opened: %w", dir, err)
	}
	a := &archive{root: root}
	probe := "probe-" + rand.Text()
	if err := errors.Join(a.root.WriteFile(probe, nil, 0o600), a.root.Remove(probe)); err != nil {
		return nil, errors.Join(fmt.Errorf("journal: the archive %s is not writable: %w", dir, err), root.Close())
	}
	return a, nil
}

// newName is a file for a body of an item. It says nothing about the body.
func newName(id gateway.RequestID) string {
	return path.Join(string(id[:2]), string(id)+"-"+strings.ToLower(rand.Text()))
}

// write puts a body on disk under a name of its own, and reads it back.
func (a *archive) write(name string, data []byte) error {
	dir := path.Dir(name)
	if err := a.root.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Another gateway, or one that was killed, may have made it and not synced its name.
	if _, synced := a.named.Load(dir); !synced {
		if err := a.sync("."); err != nil {
			return err
		}
		a.named.Store(dir, true)
	}
	f, err := a.root.OpenFile(name+".tmp", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := a.root.Rename(name+".tmp", name); err != nil {
		return err
	}
	if err := a.sync(dir); err != nil {
		return err
	}
	back, err := a.root.ReadFile(name)
	if err == nil && sha256.Sum256(back) != sha256.Sum256(data) {
		err = errors.New("what was read back is not what was written")
	}
	return err
}

func (a *archive) sync(dir string) error {
	d, err := a.root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// remove deletes a file for good; one that is not there is deleted.
func (a *archive) remove(name string) error {
	if err := a.root.Remove(name); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return a.sync(path.Dir(name))
}

func (s *Store) readArchived(name string) ([]byte, error) {
	if s.archive == nil {
		return nil, errors.New("it lies in the archive, and none is configured")
	}
	return s.archive.root.ReadFile(name)
}

// Bounds of a sweep.
const (
	sweepEvery  = time.Minute
	sweepBatch  = 100
	stagedFor   = time.Hour      // longer than any archiving of one item takes
	orphanAfter = 24 * time.Hour // since a file was written
	orphanEvery = 24 * time.Hour
)

// Sweep archives the bodies of requests that were finished Config.ArchiveAfter ago, and deletes
// the files of what was erased, removed or left over. It returns how many requests it archived.
// The gateways of a journal take turns; the watch calls it every minute.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	return s.sweep(ctx)
}

func (s *Store) sweep(ctx context.Context) (archived int, err error) {
	if s.archive == nil {
		return 0, nil
	}
	if err := s.guard.writable(); err != nil {
		return 0, err
	}
	// The turn saves work only: what two gateways archive at once is decided by the item's version.
	_, err = s.redis.SetArgs(ctx, s.key(keySweep), 1, redis.SetArgs{Mode: "NX", TTL: 10 * sweepEvery}).Result()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	if err != nil {
		return 0, unavailable("sweep", err)
	}
	defer s.redis.Del(ctx, s.key(keySweep))
	now, err := s.now(ctx)
	if err != nil {
		return 0, err
	}
	before := micro(now.Add(-s.cfg.ArchiveAfter))
	for {
		members, err := s.redis.ZRangeByScore(ctx, s.key(keyFinish), &redis.ZRangeBy{Min: "-inf", Max: before, Count: sweepBatch}).Result()
		if err != nil {
			return archived, unavailable("sweep", err)
		}
		moved := 0
		for _, m := range members {
			done, err := s.archiveItem(ctx, m, now)
			if err != nil {
				return archived, fmt.Errorf("archive request %s: %w", memberID(m), err)
			}
			if done {
				moved++
			}
		}
		archived += moved
		if moved == 0 {
			break
		}
	}
	if err := s.dropStaged(ctx, now); err != nil {
		return archived, err
	}
	return archived, s.emptyTrash(ctx)
}

// archiveItem moves an item's bodies into the archive, unless it is worked on or will be soon;
// then it says false.
func (s *Store) archiveItem(ctx context.Context, member string, now time.Time) (bool, error) {
	id := memberID(member)
	var item, bodies *redis.MapStringStringCmd
	_, err := s.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		item, bodies = p.HGetAll(ctx, s.key(keyItem, string(id))), p.HGetAll(ctx, s.key(keyBodies, string(id)))
		return nil
	})
	if err != nil {
		return false, unavailable("sweep", err)
	}
	h := item.Val()
	wake, err := fromMicro(h["wake"])
	if err != nil {
		return false, err
	}
	switch {
	case len(h) == 0:
		return false, s.redis.ZRem(ctx, s.key(keyFinish), member).Err()
	case h["token"] != "":
		return false, s.later(ctx, member, now, now)
	case !wake.IsZero() && wake.Before(now.Add(s.cfg.ArchiveAfter)):
		return false, s.later(ctx, member, wake, now)
	}
	args := []any{string(id), h["version"]}
	var staged []redis.Z
	files := map[string][]byte{}
	for name, data := range bodies.Val() {
		n, err := parseNote(h["b:"+name])
		if err == nil && sha256.Sum256([]byte(data)) != n.SHA256 {
			err = errors.New("its SHA-256 is another")
		}
		if err != nil {
			s.cfg.Log.Error("a damaged body is not archived; journal verify names it", "request", string(id), "body", name, "error", err)
			return false, s.later(ctx, member, now, now)
		}
		file := newName(id)
		files[file] = []byte(data)
		staged = append(staged, redis.Z{Score: float64(now.UnixMicro()), Member: file})
		args = append(args, name, n.String(), file)
	}
	if len(staged) > 0 {
		if err := s.redis.ZAdd(ctx, s.key(keyStaged), staged...).Err(); err != nil {
			return false, unavailable("sweep", err)
		}
	}
	for file, data := range files {
		if err := s.archive.write(file, data); err != nil {
			return false, err
		}
	}
	answer, err := s.redis.run(ctx, s.lua.archived, []string{s.key(keyItem, string(id)), s.key(keyBodies, string(id)), s.key(keyStaged), s.key(keyFinish)}, args...)
	if err != nil {
		return false, err
	}
	if text(answer, 0) == "kept" {
		return true, nil
	}
	var names []string
	for file := range files {
		names = append(names, file)
	}
	return false, s.giveUp(ctx, names)
}

// later looks at a finished item again when it can be archived.
func (s *Store) later(ctx context.Context, member string, t, now time.Time) error {
	if t.Before(now) {
		t = now
	}
	return s.redis.ZAddXX(ctx, s.key(keyFinish), redis.Z{Score: float64(t.UnixMicro()), Member: member}).Err()
}

// giveUp moves files that no note names from the staged ones to the trash, in one step: then no
// note can come to name them.
func (s *Store) giveUp(ctx context.Context, files []string) error {
	if len(files) == 0 {
		return nil
	}
	_, err := s.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for _, f := range files {
			p.ZRem(ctx, s.key(keyStaged), f)
			p.ZAdd(ctx, s.key(keyTrash), redis.Z{Member: f})
		}
		return nil
	})
	if err != nil {
		return unavailable("sweep", err)
	}
	return nil
}

// dropStaged gives up what a gateway that ended left between the file and the note.
func (s *Store) dropStaged(ctx context.Context, now time.Time) error {
	before := strconv.FormatInt(now.Add(-stagedFor).UnixMicro(), 10)
	files, err := s.redis.ZRangeByScore(ctx, s.key(keyStaged), &redis.ZRangeBy{Min: "-inf", Max: before}).Result()
	if err != nil {
		return unavailable("sweep", err)
	}
	return s.giveUp(ctx, files)
}

// emptyTrash deletes the files that no note names any more.
func (s *Store) emptyTrash(ctx context.Context) error {
	for {
		files, err := s.redis.ZRange(ctx, s.key(keyTrash), 0, sweepBatch-1).Result()
		if err != nil {
			return unavailable("sweep", err)
		}
		if len(files) == 0 {
			return nil
		}
		for _, f := range files {
			if err := errors.Join(s.archive.remove(f), s.archive.remove(f+".tmp")); err != nil {
				return fmt.Errorf("delete from the archive: %w", err)
			}
			if err := s.redis.ZRem(ctx, s.key(keyTrash), f).Err(); err != nil {
				return unavailable("sweep", err)
			}
		}
	}
}

// Orphans deletes files that neither a note nor the staged list names and that were written a
// day ago: a failover may forget that they were ever begun. It returns how many there were.
func (s *Store) Orphans(ctx context.Context) (n int, err error) {
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	return s.orphans(ctx)
}

func (s *Store) orphans(ctx context.Context) (n int, err error) {
	if s.archive == nil {
		return 0, nil
	}
	if err := s.guard.writable(); err != nil {
		return 0, err
	}
	err = fs.WalkDir(s.archive.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil || s.cfg.Now().Sub(info.ModTime()) < orphanAfter {
			return nil //nolint:nilerr // deleted meanwhile
		}
		id, _, _ := strings.Cut(path.Base(name), "-")
		if _, err := gateway.ParseRequestID(id); err != nil {
			return nil //nolint:nilerr // not a file of ours
		}
		named, err := s.named(ctx, gateway.RequestID(id), name)
		if err != nil || named {
			return err
		}
		n++
		return s.archive.remove(name)
	})
	return n, err
}

// named says whether Redis knows a file.
func (s *Store) named(ctx context.Context, id gateway.RequestID, file string) (bool, error) {
	// The staged list first: a file leaves it for a note.
	err := s.redis.ZScore(ctx, s.key(keyStaged), strings.TrimSuffix(file, ".tmp")).Err()
	if err == nil || !errors.Is(err, redis.Nil) {
		return err == nil, errors.Join(err)
	}
	h, err := s.redis.HGetAll(ctx, s.key(keyItem, string(id))).Result()
	if err != nil {
		return false, unavailable("sweep", err)
	}
	for field, v := range h {
		if strings.HasPrefix(field, "b:") {
			if n, err := parseNote(v); err == nil && n.file == file {
				return true, nil
			}
		}
	}
	return false, nil
}

// erase deletes what a step gave up in the archive. The notes say already that it is gone; what
// fails here, the next sweep repeats.
func (s *Store) erase(ctx context.Context, st journal.Step) {
	if s.archive == nil || len(st.Erase) == 0 && len(st.Bodies) == 0 && !st.Remove {
		return
	}
	if err := s.emptyTrash(ctx); err != nil {
		s.cfg.Log.Error("what was erased is still in the archive; the next sweep deletes it", "error", err)
	}
}
