package verification_test

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/verification"
	"egov-gateway/gateway/xmlsig"
)

// ncaPath finds real material of the National Certification Authority, which is not part of
// the repository: in the folder that the variable NCA names, or shared/nca beside it.
func ncaPath(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(cmp.Or(os.Getenv("NCA"), "../../../shared/nca"), name)
	if _, err := os.Stat(path); err != nil {
		t.Skip("no folder of the NCA's real material; set NCA to it")
	}
	return path
}

func ncaCertificate(t testing.TB, name string) *trust.Certificate {
	t.Helper()
	list, err := trust.LoadFiles(ncaPath(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return list[0]
}

// R3, R4: real documents from their bytes to the verdict, without revocation, which nobody can
// prove any more.
func TestRealDocumentsAreJudged(t *testing.T) {
	const gostRoot, gostCA, rsaCA = "ca-test/root_test_gost_2022.cer", "ca-test/nca_gost2022_test.cer", "ca-test/ncanode_nca_2004_rsa_cert.cer"
	verified := map[gateway.CheckName]gateway.Reason{}
	tests := []struct {
		name, file, anchor, between string
		purpose                     trust.Purpose
		at                          time.Time
		failed                      map[gateway.CheckName]gateway.Reason // the others are verified
		bin                         string
	}{
		{"a legal entity, GOST-2015", "xml/mitwork_0.xml", gostRoot, gostCA, trust.PurposeSignLegal,
			time.Date(2025, 1, 15, 0, 0, 0, 0, time.UTC), verified, "123456789021"},
		{"the same after its end", "xml/mitwork_0.xml", gostRoot, gostCA, trust.PurposeSignLegal,
			time.Date(2025, 11, 15, 0, 0, 0, 0, time.UTC), map[gateway.CheckName]gateway.Reason{gateway.CheckValidity: gateway.CertificateExpired}, "123456789021"},
		{"the same as if a person had signed", "xml/mitwork_0.xml", gostRoot, gostCA, trust.PurposeSignPerson,
			time.Date(2025, 1, 15, 0, 0, 0, 0, time.UTC), map[gateway.CheckName]gateway.Reason{gateway.CheckPurpose: gateway.ExtendedKeyUsage}, "123456789021"},
		{"a person, RSA", "xml/ncanode_xml_signed_valid_string.xml", rsaCA, rsaCA, trust.PurposeSignPerson,
			time.Date(2021, 6, 1, 0, 0, 0, 0, time.UTC), verified, ""},
		{"a test certificate that signed itself", "xml/ncalayer-rs_simple.xml", gostRoot, gostCA, trust.PurposeAny,
			time.Date(2026, 10, 2, 0, 0, 0, 0, time.UTC), map[gateway.CheckName]gateway.Reason{gateway.CheckPath: gateway.NotAnchored}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store, err := trust.New(trust.Config{
				Anchors:       []trust.Anchor{{Certificate: ncaCertificate(t, tt.anchor), Test: true}},
				Intermediates: []*trust.Certificate{ncaCertificate(t, tt.between)},
			})
			if err != nil {
				t.Fatal(err)
			}
			v, err := verification.New(verification.Config{Trust: store})
			if err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(ncaPath(t, tt.file))
			if err != nil {
				t.Fatal(err)
			}
			doc, err := v.Open(raw, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			out := v.Judge(context.Background(), doc, verification.Want{At: tt.at, Purpose: tt.purpose})
			for _, c := range out.Verdict.Checks {
				if c.Reason != tt.failed[c.Name] {
					t.Errorf("%s: %q (%s), want %q", c.Name, c.Reason, c.Detail, tt.failed[c.Name])
				}
			}
			if got := out.Holder.BIN.String(); got != tt.bin {
				t.Errorf("BIN %s, want %s", got, tt.bin)
			}
			if tt.bin != "" && out.Holder.IIN.Reveal() != "123456789011" {
				t.Errorf("IIN %s", out.Holder.IIN)
			}
		})
	}
}

// A message of the SHEP, signed with GOST-2004: opened only where the past is allowed.
func TestARealMessageOfTheSHEP(t *testing.T) {
	store, err := trust.New(trust.Config{Anchors: []trust.Anchor{{Certificate: ncaCertificate(t, "ca-test/root_test_gost_2022.cer")}}})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(ncaPath(t, "xml/nitec_sample_request.xml"))
	if err != nil {
		t.Fatal(err)
	}
	for allowed, want := range map[bool]gateway.Reason{true: "", false: gateway.SignatureAlgorithm} {
		v, err := verification.New(verification.Config{Trust: store, AllowGOST2004: allowed})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.OpenAs(raw, 1<<20, xmlsig.ProfileWSSE); gateway.ReasonOf(err) != want {
			t.Errorf("allowed %v: %v, want %q", allowed, err, want)
		}
	}
}
