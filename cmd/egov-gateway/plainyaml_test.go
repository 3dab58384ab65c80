package main

import (
	"os"
	"path/filepath"
	"testing"
)

// field.md 3: what is text in the configuration comes out as it stands, quoted or not.
func TestNumbersInTheConfigurationStayText(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	text := "\ufefflisten: 127.0.0.1:8443\nproviders:\n- id: 0042\n  bin: 000747000012\nportals:\n- name: 1.10\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := parseConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:8443" || c.Providers[0].ID != "0042" || c.Providers[0].BIN != "000747000012" || c.Portals[0].Name != "1.10" {
		t.Errorf("%q %+v %+v", c.Listen, c.Providers[0], c.Portals[0])
	}
}
