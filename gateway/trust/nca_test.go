package trust_test

import (
	"cmp"
	"os"
	"path/filepath"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

// ncaFolder finds the NCA's public certificates, lists and answers, which are not part of the
// repository: in the folder that the variable NCA names, or shared/nca beside it.
func ncaFolder(t testing.TB) string {
	t.Helper()
	dir := cmp.Or(os.Getenv("NCA"), "../../../shared/nca")
	if _, err := os.Stat(filepath.Join(dir, "ca-production")); err != nil {
		t.Skip("no folder of the NCA's real material; set NCA to it")
	}
	return dir
}

func ncaCertificate(t testing.TB, name string) *trust.Certificate {
	t.Helper()
	list, err := trust.LoadFiles(filepath.Join(ncaFolder(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return list[0]
}

func TestEveryRealCertificateOfTheNCAIsRead(t *testing.T) {
	kinds := map[trust.KeyKind]int{}
	for _, folder := range []string{"ca-production", "ca-test"} {
		list, err := trust.LoadFiles(filepath.Join(ncaFolder(t), folder))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			kinds[c.Key.Kind()]++
		}
	}
	for _, k := range []trust.KeyKind{trust.RSA, trust.GOST2015, trust.GOST2004} {
		if kinds[k] < 3 {
			t.Errorf("%d certificates with keys of kind %s", kinds[k], k)
		}
	}
}

func TestRealRSAChainsOfTheNCA(t *testing.T) {
	tests := []struct {
		name         string
		anchor, leaf string
		purpose      trust.Purpose
		at           string
		path, role   gateway.Reason
	}{
		{"the production issuing CA below its root", "ca-production/root_rsa_2020.cer", "ca-production/nca_rsa_2022.cer", trust.PurposeAny, "2026-01-01", "", ""},
		{"it may not sign documents", "ca-production/root_rsa_2020.cer", "ca-production/nca_rsa_2022.cer", trust.PurposeSignPerson, "2026-01-01", "", gateway.SignerIsCA},
		{"a person below the RSA test CA", "ca-test/ncanode_nca_2004_rsa_cert.cer", "ca-test/ncanode_cert_individual.cer", trust.PurposeSignPerson, "2022-06-01", "", ""},
		{"the same below the production root", "ca-production/root_rsa_2020.cer", "ca-test/ncanode_cert_individual.cer", trust.PurposeSignPerson, "2022-06-01", gateway.NoIssuer, ""},
		{"the same when the CA has expired", "ca-test/ncanode_nca_2004_rsa_cert.cer", "ca-test/ncanode_cert_individual.cer", trust.PurposeSignPerson, "2024-06-01", gateway.IssuerExpired, ""},
		{"a GOST person's path cannot be verified by this build", "ca-test/nca_gost2022_test.cer", "ca-test/mitwork_legal_test.cer", trust.PurposeSignLegal, "2025-01-15", gateway.AlgorithmForbidden, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at, err := time.Parse(time.DateOnly, tt.at)
			if err != nil {
				t.Fatal(err)
			}
			s, err := trust.New(trust.Config{Anchors: []trust.Anchor{{Certificate: ncaCertificate(t, tt.anchor), Test: true}}})
			if err != nil {
				t.Fatal(err)
			}
			j := s.Judge(ncaCertificate(t, tt.leaf), trust.JudgeOptions{At: at, Purpose: tt.purpose})
			if gateway.ReasonOf(j.PathErr) != tt.path || gateway.ReasonOf(j.PurposeErr) != tt.role {
				t.Errorf("path %v, purpose %v", j.PathErr, j.PurposeErr)
			}
		})
	}
}

func TestTheProductionRootSignedItself(t *testing.T) {
	root := ncaCertificate(t, "ca-production/root_rsa_2020.cer")
	if err := root.SignedBy(root); err != nil {
		t.Error(err)
	}
}
