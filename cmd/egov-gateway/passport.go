package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"egov-gateway/gateway/passport"
	"egov-gateway/schemas"
)

type passportCmd struct {
	Check passportCheckCmd `cmd:"" help:"Check service passports: every fault with line and column. Exit 1 if there is one."`
}

type passportCheckCmd struct {
	Schemas string   `type:"path" placeholder:"DIR" help:"Folder with the form schemas and calendar.yaml; default: those inside this program."`
	JSON    bool     `name:"json" help:"Faults as JSON, one per line."`
	Files   []string `arg:"" type:"path" name:"file" help:"Passports (YAML)."`
}

// Run reads every file and writes what is wrong with it.
func (c *passportCheckCmd) Run(out streams) error {
	fsys, err := schemasFrom(c.Schemas)
	if err != nil {
		return err
	}
	bad := false
	for _, file := range c.Files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		p, faults, err := passport.ParseFile(fsys, file, data)
		if err != nil {
			return err
		}
		for _, f := range faults {
			bad = true
			if c.JSON {
				if err := json.NewEncoder(out.out).Encode(f); err != nil {
					return err
				}
				continue
			}
			fmt.Fprintln(out.out, f)
		}
		if p != nil && !c.JSON {
			fmt.Fprintf(out.out, "%s: ok: %s, version %s, %d steps, %d providers\n", filepath.Base(file), p.ID, p.Version, len(p.Steps), len(p.Providers))
		}
	}
	if bad {
		return exitError(exitFailed)
	}
	return nil
}

// overlay looks into a folder first and then into what is embedded, file by file; passports
// come from one of the two alone, so that a removed one is gone.
type overlay struct{ upper, lower fs.FS }

// schemasFrom returns the embedded contracts, with those in dir in their place.
func schemasFrom(dir string) (fs.FS, error) {
	if dir == "" {
		return schemas.FS, nil
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("schemas: %s is not a folder", dir)
	}
	return overlay{os.DirFS(dir), schemas.FS}, nil
}

// Open implements fs.FS.
func (o overlay) Open(name string) (fs.File, error) {
	f, err := o.upper.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return o.lower.Open(name)
	}
	return f, err
}

// ReadDir implements fs.ReadDirFS: a folder in dir hides the embedded one.
func (o overlay) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(o.upper, name)
	if errors.Is(err, fs.ErrNotExist) {
		return fs.ReadDir(o.lower, name)
	}
	return entries, err
}
