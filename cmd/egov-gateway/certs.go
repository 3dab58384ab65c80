package main

import (
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"

	testpki "egov-gateway/certs-testdata"
)

type certsCmd struct {
	Check    certsCheckCmd    `cmd:"" help:"Check a test PKI against its manifest."`
	Generate certsGenerateCmd `cmd:"" help:"Make a fresh test PKI of the same shape."`
}

type certsCheckCmd struct {
	Dir string `type:"path" help:"Folder with manifest.json; default: the one inside this program."`
}

// Run says ok, or what is wrong first.
func (c *certsCheckCmd) Run(out streams) error {
	fmt.Fprintln(out.out, "TEST ONLY: the private keys of the test PKI are public.")
	var fsys fs.FS = testpki.FS
	if c.Dir != "" {
		fsys = os.DirFS(c.Dir)
	}
	if err := testpki.Check(fsys); err != nil {
		return err
	}
	fmt.Fprintln(out.out, "ok")
	return nil
}

type certsGenerateCmd struct {
	Dir string `arg:"" type:"path" help:"Folder to write to."`
}

// Run writes manifest, certificates and keys.
func (c *certsGenerateCmd) Run(out streams) error {
	fmt.Fprintln(out.out, "TEST ONLY: never trust these anchors outside tests.")
	return testpki.Generate(c.Dir)
}

// pemOrDER returns the DER of the first PEM block, or b itself.
func pemOrDER(b []byte) []byte {
	if block, _ := pem.Decode(b); block != nil {
		return block.Bytes
	}
	return b
}
