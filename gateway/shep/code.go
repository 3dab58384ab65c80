package shep

import (
	"strings"

	"egov-gateway/gateway"
)

// Codes met in status.code and errorCode. SHEP tells the transport signature, that of the SOAP
// message, from the signature of the business data, the citizen's or the provider's.
const (
	CodeSuccess          = "SCSS001" // the message has been processed
	CodeNotFound         = "SCSE001" // the answering system has an error, or holds no data
	CodeFormat           = "SCE001"  // wrong format
	CodeNoService        = "SCE004"  // no such service
	CodeTransportExpired = "SCE005"  // transport signature out of date
	CodeTransportWrong   = "SCE006"  // transport signature wrong
	CodeTransportMissing = "SCE007"  // transport signature missing
	CodeDataExpired      = "SCE015"  // signature of the business data out of date
	CodeDataWrong        = "SCE016"  // signature of the business data wrong
	CodeDataMissing      = "SCE017"  // signature of the business data missing
	CodeInternal         = "SCE909"  // internal error
)

// A pair is one row of the table between codes and reasons. Answering, the first row whose
// reason or family fits counts; asking, the reason of the row with the code.
type pair struct {
	code   string
	reason gateway.Reason
	// also lists further reasons, or whole families ("form."), that are answered with the code.
	also []string
}

// table is read in both directions, [CodeOf] and [ReasonOf].
func table() []pair {
	return []pair{
		{CodeSuccess, "", nil},
		{CodeNotFound, gateway.SourceNoData, []string{string(gateway.NotFound)}},
		{CodeNoService, gateway.ServiceUnknown, []string{string(gateway.PortalUnauthenticated), string(gateway.GuessLimit)}},
		{CodeTransportMissing, gateway.TransportMissing, nil},
		{CodeTransportWrong, gateway.TransportWrong, nil},
		{CodeTransportExpired, gateway.TransportStale, nil},
		{CodeDataMissing, gateway.SignatureMissing, nil},
		{CodeDataExpired, gateway.CertificateExpired, []string{string(gateway.CertificateNotYetValid), string(gateway.IssuerExpired)}},
		{CodeDataWrong, gateway.SignatureInvalid, []string{"signature.", "certificate.", "identity.", "revocation."}},
		{CodeFormat, gateway.DocumentMalformed, []string{"document.", "form.", "attachment.", "door.", string(gateway.HeaderNotUnderstood), string(gateway.ResultMismatch), string(gateway.ResultConflict)}},
		{CodeInternal, gateway.Internal, nil},
	}
}

// CodeOf is the code with which a refusal is answered. What may pass later, and what is
// nobody's fault outside, is [CodeInternal].
func CodeOf(r gateway.Reason) string {
	if r != "" && r.Class() != gateway.Permanent {
		return CodeInternal
	}
	for _, p := range table() {
		if p.reason == r {
			return p.code
		}
		for _, also := range p.also {
			if string(r) == also || strings.HasSuffix(also, ".") && strings.HasPrefix(string(r), also) {
				return p.code
			}
		}
	}
	return CodeInternal
}

// ReasonOf is what a code means to the one who asked, "" for success. A code outside the table
// is [gateway.SourceFault].
func ReasonOf(code string) gateway.Reason {
	if (Status{Code: code}).OK() {
		return ""
	}
	for _, p := range table() {
		if p.code == code {
			return p.reason
		}
	}
	return gateway.SourceFault
}
