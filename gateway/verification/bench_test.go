package verification_test

import (
	"context"
	"testing"

	"egov-gateway/gateway"
)

func BenchmarkDecisionAgain(b *testing.B) {
	s := newStage(b, nil)
	c, w := s.certificate("citizen-01"), s.want("citizen-01")
	b.ReportAllocs()
	for b.Loop() {
		if out := s.verifier.JudgeCertificate(context.Background(), c, w); out.Verdict.Status != gateway.Verified {
			b.Fatal(out.Verdict.Reason)
		}
	}
}
