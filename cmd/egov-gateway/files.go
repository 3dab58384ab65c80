package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
)

// Kinds of what a setting names by file, as the tag "file" of its field says.
const (
	secretFile = "secret" // a token, a password
	keyFile    = "key"    // a private key
	publicFile = "public" // a certificate, a public key
	folderFile = "folder" // contracts
)

// A namedFile is a file or folder that a setting names.
type namedFile struct {
	setting string // like portals[0].token_file
	kind    string
	file    string // as the configuration has it
}

// namedFiles are all that the configuration names, in its order.
func (c *Config) namedFiles() (all []namedFile) { return filesIn(reflect.ValueOf(*c), "") }

// filesIn finds the fields with the tag "file" below v, which stands at a setting.
func filesIn(v reflect.Value, setting string) (all []namedFile) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return filesIn(v.Elem(), setting)
		}
	case reflect.Slice:
		for i := range v.Len() {
			all = append(all, filesIn(v.Index(i), fmt.Sprintf("%s[%d]", setting, i))...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if !f.IsExported() {
				continue
			}
			at := strings.TrimPrefix(setting+"."+f.Tag.Get("yaml"), ".")
			kind := f.Tag.Get("file")
			if kind == "" {
				all = append(all, filesIn(v.Field(i), at)...)
				continue
			}
			names, many := v.Field(i).Interface().([]string)
			if !many && v.Field(i).String() != "" && !strings.HasPrefix(v.Field(i).String(), credentialPrefix) {
				all = append(all, namedFile{at, kind, v.Field(i).String()})
			}
			for n, name := range names {
				all = append(all, namedFile{fmt.Sprintf("%s[%d]", at, n), kind, name})
			}
		}
	}
	return all
}

// digests are those of the files that a configuration was read with; their contents are not kept.
type digests struct {
	mu  sync.Mutex
	all map[string][sha256.Size]byte // by name; guarded by mu
}

// note keeps a digest. A file that changes while the configuration is read would be half the old one.
func (d *digests) note(file string, sum [sha256.Size]byte) error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if was, ok := d.all[file]; ok && was != sum {
		return fmt.Errorf("%s changed while the configuration was read: try again", file)
	}
	if d.all == nil {
		d.all = map[string][sha256.Size]byte{}
	}
	d.all[file] = sum
	return nil
}

// of is a file's digest in hex, "" when it was not read.
func (d *digests) of(file string) string {
	if d == nil || file == "" {
		return ""
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	sum, ok := d.all[file]
	if !ok {
		return ""
	}
	return hex.EncodeToString(sum[:])
}

// read reads a file that the configuration names.
func (c *Config) read(file string) ([]byte, error) {
	b, err := os.ReadFile(c.path(file))
	if err != nil {
		return nil, err
	}
	return b, c.seen.note(file, sha256.Sum256(b))
}

// readAll notes what every file holds that the configuration names. The error tells of all that cannot
// be read.
func (c *Config) readAll() error {
	var errs []error
	for _, f := range c.namedFiles() {
		var err error
		if f.kind == folderFile {
			err = c.readFolder(f.file)
		} else {
			_, err = c.read(f.file)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.setting, err))
		}
	}
	return errors.Join(errs...)
}

// readFolder notes what a folder holds, by names and contents.
func (c *Config) readFolder(folder string) error {
	h := sha256.New()
	root := c.path(folder)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		fmt.Fprintf(h, "%q %x\n", name, sha256.Sum256(b))
		return nil
	})
	if err != nil {
		return err
	}
	return c.seen.note(folder, [sha256.Size]byte(h.Sum(nil)))
}

// mark tells settings apart, by their text and the contents of the files they name.
func (c *Config) mark(settings any) string {
	h := sha256.New()
	raw, err := yaml.Marshal(settings)
	if err != nil {
		panic(err) // part of a configuration that was read from YAML
	}
	h.Write(raw) //nolint:errcheck // never fails
	for _, f := range filesIn(reflect.ValueOf(settings), "") {
		fmt.Fprintf(h, "\n%s %s", f.setting, c.seen.of(f.file))
	}
	return hex.EncodeToString(h.Sum(nil))
}
