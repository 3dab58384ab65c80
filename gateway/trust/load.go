package trust

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// LoadFiles reads certificates from files and folders. A file holds one DER certificate or any
// number of PEM ones; of a folder, the files *.pem, *.crt, *.cer and *.der directly in it are
// read, in the order of their names, except keys (*.key.pem). A file that holds anything else
// is an error that names it: a forgotten anchor must not go unnoticed.
func LoadFiles(paths ...string) ([]*Certificate, error) {
	var out []*Certificate
	for _, p := range paths {
		files, err := certificateFiles(p)
		if err != nil {
			return nil, fmt.Errorf("trust: %w", err)
		}
		for _, f := range files {
			raw, err := os.ReadFile(f)
			if err != nil {
				return nil, fmt.Errorf("trust: %w", err)
			}
			list, err := Decode(raw)
			if err != nil {
				return nil, fmt.Errorf("trust: %s: %w", f, err)
			}
			out = append(out, list...)
		}
	}
	return out, nil
}

func certificateFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		name := strings.ToLower(e.Name())
		switch filepath.Ext(name) {
		case ".pem", ".crt", ".cer", ".der":
			if !e.IsDir() && !strings.HasSuffix(name, ".key.pem") {
				files = append(files, filepath.Join(path, e.Name()))
			}
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no certificates in %s", path)
	}
	return files, nil
}

// Decode reads one DER certificate, or any number of PEM ones and nothing else.
func Decode(raw []byte) ([]*Certificate, error) {
	if !bytes.Contains(raw, []byte("-----BEGIN ")) {
		c, err := ParseCertificate(raw)
		return []*Certificate{c}, err
	}
	var out []*Certificate
	for {
		var b *pem.Block
		if b, raw = pem.Decode(raw); b == nil {
			break
		}
		if b.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("a PEM block %q where a certificate is expected", b.Type)
		}
		c, err := ParseCertificate(b.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no PEM certificate")
	}
	return out, nil
}
