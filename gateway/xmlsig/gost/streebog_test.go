package gost_test

import (
	"encoding/hex"
	"slices"
	"testing"

	"egov-gateway/gateway/xmlsig/gost"
)

// reversed undoes the RFC's print order.
func reversed(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(b)
	return b
}

// RFC 6986 §10, examples 1 and 2. The messages are printed there like the digests, last byte first.
func TestStreebogVectors(t *testing.T) {
	tests := []struct{ name, message, sum512, sum256 string }{
		{"63 digits",
			"323130393837363534333231303938373635343332313039383736353433323130393837363534333231303938373635343332313039383736353433323130",
			"486f64c1917879417fef082b3381a4e211c324f074654c38823a7b76f830ad00fa1fbae42b1285c0352f227524bc9ab16254288dd6863dccd5b9f54a1ad0541b",
			"00557be5e584fd52a449b16b0251d05d27f94ab76cbaa6da890b59d8ef1e159d"},
		{"Cyrillic in windows-1251, longer than a block",
			"fbe2e5f0eee3c820fbeafaebef20fffbf0e1e0f0f520e0ed20e8ece0ebe5f0f2f120fff0eeec20f120faf2fee5e2202ce8f6f3ede220e8e6eee1e8f0f2d1202ce8f0f2e5e220e5d1",
			"28fbc9bada033b1460642bdcddb90c3fb3e56c497ccd0f62b8a2ad4935e85f037613966de4ee00531ae60f3b5a47f8dae06915d5f2f194996fcabf2622e6881e",
			"508f7e553c06501d749a66fc28c6cac0b005746d97537fa85d9e40904efed29d"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			message := reversed(t, tt.message)
			if got, want := gost.SumStreebog512(message), reversed(t, tt.sum512); !slices.Equal(got[:], want) {
				t.Errorf("512: got  %x\n     want %x", got, want)
			}
			if got, want := gost.SumStreebog256(message), reversed(t, tt.sum256); !slices.Equal(got[:], want) {
				t.Errorf("256: got  %x\n     want %x", got, want)
			}
		})
	}
}
