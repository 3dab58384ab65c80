package gost_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"egov-gateway/gateway/xmlsig/gost"
)

// cpu runs openssl and returns the processor time that it took.
func cpu(b *testing.B, arg ...string) time.Duration {
	b.Helper()
	cmd := exec.Command("openssl", arg...)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("openssl %v: %v\n%s", arg, err, out)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

func least(d []time.Duration) time.Duration { return slices.Min(d) }

// own is the processor time that this process took so far. Wall time would count what the
// machine does for others.
func own(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAgainstOpenSSL compares processor times with the gost engine in the same run: the
// least of five turns each, OpenSSL's without its start. times-openssl is how many times faster
// this package is.
func BenchmarkAgainstOpenSSL(b *testing.B) {
	engine(b)
	b.Run("Streebog-512", func(b *testing.B) {
		const size = 64 << 20
		dir := b.TempDir()
		large, empty := writeFile(b, dir, "large", make([]byte, size)), writeFile(b, dir, "empty", nil)
		var theirs, start, ours []time.Duration
		for b.Loop() {
			for range 5 {
				theirs = append(theirs, cpu(b, "dgst", "-engine", "gost", "-md_gost12_512", large))
				start = append(start, cpu(b, "dgst", "-engine", "gost", "-md_gost12_512", empty))
				f, err := os.Open(large)
				if err != nil {
					b.Fatal(err)
				}
				begin := own(b)
				if _, err := io.Copy(gost.NewStreebog512(), f); err != nil {
					b.Fatal(err)
				}
				ours = append(ours, own(b)-begin)
				f.Close()
			}
		}
		them, us := (least(theirs) - least(start)).Seconds(), least(ours).Seconds()
		b.ReportMetric(size/1e6/us, "MB/s")
		b.ReportMetric(size/1e6/them, "openssl-MB/s")
		b.ReportMetric(them/us, "times-openssl")
		b.ReportMetric(0, "ns/op")
	})
	// OpenSSL's speed command does not know the engine's signatures, so "openssl verify" checks
	// a thousand certificates in one process. What that costs beside the signature is measured with
	// RSA certificates of the same contents, whose signature check (some 20 µs) is counted in
	// OpenSSL's favour.
	b.Run("verify 512 bits", func(b *testing.B) {
		const certificates = 1000
		dir := b.TempDir()
		command := func(kind string, newkey ...string) []string {
			at := func(name string) string { return filepath.Join(dir, kind+"-"+name) }
			root := append([]string{"req", "-x509", "-engine", "gost", "-nodes", "-newkey"}, newkey...)
			openssl(b, append(root, "-subj", "/CN=TEST ONLY root", "-days", "30", "-keyout", at("ca.key"), "-out", at("ca.pem"))...)
			leaf := append([]string{"req", "-engine", "gost", "-nodes", "-newkey"}, newkey...)
			openssl(b, append(leaf, "-subj", "/CN=TEST ONLY", "-keyout", at("leaf.key"), "-out", at("leaf.csr"))...)
			openssl(b, "x509", "-engine", "gost", "-req", "-in", at("leaf.csr"), "-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial", "-days", "30", "-out", at("leaf.pem"))
			return append([]string{"verify", "-engine", "gost", "-CAfile", at("ca.pem")}, slices.Repeat([]string{at("leaf.pem")}, certificates)...)
		}
		withGOST := command("gost", "gost2012_512", "-pkeyopt", "paramset:A")
		withRSA := command("rsa", "rsa:2048")
		k, digest, sig := signed(b, gost.Curve512A())
		known, err := gost.ParsePublicKey(gost.Curve512A(), public(k).Bytes())
		if err != nil {
			b.Fatal(err)
		}
		known.Precompute()
		timed := func(p *gost.PublicKey) time.Duration {
			begin := own(b)
			for range certificates {
				if !p.Verify(digest, sig) {
					b.Fatal("does not verify")
				}
			}
			return own(b) - begin
		}
		var theirs, beside, cold, warm []time.Duration
		for b.Loop() {
			for range 5 {
				theirs = append(theirs, cpu(b, withGOST...))
				beside = append(beside, cpu(b, withRSA...))
				cold = append(cold, timed(public(k)))
				warm = append(warm, timed(known))
			}
		}
		them := (least(theirs) - least(beside)).Seconds()
		b.ReportMetric(them/certificates*1e6, "openssl-µs")
		b.ReportMetric(least(cold).Seconds()/certificates*1e6, "cold-µs")
		b.ReportMetric(least(warm).Seconds()/certificates*1e6, "known-µs")
		b.ReportMetric(them/least(cold).Seconds(), "cold-times-openssl")
		b.ReportMetric(them/least(warm).Seconds(), "known-times-openssl")
		b.ReportMetric(0, "ns/op")
	})
}
