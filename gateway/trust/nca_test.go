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

// R4b: real chains of GOST keys; those of the past only where they are allowed.
func TestRealGOSTChainsOfTheNCA(t *testing.T) {
	const root2022, root2020, rootTest = "ca-production/root_gost_2022.pem", "ca-production/root_gost_2020.cer", "ca-test/root_test_gost_2022.cer"
	tests := []struct {
		name         string
		anchor, leaf string
		between      []string
		purpose      trust.Purpose
		at           string
		past         bool
		path, role   gateway.Reason
	}{
		{"the production issuing CA below its root", root2022, "ca-production/nca_gost_2022.pem", nil, trust.PurposeAny, "2026-01-01", false, "", ""},
		{"a legal entity below the test root", rootTest, "ca-test/mitwork_legal_test.cer", []string{"ca-test/nca_gost2022_test.cer"}, trust.PurposeSignLegal, "2025-01-15", false, "", ""},
		{"it does not sign as a person", rootTest, "ca-test/mitwork_legal_test.cer", []string{"ca-test/nca_gost2022_test.cer"}, trust.PurposeSignPerson, "2025-01-15", false, "", gateway.ExtendedKeyUsage},
		{"the same without the issuing CA", rootTest, "ca-test/mitwork_legal_test.cer", nil, trust.PurposeSignLegal, "2025-01-15", false, gateway.NoIssuer, ""},
		{"the same below the production root", root2022, "ca-test/mitwork_legal_test.cer", []string{"ca-test/nca_gost2022_test.cer"}, trust.PurposeSignLegal, "2025-01-15", false, gateway.NotAnchored, ""},
		{"a GOST-2004 CA, where that is allowed", root2020, "ca-production/btsd_gost.cer", nil, trust.PurposeAny, "2024-01-01", true, "", ""},
		{"another one", root2020, "ca-production/ucgo_gost.cer", nil, trust.PurposeAny, "2024-01-01", true, "", ""},
		{"a GOST-2004 CA, where it is not", root2020, "ca-production/btsd_gost.cer", nil, trust.PurposeAny, "2024-01-01", false, gateway.AlgorithmForbidden, ""},
		{"a GOST-2004 anchor itself, where it is not", root2020, root2020, nil, trust.PurposeAny, "2024-01-01", false, gateway.AlgorithmForbidden, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at, err := time.Parse(time.DateOnly, tt.at)
			if err != nil {
				t.Fatal(err)
			}
			c := trust.Config{Anchors: []trust.Anchor{{Certificate: ncaCertificate(t, tt.anchor), Test: true}}, AllowGOST2004: tt.past}
			for _, name := range tt.between {
				c.Intermediates = append(c.Intermediates, ncaCertificate(t, name))
			}
			s, err := trust.New(c)
			if err != nil {
				t.Fatal(err)
			}
			j := s.Judge(ncaCertificate(t, tt.leaf), trust.JudgeOptions{At: at, Purpose: tt.purpose})
			if gateway.ReasonOf(j.PathErr) != tt.path || gateway.ReasonOf(j.PurposeErr) != tt.role || j.ValidityErr != nil {
				t.Errorf("path %v, purpose %v, validity %v", j.PathErr, j.PurposeErr, j.ValidityErr)
			}
		})
	}
}

func TestTheProductionRootsSignedThemselves(t *testing.T) {
	for _, name := range []string{"ca-production/root_rsa_2020.cer", "ca-production/root_gost_2022.pem", "ca-production/root_gost_2020.cer", "ca-test/root_test_gost_2022.cer"} {
		root := ncaCertificate(t, name)
		if err := root.SignedBy(root); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
