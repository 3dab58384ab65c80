package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Whoever mistypes a setting reads in which line it stands, what is wrong and how it is written.
func TestFaultsNameTheirLine(t *testing.T) {
	if testing.Short() {
		t.Skip("one thing after the other; the run without -short has it")
	}
	l := harmless(t)
	whole, err := os.ReadFile(l.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.dir, "short"), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.dir, "pair.crt"), l.pki.Must("system-state").CertificatePEM, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.dir, "pair.key"), l.pki.Must("system-portal").KeyPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, pattern, instead string
		says                   string // after the line
	}{
		{"a balancer without its mask", `(?m)^balancers: .*$`, "balancers: [10.0.0.5]",
			"10.0.0.5 is no network like 10.0.0.0/24; write a single address as 10.0.0.5/32"},
		{"everybody is a balancer", `(?m)^balancers: .*$`, "balancers: [0.0.0.0/0]", "0.0.0.0/0 is no network"},
		{"a portal that calls from everywhere", `(?m)^  addresses: .*$`, `  addresses: ["::/0"]`, "::/0 is no network"},
		{"one network in the place of a list", `(?m)^balancers: .*$`, "balancers: 10.0.0.0/24", "a list of networks is expected"},
		{"a duration in words", `(?m)^  overlap: .*$`, "  overlap: soon", `"soon" is no duration like 90s`},
		{"a duration below zero", `(?m)^  overlap: .*$`, "  overlap: -1h", `"-1h" is no duration like 90s, 10m or 24h, of zero or more`},
		{"a level that is none", `(?m)^log: .*$`, "log: loud", `log: "loud" is not debug`},
		{"a file that is away", `(?m)^key: .*$`, "key: away.pem", "key: open "},
		{"a token that is too short", `(?m)^( *)token_file: portal.token$`, "${1}token_file: short",
			"portals[0].token_file: short holds fewer than 16 characters"},
		{"a header that nobody sends", `(?m)^proxy_protocol: .*$`, "proxy_protocol: true",
			"proxy_protocol: balancers must name who sends its header"},
		{"half a key pair", `(?m)^tls: .*$`, "tls: {certificate: pair.crt, key: pair.key}",
			"tls.key: pair.key and the certificate pair.crt make no pair"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changed := regexp.MustCompile(tt.pattern).ReplaceAll(whole, []byte(tt.instead))
			if bytes.Equal(changed, whole) {
				t.Fatalf("nothing in the configuration is like %s:\n%s", tt.pattern, whole)
			}
			line := 1
			for i, was := range bytes.Split(whole, []byte("\n")) {
				if !bytes.Equal(was, bytes.Split(changed, []byte("\n"))[i]) {
					line = i + 1
					break
				}
			}
			file := filepath.Join(l.dir, "changed.yaml")
			if err := os.WriteFile(file, changed, 0o600); err != nil {
				t.Fatal(err)
			}
			err := (&configCheckCmd{File: file}).Run(streams{out: new(bytes.Buffer), err: new(bytes.Buffer)})
			if err == nil {
				t.Fatal("nobody refuses it")
			}
			at := regexp.MustCompile(fmt.Sprintf(`(?m)(^changed\.yaml:%d: |\[%d:\d+\] )%s`, line, line, regexp.QuoteMeta(tt.says)))
			if !at.MatchString(err.Error()) {
				t.Errorf("line %d and %q are not in: %v", line, tt.says, err)
			}
			if strings.Contains(tt.name, "away") && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the cause is lost: %v", err)
			}
		})
	}
}
