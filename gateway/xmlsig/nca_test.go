package xmlsig_test

import (
	"os"
	"path/filepath"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/xmlsig"
)

// ncaFile reads real material of the National Certification Authority, which is never part of
// this repository: NCA names its folder, or it lies beside the repository.
func ncaFile(t *testing.T, name string) []byte {
	t.Helper()
	dir := os.Getenv("NCA")
	if dir == "" {
		dir = "../../../shared/nca"
	}
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		if os.Getenv("NCA") != "" {
			t.Fatal(err)
		}
		t.Skip("no real material; set NCA to its folder")
	}
	return data
}

// R3: documents made by the official library verify as they are.
func TestRealDocuments(t *testing.T) {
	tests := []struct {
		name, file string
		options    xmlsig.Options
		kind       trust.KeyKind
		root       string
	}{
		{"RSA, wrapped base64 with &#13;", "xml/ncanode_xml_signed_valid_string.xml", xmlsig.Options{}, trust.RSA, "a"},
		{"GOST-2015, wrapped", "xml/mitwork_0.xml", xmlsig.Options{}, trust.GOST2015, "test"},
		{"GOST-2015, official library", "xml/ncalayer-rs_simple.xml", xmlsig.Options{}, trust.GOST2015, "root"},
		{"GOST-2004, SHEP message", "xml/nitec_sample_request.xml", xmlsig.Options{Profile: xmlsig.ProfileWSSE, AllowGOST2004: true}, trust.GOST2004, "Body"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := xmlsig.Verify(ncaFile(t, tt.file), tt.options)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Signatures()[0].KeyKind; got != tt.kind {
				t.Errorf("key kind %s, want %s", got, tt.kind)
			}
			if s.Root().Local() != tt.root {
				t.Errorf("the view's root is %s, want %s", s.Root().Local(), tt.root)
			}
		})
	}
	_, err := xmlsig.Verify(ncaFile(t, "xml/nitec_sample_request.xml"), xmlsig.Options{Profile: xmlsig.ProfileWSSE})
	if got := gateway.ReasonOf(err); got != gateway.SignatureAlgorithm {
		t.Errorf("GOST-2004 where it is not allowed gives %q", got)
	}
}
