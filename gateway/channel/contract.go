package channel

import (
	"bytes"
	"io/fs"
	"net/http"
	"strings"

	"egov-gateway/gateway"
	"egov-gateway/gateway/intake"
)

// contract serves the WSDL at ?wsdl and the schemas at ?xsd. The files refer to each other by
// name; what is served refers to the gateway's own addresses.
func (d *Door) contract(address string) http.HandlerFunc {
	start := map[string]string{"sync": "sync", "async": "async", "client": "async-client"}[address]
	return func(w http.ResponseWriter, r *http.Request) {
		query := strings.ToLower(r.URL.RawQuery)
		kind, name, _ := strings.Cut(query, "=")
		switch {
		case kind == "wsdl" && name == "":
			name = start + "-service.wsdl"
		case kind == "xsd" && name == "":
			name = start + ".xsd"
		case kind != "wsdl" && kind != "xsd" || !strings.HasSuffix(name, "."+kind) || strings.ContainsAny(name, "/\\%&"):
			intake.WriteProblem(w, r, d.c.Texts, gateway.Errorf(gateway.NotFound, "?wsdl and ?xsd are served here"))
			return
		}
		doc, err := fs.ReadFile(d.c.Contracts, "shep/"+name)
		if err != nil {
			intake.WriteProblem(w, r, d.c.Texts, gateway.Errorf(gateway.NotFound, "no such file of the contract"))
			return
		}
		own := d.c.BaseURL + "/shep/" + address
		doc = bytes.ReplaceAll(doc, []byte(`schemaLocation="`), []byte(`schemaLocation="`+own+`?xsd=`))
		doc = bytes.ReplaceAll(doc, []byte(`import location="`), []byte(`import location="`+own+`?wsdl=`))
		doc = bytes.ReplaceAll(doc, []byte("urn:egov-gateway:address"), []byte(own))
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		w.Write(doc) //nolint:errcheck // the client may be gone
	}
}
