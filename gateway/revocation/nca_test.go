package revocation_test

import (
	"cmp"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/revocation"
	"egov-gateway/gateway/trust"
)

func ncaFile(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(cmp.Or(os.Getenv("NCA"), "../../../shared/nca"), name))
	if err != nil {
		t.Skip("no folder of the NCA's real material; set NCA to it")
	}
	if b, _ := pem.Decode(raw); b != nil {
		return b.Bytes
	}
	return raw
}

func TestRealListsOfTheNCA(t *testing.T) {
	gost, err := revocation.ParseCRL(ncaFile(t, "crl/nca_gost2022_test.go.crl"))
	if err != nil {
		t.Fatal(err)
	}
	if gost.Len() != 195 || gost.Delta() || gost.NumberHex() != "0xa6" {
		t.Errorf("%d entries, number %s", gost.Len(), gost.NumberHex())
	}
	if err := gost.SignedBy(certificate(t, ncaFile(t, "ca-test/nca_gost2022_test.cer"))); err != nil {
		t.Error(err)
	}
	wantReason(t, gost.SignedBy(certificate(t, ncaFile(t, "ca-test/root_test_gost_2022.cer"))), gateway.EvidenceUntrusted)
	rsa, err := revocation.ParseCRL(ncaFile(t, "crl/nca_rsa_test.crl"))
	if err != nil {
		t.Fatal(err)
	}
	if err := rsa.SignedBy(certificate(t, ncaFile(t, "ca-test/ncanode_nca_2004_rsa_cert.cer"))); err != nil {
		t.Error(err)
	}
	if rsa.Len() < 50 {
		t.Errorf("%d entries", rsa.Len())
	}
}

func TestARealPersonOfTheRSATestCAAgainstItsRealList(t *testing.T) {
	path := &trust.Path{Certificates: []*trust.Certificate{
		certificate(t, ncaFile(t, "ca-test/ncanode_cert_individual.cer")), certificate(t, ncaFile(t, "ca-test/ncanode_nca_2004_rsa_cert.cer"))}}
	list := ncaFile(t, "crl/nca_rsa_test.crl")
	for at, want := range map[time.Time]gateway.Reason{
		time.Date(2022, 6, 1, 0, 0, 0, 0, time.UTC):  "",
		time.Date(2022, 10, 1, 0, 0, 0, 0, time.UTC): gateway.EvidenceStale,
		time.Date(2022, 3, 1, 0, 0, 0, 0, time.UTC):  "", // a later list judges the past
	} {
		_, err := revocation.Offline(path, at, [][]byte{list}, nil, revocation.OfflineOptions{})
		wantReason(t, err, want)
	}
}

func TestRealAnswersOfTheNCA(t *testing.T) {
	for _, name := range []string{"ocsp/ocsp_response_ceo_2015_revoked.bin", "ocsp/ocsp_response_individual_sign_2004.bin"} {
		a, err := revocation.ParseOCSP(ncaFile(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(a.Statements) != 1 || !a.Statements[0].NextUpdate.IsZero() || !a.ExtendedRevoke {
			t.Errorf("%s: %+v", name, a.Statements)
		}
	}
	a, err := revocation.ParseOCSP(ncaFile(t, "ocsp/ocsp_response_ceo_2015_revoked.bin"))
	if err == nil && a.Statements[0].Status != revocation.StatusRevoked {
		t.Error("the revoked one is not revoked")
	}
}

// R4c: the signatures of real answers, and of the responders that the CA certified for them.
func TestRealAnswersOfTheNCAVerify(t *testing.T) {
	const revoked, good2004 = "ocsp/ocsp_response_ceo_2015_revoked.bin", "ocsp/ocsp_response_individual_sign_2004.bin"
	tests := []struct {
		name, answer, issuer, serial string
		at                           time.Time
		want                         gateway.Reason
	}{
		{"GOST-2015, revoked", revoked, "ca-test/nca_gost2022_test.cer", "3a90343e720594c55204b19cb9a402422ef0e622",
			time.Date(2022, 9, 2, 17, 0, 0, 0, time.UTC), gateway.Suspended},
		{"GOST-2015, about another certificate", revoked, "ca-test/nca_gost2022_test.cer", "3a90343e720594c55204b19cb9a402422ef0e623",
			time.Date(2022, 9, 2, 17, 0, 0, 0, time.UTC), gateway.EvidenceUntrusted},
		{"GOST-2015, below another CA", revoked, "ca-test/root_test_gost_2022.cer", "3a90343e720594c55204b19cb9a402422ef0e622",
			time.Date(2022, 9, 2, 17, 0, 0, 0, time.UTC), gateway.EvidenceUntrusted},
		// Its name says GOST-2004, and so does the person's key; the CA and its responder are RSA.
		{"RSA, good", good2004, "ca-test/ncanode_nca_2004_rsa_cert.cer", "4279390a141f5353a62947b61ed65e81741467d1",
			time.Date(2022, 9, 2, 16, 55, 0, 0, time.UTC), ""},
		{"RSA, a day later", good2004, "ca-test/ncanode_nca_2004_rsa_cert.cer", "4279390a141f5353a62947b61ed65e81741467d1",
			time.Date(2022, 9, 3, 16, 55, 0, 0, time.UTC), gateway.EvidenceStale},
		{"RSA, below the GOST-2004 CA", good2004, "ca-test/ncanode_nca_2004_gost_cert.cer", "4279390a141f5353a62947b61ed65e81741467d1",
			time.Date(2022, 9, 2, 16, 55, 0, 0, time.UTC), gateway.EvidenceUntrusted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			serial, err := hex.DecodeString(tt.serial)
			if err != nil {
				t.Fatal(err)
			}
			leaf := &trust.Certificate{Serial: serial}
			path := &trust.Path{Certificates: []*trust.Certificate{leaf, certificate(t, ncaFile(t, tt.issuer))}}
			_, err = revocation.Offline(path, tt.at, nil, [][]byte{ncaFile(t, tt.answer)}, revocation.OfflineOptions{})
			wantReason(t, err, tt.want)
		})
	}
}
